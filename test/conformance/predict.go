package conformance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// explanation is what the explain command says about one address.
type explanation struct {
	Address string        `json:"address"`
	Reply   verdict       `json:"reply"`
	After   *verdict      `json:"after"`
	Actions []string      `json:"actions"`
	Finals  []explainedTo `json:"recipients"`
}

type verdict struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

type explainedTo struct {
	Address   string   `json:"address"`
	Via       []string `json:"via"`
	Transport string   `json:"transport"`
	NextHop   string   `json:"nexthop"`
	Mailbox   string   `json:"mailbox"`
	Format    string   `json:"format"`
	Reply     verdict  `json:"reply"`
}

// explainer is the explain command for one running session.
type explainer struct {
	argv    []string // "postern", "explain", and flags
	session *session
}

// ask explains addresses, which come from one sender.
func (x explainer) ask(sender string, addresses []string) ([]explanation, error) {
	argv := append(slices.Clone(x.argv), "--json", "-c", x.session.w.dir, "-f", cmp.Or(sender, "<>"), "--")
	out, status, err := output("", argv[0], append(argv[1:], addresses...)...)
	if status < 0 || status > 2 {
		return nil, err
	}
	var list []explanation
	for line := range strings.Lines(out) {
		var e explanation
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("%w in %q", err, line)
		}
		list = append(list, e)
	}
	if len(list) != len(addresses) {
		return nil, fmt.Errorf("explain answered %d of %d addresses", len(list), len(addresses))
	}
	return list, nil
}

// foreseen is what explain says that a probe leads to.
type foreseen struct {
	skip     string // why it cannot be compared; "": it can
	replies  []string
	arrivals []string
	bounces  []string // "ADDRESS STATUS"
	// logged are the bounces as the log has them: of a member of a local alias
	// under the name of that one.
	logged map[string]string
	// sharing are, of a local recipient, the bounces of its members: Postern has one
	// line in the log for all of them, with the status of the first, and tells the
	// sender of no other. Postfix tells of each.
	sharing map[string][]string
}

// foresee predicts all probes of the session.
func (x explainer) foresee() ([]foreseen, error) {
	all := make([]foreseen, len(x.session.probes))
	for i, p := range x.session.probes {
		f := &all[i]
		if f.skip = unforeseeable(p); f.skip != "" {
			continue
		}
		list, err := x.ask(p.from, p.rcpts)
		if err != nil {
			return nil, err
		}
		x.message(f, list)
	}
	return all, nil
}

// unforeseeable says why explain cannot know what becomes of a probe.
func unforeseeable(p probe) string {
	switch {
	case p.query != nil || p.raw != nil:
		return "no message"
	case p.client != outsideClient:
		return "explain is about clients from outside"
	case p.from == "" && len(p.rcpts) > 1:
		return "reject_multi_recipient_bounce"
	case strings.IndexFunc(strings.Join(p.rcpts, ""), func(r rune) bool { return r > '~' }) >= 0:
		return "this client has no SMTPUTF8"
	}
	return ""
}

// message makes the prediction for a message of those for its recipients. What is
// held is so for all of them.
func (x explainer) message(f *foreseen, list []explanation) {
	f.logged, f.sharing = map[string]string{}, map[string][]string{}
	stays := false // it does not leave the server
	for _, e := range list {
		f.replies = append(f.replies, strings.TrimSpace(fmt.Sprintf("%d %s", e.Reply.Code, e.Reply.Enhanced)))
		stays = stays || e.After != nil || slices.Contains(e.Actions, "HOLD")
		if len(list) > 1 && e.After != nil {
			f.skip = "one recipient would be refused behind the text"
		}
		if len(list) > 1 && slices.ContainsFunc(e.Actions, func(a string) bool { return a != "HOLD" }) {
			f.skip = "access tables change the whole message: " + strings.Join(e.Actions, ", ")
		}
		for _, to := range e.Finals {
			x.arrival(f, to)
		}
	}
	if stays {
		f.arrivals, f.bounces = nil, nil
	}
	f.arrivals, f.bounces = settled(f.arrivals), settled(f.bounces)
}

// arrival adds what one final recipient gets to see.
func (x explainer) arrival(f *foreseen, to explainedTo) {
	vars := x.session.w.vars
	switch {
	case to.Reply.Code >= 500:
		bounce := bounceOf(to.Address, to.Reply.Enhanced)
		f.bounces = append(f.bounces, bounce)
		f.sharing[to.Address] = append(f.sharing[to.Address], bounce)
		if n := len(to.Via); n > 0 {
			f.logged[bounce] = bounceOf(to.Via[n-1], to.Reply.Enhanced)
			f.sharing[to.Via[n-1]] = append(f.sharing[to.Via[n-1]], bounce)
		}
	case to.Reply.Code >= 400:
	case to.Mailbox != "":
		if _, err := os.Stat(filepath.Dir(to.Mailbox)); err != nil && to.Format == "mbox" {
			f.skip = "the directory of the mailbox is missing"
			return
		}
		for prefix, root := range map[string]string{"": vars["mail"], "spool:": vars["spool"]} {
			if rel, err := filepath.Rel(root, to.Mailbox); err == nil && filepath.IsLocal(rel) {
				f.arrivals = append(f.arrivals, to.Format+" "+prefix+rel)
				return
			}
		}
		f.skip = "a mailbox that nobody looks into"
	case to.Transport == "discard", strings.HasSuffix(to.Reply.Text, " /dev/null"):
	case strings.Contains(to.NextHop, vars["lmtp"]), strings.Contains(to.NextHop, vars["lmtptcp"]):
		x.atSink(f, "lmtp", to.Address)
	case strings.Contains(to.NextHop, vars["sink"]):
		x.atSink(f, "smtp", to.Address)
	case strings.Contains(to.NextHop, vars["sink2"]):
		x.atSink(f, "smtp2", to.Address)
	default:
		f.skip = "a command, or a destination that is not there: " + to.Transport + " " + to.NextHop
	}
}

// bounceOf is a bounce in the form of foreseen. Of a circle of local aliases Postfix
// reports another member than Postern.
func bounceOf(address, status string) string {
	if status == "5.4.6" {
		address = "*"
	}
	return address + " " + status
}

// atSink is what a sink does, see there.
func (x explainer) atSink(f *foreseen, name, address string) {
	local, _, _ := strings.Cut(address, "@")
	status := ""
	switch {
	case local == "tempfail":
		return
	case local == "permfail":
		status = "5.1.1"
	case local == "overquota" && name == "lmtp":
		status = "5.2.2"
	default:
		f.arrivals = append(f.arrivals, name+" "+address)
		return
	}
	if !x.session.soft() {
		f.bounces = append(f.bounces, bounceOf(address, status))
	}
}

// soft reports whether nothing is refused for good (soft_bounce).
func (s *session) soft() bool {
	text, _ := os.ReadFile(filepath.Join(s.w.dir, "main.cf"))
	return strings.Contains(string(text), "\nsoft_bounce = yes\n")
}

// arrived is what became of each probe so far, in the form of foreseen.
func (s *session) arrived() []foreseen {
	all := make([]foreseen, len(s.probes))
	for i, list := range s.byProbe()[:len(s.probes)] {
		f := &all[i]
		for _, d := range list {
			fails := failures(d.msg)
			for _, one := range fails {
				if one.action == "failed" {
					f.bounces = append(f.bounces, bounceOf(one.final, one.status))
				}
			}
			if fails == nil && d.refused == "" {
				f.arrivals = append(f.arrivals, d.how+" "+d.place+unquote(d.to))
			}
		}
		f.arrivals, f.bounces = settled(f.arrivals), settled(f.bounces)
	}
	return all
}

// settled is a list in which order and repetitions do not matter: several
// recipients of a message may lead to one, and deferred mail is tried again.
func settled(lines []string) []string {
	lines = slices.Clone(lines)
	slices.Sort(lines)
	return slices.Compact(lines)
}

// unquote is the internal form of an address whose local part is quoted.
func unquote(address string) string {
	i := strings.LastIndexByte(address, '@')
	if i < 2 || address[0] != '"' || address[i-1] != '"' {
		return address
	}
	var b strings.Builder
	for local := address[1 : i-1]; local != ""; local = local[1:] {
		if local[0] == '\\' && len(local) > 1 {
			local = local[1:]
		}
		b.WriteByte(local[0])
	}
	return b.String() + address[i:]
}

var bouncedRE = regexp.MustCompile(` to=<(.*?)>, .*dsn=([0-9.]+), status=bounced`)

// bounced are the recipients that the log says were returned.
func (s *session) bounced() map[string]bool {
	all := map[string]bool{}
	for _, name := range []string{"server.log", "maillog"} {
		text, _ := os.ReadFile(filepath.Join(s.w.dir, name))
		for _, m := range bouncedRE.FindAllStringSubmatch(string(text), -1) {
			all[bounceOf(unquote(m[1]), m[2])] = true
		}
	}
	return all
}

// told are the codes that the recipients of a probe were answered with, nil if it
// did not come to that.
func (s *session) told(i int) []string {
	var codes []string
	for _, line := range s.replies[i] {
		if rest, ok := strings.CutPrefix(line, "RCPT "); ok {
			_, reply, _ := strings.Cut(rest[len(s.probes[i].rcpts[len(codes)]):], ": ")
			codes = append(codes, codeRE.FindString(reply))
		}
	}
	return codes
}

// differences says where explain was wrong. A report to the sender must have been
// foreseen; that what was foreseen happened is looked up in the log too, for a report
// may itself find no way.
func (s *session) differences(all []foreseen) []string {
	var out []string
	seen, logged := s.arrived(), s.bounced()
	for i, f := range all {
		wrong := func(what string, got, want any) {
			out = append(out, fmt.Sprintf("probe %d: %s: %s %q, explain says %q", i+1, s.probes[i].title, what, got, want))
		}
		got := s.told(i)
		switch {
		case f.skip != "" || got == nil:
			continue
		case !slices.Equal(got, f.replies):
			wrong("RCPT was answered", got, f.replies)
			continue
		case !slices.Equal(seen[i].arrivals, f.arrivals):
			wrong("what arrived is", seen[i].arrivals, f.arrivals)
		}
		for _, b := range seen[i].bounces {
			if !slices.Contains(f.bounces, b) {
				wrong("returned was", b, f.bounces)
			}
		}
		for _, b := range f.bounces {
			if !logged[b] && !logged[f.logged[b]] && (s.kind.postfix || !f.shared(b, logged)) {
				wrong("not returned was", seen[i].bounces, b)
			}
		}
	}
	return out
}

// shared reports whether a bounce is of a local recipient that the log has with the
// status of the first of its members that failed.
func (f foreseen) shared(bounce string, logged map[string]bool) bool {
	for recipient, members := range f.sharing {
		if slices.Index(members, bounce) < 1 {
			continue
		}
		if _, status, _ := strings.Cut(members[0], " "); logged[recipient+" "+status] {
			return true
		}
	}
	return false
}

// compared counts the probes that explain could be asked about.
func (s *session) compared(all []foreseen) int {
	n := 0
	for i, f := range all {
		if f.skip == "" && s.told(i) != nil {
			n++
		}
	}
	return n
}
