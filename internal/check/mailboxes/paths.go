package mailboxes

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"postern/internal/address"
	"postern/internal/finding"
	"postern/internal/origin"
)

// flaw is what is wrong with the text of a path.
type flaw uint8

const (
	sound     flaw = iota
	noPath         // "1", "OK": a row that was written for an LMTP server
	upwards        // ".."
	twice          // virtual_mailbox_base is in the path already
	noSlash        // ".../Maildir" without a final slash
	directory      // no final slash, and a directory is there
	shared         // the path of another user
)

// flawOf judges a value of virtual_mailbox_maps by its text, and by what is there on
// the disk (virtual(8), MAILBOX LOCATION).
func flawOf(value, base string) flaw {
	names := split(value)
	switch {
	case slices.Contains([]string{"1", "ok"}, strings.ToLower(value)):
		return noPath
	case slices.Contains(names, ".."):
		return upwards
	case repeatsBase(names, value, base):
		return twice
	case strings.HasSuffix(value, "/") || len(names) == 0:
		return sound
	}
	if last := strings.TrimPrefix(names[len(names)-1], "."); strings.EqualFold(last, "Maildir") {
		return noSlash
	}
	if info, err := os.Stat(filepath.Join(base, value)); err == nil && info.IsDir() {
		return directory
	}
	return sound
}

// repeatsBase reports whether a path begins with virtual_mailbox_base, or, written
// without a slash in front, with the end of it. One name alone (base /srv/mail,
// mail/john) may be meant as it is: it counts when no such directory is there.
func repeatsBase(names []string, value, base string) bool {
	whole := split(base)
	if len(whole) == 0 {
		return false
	}
	if strings.HasPrefix(value, "/") {
		return len(names) >= len(whole) && slices.Equal(names[:len(whole)], whole)
	}
	for n := min(len(whole), len(names)-1); n > 0; n-- {
		if !slices.Equal(whole[len(whole)-n:], names[:n]) {
			continue
		}
		if n > 1 {
			return true
		}
		_, err := os.Lstat(filepath.Join(base, names[0]))
		return os.IsNotExist(err)
	}
	return false
}

// cured says that virtual_mailbox_format = auto makes a Maildir of the path all
// the same.
func cured(why flaw, value, base string) bool {
	if why != noSlash && why != directory {
		return false
	}
	path := filepath.Join(base, value)
	if filepath.Base(path) == "Maildir" {
		return true
	}
	for _, sub := range []string{"new", "cur", "tmp"} {
		if info, err := os.Stat(filepath.Join(path, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// paths gathers the flaws of rows, one finding for each kind and table.
type paths struct {
	base string
	auto bool
	name func(address.Address) address.Address // without the extension
	gone func(address.Address) bool            // an alias takes its mail elsewhere; nil: none does

	owner  map[string]row // who has a path: the first
	groups []*flawed
	byKind map[string]*flawed
}

// flawed are rows with one flaw in one table.
type flawed struct {
	why   flaw
	cured bool
	count int
	first row
	other row // of shared paths: the first with the path
	at    []origin.At
}

func newPaths(base string, auto bool, name func(address.Address) address.Address) *paths {
	return &paths{base: base, auto: auto, name: name, owner: map[string]row{}, byKind: map[string]*flawed{}}
}

// look judges the text of one row, and reports whether it is sound.
func (p *paths) look(r row) bool {
	why := flawOf(r.value, p.base)
	if why != sound {
		p.add(why, r, row{})
	}
	return why == sound
}

// alone notes whose the path of a row is, and reports whether nobody else has it. A
// user with and without an extension is one user, and so are two forms of one domain; a row for all users of a domain may
// lead to one of them, and one whose mail goes elsewhere by an alias has no mailbox.
func (p *paths) alone(r row) bool {
	if r.all {
		return true
	}
	path := filepath.Join("/", r.value)
	other, taken := p.owner[path]
	if !taken {
		p.owner[path] = r
		return true
	}
	switch {
	case sameUser(p.name(other.addr), p.name(r.addr)), p.gone != nil && p.gone(r.addr):
		return true
	case p.gone != nil && p.gone(other.addr):
		p.owner[path] = r
		return true
	}
	p.add(shared, r, other)
	return false
}

// sameUser reports whether two addresses differ in nothing but the form of the domain,
// müller.example and xn--mller-kva.example (RFC 5890, 2.3.2.1).
func sameUser(a, b address.Address) bool {
	for _, domain := range []*string{&a.Domain, &b.Domain} {
		if ascii, err := idna.Lookup.ToASCII(*domain); err == nil {
			*domain = ascii
		}
	}
	return a.Equal(b)
}

// rule judges the result of a pattern. What $1 stands for is not known.
func (p *paths) rule(r row) {
	switch why := flawOf(r.value, p.base); why {
	case noPath, upwards, twice, noSlash:
		p.add(why, r, row{})
	}
}

func (p *paths) add(why flaw, r, other row) {
	healed := p.auto && cured(why, r.value, p.base)
	key := fmt.Sprint(why, healed, r.spec)
	g := p.byKind[key]
	if g == nil {
		g = &flawed{why: why, cured: healed, first: r, other: other}
		p.byKind[key] = g
		p.groups = append(p.groups, g)
	}
	g.count++
	if why == shared {
		g.at = withPlace(g.at, other.from.At())
	}
	g.at = withPlace(g.at, r.from.At())
}

func (p *paths) findings() []finding.Finding {
	var list []finding.Finding
	for _, g := range p.groups {
		f := finding.Finding{Code: "VD401", Severity: finding.Error, At: g.at}
		if g.cured {
			f.Severity = finding.Warning
		}
		f.Message, f.Fix = p.say(g)
		if g.count > 1 {
			f.Message += fmt.Sprintf(" (%d rows like this)", g.count)
		}
		list = append(list, f)
	}
	return list
}

// say is the message of a flaw, and its cure.
func (p *paths) say(g *flawed) (message, fix string) {
	r, full := g.first, filepath.Join(p.base, g.first.value)
	switch g.why {
	case noPath:
		return fmt.Sprintf("the mailbox of %s is %q, which virtual(8) takes for a path: mail goes into the file %s", r.key, r.value, full),
			"write a path relative to virtual_mailbox_base that ends in a slash, " + suggestion(r) + ", or set virtual_transport to the LMTP server that keeps the mail"
	case upwards:
		return fmt.Sprintf("the mailbox %q of %s has \"..\" in it", r.value, r.key),
			"write a path below virtual_mailbox_base (" + p.base + ") without \"..\""
	case twice:
		return fmt.Sprintf("the mailbox of %s repeats virtual_mailbox_base, which is put in front of every path: mail goes to %s", r.key, full),
			fmt.Sprintf("write %s instead of %s", p.shorter(r.value), r.value)
	case shared:
		return fmt.Sprintf("%s and %s have the same mailbox %s: each reads the mail of the other", g.other.key, r.key, full),
			fmt.Sprintf("give %s a path of its own, or make it an alias of %s", r.key, g.other.key)
	case directory:
		return p.without(g, fmt.Sprintf("%s, the mailbox of %s, is a directory, and the path in the table has no final slash", full, r.key))
	}
	return p.without(g, fmt.Sprintf("the mailbox %s of %s has no final slash", r.value, r.key))
}

// without is the message of a path without final slash.
func (p *paths) without(g *flawed, message string) (string, string) {
	if g.cured {
		message += ": Postfix would write to a file of that name; here it is a Maildir (virtual_mailbox_format = auto)"
	} else {
		message += ": virtual(8) writes to a file of that name, not to a Maildir"
	}
	return message, "write " + g.first.value + "/"
}

// suggestion is the path that most tables would have for a user.
func suggestion(r row) string {
	if r.all {
		return r.addr.Domain + "/catchall/"
	}
	return r.addr.Domain + "/" + r.addr.Local + "/"
}

// shorter is a path without the base that it repeats.
func (p *paths) shorter(value string) string {
	names, whole := split(value), split(p.base)
	tail := ""
	if strings.HasSuffix(value, "/") {
		tail = "/"
	}
	for n := min(len(whole), len(names)); n > 0; n-- {
		if slices.Equal(whole[len(whole)-n:], names[:n]) {
			return strings.Join(names[n:], "/") + tail
		}
	}
	return value
}
