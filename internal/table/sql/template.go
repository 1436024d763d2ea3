package sql

import (
	"fmt"
	"strings"
)

// template is text with %-letters: a bound value of a query, or result_format.
type template struct {
	pieces []piece
}

// piece is plain text and the %-letter behind it, 0 for none.
type piece struct {
	text   string
	letter byte
}

// needs says which parts of an address the letters of a template ask for.
type needs struct {
	user, domain bool
	labels       int // the highest of %1..%9
}

// parseTemplate reads text. A % that is not followed by one of
// s u d S U D 1..9 or % is an error.
func parseTemplate(text string) (template, error) {
	var t template
	var plain strings.Builder
	for {
		before, after, found := strings.Cut(text, "%")
		plain.WriteString(before)
		if !found {
			break
		}
		if after == "" || !strings.Contains("%sudSUD123456789", after[:1]) {
			return template{}, fmt.Errorf("%q is not followed by one of %% s u d S U D 1..9", "%"+clip(after, 1))
		}
		if after[0] == '%' {
			plain.WriteByte('%')
		} else {
			t.pieces = append(t.pieces, piece{plain.String(), after[0]})
			plain.Reset()
		}
		text = after[1:]
	}
	if plain.Len() > 0 {
		t.pieces = append(t.pieces, piece{text: plain.String()})
	}
	return t, nil
}

func clip(s string, n int) string { return s[:min(n, len(s))] }

// keyNeeds adds what the template asks of a key. In a result only capital
// letters and digits speak of the key.
func (t template) keyNeeds(n *needs, isResult bool) {
	for _, p := range t.pieces {
		switch {
		case p.letter == 'U' || p.letter == 'u' && !isResult:
			n.user = true
		case p.letter == 'D' || p.letter == 'd' && !isResult:
			n.domain = true
		case '1' <= p.letter && p.letter <= '9':
			n.labels = max(n.labels, int(p.letter-'0'))
		}
	}
}

// valueNeeds says what a result template asks of a value.
func (t template) valueNeeds() needs {
	var n needs
	for _, p := range t.pieces {
		n.user = n.user || p.letter == 'u'
		n.domain = n.domain || p.letter == 'd'
	}
	return n
}

// parts is a key or a value, cut at its last '@'.
type parts struct {
	whole  string
	user   string // whole when there is no '@'
	domain string
	hasAt  bool
	labels []string // of the domain, from the right, when they were asked for
}

// cutParts cuts text and reports whether it has all that is needed: a domain
// that is not empty, enough labels in it, and a user part that is not empty if
// there is an '@'.
func cutParts(text string, n needs) (p parts, ok bool) {
	p = parts{whole: text, user: text}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		p.user, p.domain, p.hasAt = text[:i], text[i+1:], true
	}
	if n.user && p.hasAt && p.user == "" || n.domain && p.domain == "" {
		return p, false
	}
	if n.labels > 0 {
		for rest := p.domain; rest != "" && len(p.labels) < n.labels; {
			i := strings.LastIndexByte(rest, '.')
			if label := rest[i+1:]; label != "" {
				p.labels = append(p.labels, label)
			}
			rest = rest[:max(i, 0)]
		}
	}
	return p, len(p.labels) >= n.labels
}

// expand fills in the parts of value for the small letters and those of key
// for the others. Both must have what the template needs.
func (t template) expand(key, value *parts) string {
	if len(t.pieces) == 1 && t.pieces[0] == (piece{letter: 's'}) {
		return value.whole
	}
	var b strings.Builder
	for _, p := range t.pieces {
		b.WriteString(p.text)
		switch p.letter {
		case 0:
		case 's':
			b.WriteString(value.whole)
		case 'u':
			b.WriteString(value.user)
		case 'd':
			b.WriteString(value.domain)
		case 'S':
			b.WriteString(key.whole)
		case 'U':
			b.WriteString(key.user)
		case 'D':
			b.WriteString(key.domain)
		default:
			b.WriteString(key.labels[p.letter-'1'])
		}
	}
	return b.String()
}
