package conformance

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// A delivery is one copy of a message for one recipient, seen in a mailbox or
// at a sink.
type delivery struct {
	how      string // maildir, mbox, or the name of a sink
	place    string // mailbox: path below the root
	from, to string // sink: envelope
	group    []string
	refused  string // sink: code with which the recipient was refused
	msg      string
}

// scan returns the messages in every Maildir and mbox file below root.
func scan(root, prefix string) []delivery {
	var list []delivery
	filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		rel, _ := filepath.Rel(root, name)
		dir := filepath.Dir(rel)
		switch filepath.Base(dir) {
		case "tmp":
			return nil
		case "new", "cur":
			if b, err := os.ReadFile(name); err == nil {
				list = append(list, delivery{how: "maildir", place: prefix + filepath.Dir(dir), msg: string(b)})
			}
			return nil
		}
		if b, err := os.ReadFile(name); err == nil {
			for _, msg := range splitMbox(string(b)) {
				list = append(list, delivery{how: "mbox", place: prefix + rel, msg: msg})
			}
		}
		return nil
	})
	return list
}

// splitMbox cuts a mailbox file at its "From " lines. A file that does not
// start with one (the output of a command, say) is one message.
func splitMbox(text string) []string {
	if text == "" {
		return nil
	}
	var list []string
	start := 0
	for i := 0; ; {
		j := strings.Index(text[i:], "\n\nFrom ")
		if j < 0 {
			return append(list, text[start:])
		}
		i += j + 2
		list = append(list, text[start:i])
		start = i
	}
}

// header returns the values of a header field at the top of msg, in order.
func header(msg, name string) []string {
	var values []string
	wanted := false
	for _, line := range strings.Split(strings.ReplaceAll(msg, "\r\n", "\n"), "\n") {
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if wanted {
				values[len(values)-1] += " " + strings.TrimSpace(line)
			}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		if wanted = strings.EqualFold(field, name); wanted {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// A failure is one recipient in a delivery status notification.
type failure struct{ final, original, action, status, diagnostic string }

// failures reads the message/delivery-status part, nil for other messages.
func failures(msg string) []failure {
	msg = strings.ReplaceAll(msg, "\r\n", "\n")
	head, _, _ := strings.Cut(msg, "\n\n")
	if !strings.Contains(strings.ToLower(head), "multipart/report") {
		return nil
	}
	_, part, ok := strings.Cut(msg, "Content-Type: message/delivery-status\n")
	if !ok {
		return nil
	}
	part, _, _ = strings.Cut(part, "\n--")
	var list []failure
	value := func(s string) string {
		if _, v, ok := strings.Cut(s, ";"); ok {
			s = v
		}
		return strings.TrimSpace(s)
	}
	for _, block := range strings.Split(part, "\n\n") {
		block = strings.TrimLeft(block, "\n")
		one := func(name string) string { return strings.Join(header(block, name), " ") }
		final := one("Final-Recipient")
		if final == "" {
			continue
		}
		list = append(list, failure{
			final: value(final), original: value(one("Original-Recipient")),
			action: one("Action"), status: one("Status"), diagnostic: value(one("Diagnostic-Code")),
		})
	}
	return list
}

// render shows deliveries, one line for each place with the number of copies.
// Lines of four blanks are details for the headers level, those that go on
// with "~" for the text level only.
func render(list []delivery) []string {
	count := map[string]int{}
	detail := map[string][]string{}
	add := func(key string, details ...string) {
		count[key]++
		for _, d := range details {
			if d != "" {
				detail[key] = append(detail[key], "    "+d)
			}
		}
	}
	for _, d := range list {
		to := d.place
		if to == "" {
			to = d.to
		}
		if fails := failures(d.msg); fails != nil {
			for _, f := range fails {
				original := ""
				if f.original != "" && f.original != f.final {
					original = "Original-Recipient: " + f.original
				}
				add(fmt.Sprintf("  bounce to %s by %s: %s %s %s", to, d.how, f.final, f.action, f.status),
					original, "~ "+f.diagnostic)
			}
			continue
		}
		var heads []string
		for _, name := range []string{"Return-Path", "X-Original-To", "Delivered-To"} {
			for _, v := range header(d.msg, name) {
				heads = append(heads, name+": "+v)
			}
		}
		key := fmt.Sprintf("  %s %s", d.how, to)
		if d.place == "" {
			key = fmt.Sprintf("  %s <%s> -> %s", d.how, d.from, to)
		}
		if d.refused != "" {
			key += " refused " + d.refused
		}
		group := ""
		if len(d.group) > 1 {
			group = fmt.Sprintf("~ one of %d recipients", len(d.group))
		}
		add(key, strings.Join(heads, "; "), group)
	}
	var keys []string
	for k := range count {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var lines []string
	for _, k := range keys {
		lines = append(lines, fmt.Sprintf("%s x%d", k, count[k]))
		sort.Strings(detail[k])
		lines = append(lines, detail[k]...)
	}
	return lines
}

var (
	queueIDRE = regexp.MustCompile(`queued as [0-9A-Za-z.-]+`)
	replyRE   = regexp.MustCompile(`^(  (?:EHLO|MAIL|DATA|RCPT .*?): )(\d{3}(?:[ -].*)?)$`)
	codeRE    = regexp.MustCompile(`^\d{3}(?: [245]\.\d{1,3}\.\d{1,3}\b)?`)
)

// normalise removes what differs from run to run.
func normalise(text string, w *world) string {
	text = queueIDRE.ReplaceAllString(text, "queued as ID")
	for _, name := range []string{"mail", "spool", "lmtp", "dir"} {
		text = strings.ReplaceAll(text, w.vars[name], "{"+name+"}")
	}
	for _, name := range []string{"sink", "sink2", "lmtptcp", "port"} {
		v := w.vars[name]
		text = strings.ReplaceAll(text, ":"+v[strings.LastIndexByte(v, ':')+1:], ":{"+name+"}")
	}
	return text
}

// reduce cuts a full expectation down to a comparison level.
func reduce(level, text string) string {
	if level == "text" {
		return text
	}
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "    ") && (level == "routing" || strings.HasPrefix(line, "    ~")) {
			continue
		}
		if m := replyRE.FindStringSubmatch(line); m != nil {
			parts := strings.Split(m[2], " / ")
			line = m[1] + codeRE.FindString(parts[len(parts)-1])
		} else if r, ok := strings.CutPrefix(line, "  S: "); ok {
			if len(r) > 3 && r[3] == '-' {
				continue
			}
			if code := codeRE.FindString(r); code != "" {
				line = "  S: " + code
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
