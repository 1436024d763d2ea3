// Package conformance serves the same configuration directory with the real
// Postfix and with Postern, sends both the same probes, and compares replies,
// mailboxes, what arrives at other servers, and bounces. There are no recorded
// answers: Postfix is asked each time.
//
// A case is a txtar file in cases: a comment that says what is shown, the
// settings of main.cf, tables as files, and probes. README.md describes the
// format.
package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Sections of a case file that are instructions to the runner. Every other
// section becomes a file in the configuration directory.
var sections = map[string]bool{
	"compile": true, "needs": true, "dirs": true, "sqlite.sql": true,
	"probe": true, "expect": true, "main.cf": true, "master.cf": true,
}

const (
	defaultSender = "sender@client.example"
	outsideClient = "127.0.0.2" // not in mynetworks
	insideClient  = "127.0.0.1" // in mynetworks
)

// A probe is one step against the server: an SMTP transaction, a raw
// dialogue, or a table query.
type probe struct {
	title  string // as written in the case
	token  string // unique, put into the message to recognise its deliveries
	client string // source address
	from   string
	rcpts  []string
	raw    []string // lines of a raw dialogue
	query  []string // key and table of a "query" probe
}

// parseProbes reads the probe section:
//
//	rcpt ADDRESS             one message from sender@client.example
//	mail FROM | RCPT1 RCPT2  one message, several recipients; FROM may be <>
//	client ADDRESS           source address of the probes that follow
//	query KEY TABLE          what postmap -q prints
//	raw                      dialogue, see rawDialogue
func parseProbes(text string, vars map[string]string) ([]probe, error) {
	var list []probe
	client := outsideClient
	add := func(p probe) {
		p.client = client
		list = append(list, p)
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if isRaw(line) {
			if len(list) == 0 || !strings.HasPrefix(list[len(list)-1].title, "raw") {
				return nil, fmt.Errorf("dialogue line %q outside a raw block", line)
			}
			p := &list[len(list)-1]
			p.raw = append(p.raw, expand(line, vars))
			continue
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = expand(strings.TrimSpace(rest), vars)
		switch verb {
		case "client":
			switch rest {
			case "inside":
				client = insideClient
			case "outside":
				client = outsideClient
			default:
				client = rest
			}
		case "rcpt":
			add(probe{title: line, from: defaultSender, rcpts: []string{rest}})
		case "mail":
			from, to, ok := strings.Cut(rest, " | ")
			if !ok {
				return nil, fmt.Errorf("probe %q: want mail FROM | RCPT", line)
			}
			from = strings.TrimSpace(from)
			if from == "<>" {
				from = ""
			}
			add(probe{title: line, from: from, rcpts: fields(to)})
		case "query":
			f := fields(rest)
			if len(f) != 2 {
				return nil, fmt.Errorf("probe %q: want query KEY TABLE", line)
			}
			add(probe{title: line, query: f})
		case "raw":
			add(probe{title: line})
		default:
			return nil, fmt.Errorf("unknown probe %q", line)
		}
	}
	return list, nil
}

func isRaw(line string) bool {
	if line == "S" || line == "E" {
		return true
	}
	for _, p := range []string{"C: ", "C+ ", "C- ", "B: "} {
		if strings.HasPrefix(line+" ", p) {
			return true
		}
	}
	return false
}

// fields splits at blanks that are not inside double quotes.
func fields(s string) []string {
	var out []string
	var cur strings.Builder
	quoted, escaped := false, false
	for _, r := range s {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quoted:
			escaped = true
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			if cur.Len() > 0 {
				out = append(out, cur.String())
				cur.Reset()
			}
			continue
		}
		cur.WriteRune(r)
	}
	if cur.Len() > 0 {
		out = append(out, cur.String())
	}
	return out
}

var repeatRE = regexp.MustCompile(`\{(\d{1,4})\*([^{}]*)\}`)

// expand replaces {name} by vars[name], and {N*text} by N copies of text in
// which # stands for the number of the copy.
func expand(text string, vars map[string]string) string {
	for name, value := range vars {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return repeatRE.ReplaceAllStringFunc(text, func(m string) string {
		g := repeatRE.FindStringSubmatch(m)
		n, _ := strconv.Atoi(g[1])
		var b strings.Builder
		for i := 1; i <= n; i++ {
			b.WriteString(strings.ReplaceAll(g[2], "#", strconv.Itoa(i)))
		}
		return b.String()
	})
}

// A world is the folder of one run of one case.
type world struct {
	dir  string // configuration directory; the rest lies below it
	port string
	vars map[string]string
}

// lay writes the case into w.dir: configuration, tables, folders, database.
func (w *world) lay(a archive, prologue string, uid, gid int) error {
	for _, d := range []string{"mail", "spool", "queue", "data"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o755); err != nil {
			return err
		}
	}
	mail := filepath.Join(w.dir, "mail")
	dirs := []string{mail}
	for _, d := range strings.Fields(a.get("dirs")) {
		for d = filepath.Clean(d); d != "." && d != "/"; d = filepath.Dir(d) {
			dirs = append(dirs, filepath.Join(mail, d))
		}
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := os.Chown(d, uid, gid); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(w.dir, "spool"), 0o1777); err != nil {
		return err
	}
	for _, f := range a.files {
		if sections[f.name] {
			continue
		}
		if err := w.write(f.name, f.data); err != nil {
			return err
		}
	}
	if sql := a.get("sqlite.sql"); sql != "" {
		if err := command(expand(sql, w.vars), "sqlite3", filepath.Join(w.dir, "mail.db")); err != nil {
			return err
		}
	}
	if err := w.write("main.cf", mergeMain(prologue+baseMain, a.get("main.cf"))); err != nil {
		return err
	}
	return w.write("master.cf", mergeMaster(baseMaster, a.get("master.cf")))
}

// write makes a file of the case. It looks a minute old, for Postfix reads a
// file that has just changed again and again until it has cooled down.
func (w *world) write(name, text string) error {
	name = filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte(expand(text, w.vars)), 0o644); err != nil {
		return err
	}
	past := time.Now().Add(-time.Minute)
	return os.Chtimes(name, past, past)
}

var paramRE = regexp.MustCompile(`^([A-Za-z0-9_]+)\s*=`)

// mergeMain puts the lines of base that the case does not set itself before
// the case's own.
func mergeMain(base, own string) string {
	set := map[string]bool{}
	for _, line := range strings.Split(own, "\n") {
		if m := paramRE.FindStringSubmatch(line); m != nil {
			set[m[1]] = true
		}
	}
	var b strings.Builder
	for _, line := range strings.SplitAfter(base, "\n") {
		if m := paramRE.FindStringSubmatch(line); m == nil || !set[m[1]] {
			b.WriteString(line)
		}
	}
	return b.String() + own
}

// mergeMaster replaces services of base that the case defines (same name and
// type) and appends the others.
func mergeMaster(base, own string) string {
	set := map[string]bool{}
	for _, line := range strings.Split(own, "\n") {
		if f := strings.Fields(line); len(f) > 2 && line[0] != ' ' && line[0] != '#' {
			set[f[0]+" "+f[1]] = true
		}
	}
	var b strings.Builder
	for _, line := range strings.SplitAfter(base, "\n") {
		if f := strings.Fields(line); len(f) < 2 || !set[f[0]+" "+f[1]] {
			b.WriteString(line)
		}
	}
	return b.String() + own
}

// baseMain is the configuration that cases start from. It is the same for
// every server. "compatibility" is a parameter of Postern that Postfix skips.
const baseMain = `compatibility_level = 3.6
compatibility = postfix
queue_directory = {dir}/queue
data_directory = {dir}/data
myhostname = mx.host.example
mydomain = host.example
mydestination =
mynetworks = 127.0.0.1/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = {sink}
alias_maps =
alias_database =
mail_spool_directory = {spool}
virtual_mailbox_base = {mail}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtpd_peername_lookup = no
smtpd_banner = $myhostname ESMTP
smtpd_error_sleep_time = 0
smtp_dns_support_level = disabled
smtp_host_lookup = native
in_flow_delay = 0
notify_classes =
biff = no
`

const baseMaster = `127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`
