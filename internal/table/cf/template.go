package cf

import (
	"fmt"
	"iter"
	"strings"
)

// Template is text with %-letters: a bound value of a query, or result_format.
type Template struct {
	pieces []piece
}

// piece is plain text and the %-letter behind it, 0 for none.
type piece struct {
	text   string
	letter byte
}

// Needs says which parts of an address the letters of a template ask for.
type Needs struct {
	User, Domain bool
	Labels       int // the highest of %1..%9
}

// ParseTemplate reads text. A % that is not followed by one of
// s u d S U D 1..9 or % is an error.
func ParseTemplate(text string) (Template, error) {
	var t Template
	var plain strings.Builder
	for {
		before, after, found := strings.Cut(text, "%")
		plain.WriteString(before)
		if !found {
			break
		}
		if after == "" || !strings.Contains("%sudSUD123456789", after[:1]) {
			return Template{}, fmt.Errorf("%q is not followed by one of %% s u d S U D 1..9", "%"+clip(after, 1))
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

// Plain is the text of a template without letters.
func (t Template) Plain() (text string, ok bool) {
	switch {
	case len(t.pieces) == 0:
		return "", true
	case len(t.pieces) == 1 && t.pieces[0].letter == 0:
		return t.pieces[0].text, true
	}
	return "", false
}

// Single reports whether a template is one letter and nothing else.
func (t Template) Single() bool {
	return len(t.pieces) == 1 && t.pieces[0].text == "" && t.pieces[0].letter != 0
}

// Pieces yields the plain texts of a template, each with the letter behind it, 0
// for none.
func (t Template) Pieces() iter.Seq2[string, byte] {
	return func(yield func(text string, letter byte) bool) {
		for _, p := range t.pieces {
			if !yield(p.text, p.letter) {
				return
			}
		}
	}
}

// KeyNeeds adds what the template asks of a key. In a result only capital
// letters and digits speak of the key.
func (t Template) KeyNeeds(n *Needs, isResult bool) {
	for _, p := range t.pieces {
		switch {
		case p.letter == 'U' || p.letter == 'u' && !isResult:
			n.User = true
		case p.letter == 'D' || p.letter == 'd' && !isResult:
			n.Domain = true
		case '1' <= p.letter && p.letter <= '9':
			n.Labels = max(n.Labels, int(p.letter-'0'))
		}
	}
}

// ValueNeeds says what a result template asks of a value.
func (t Template) ValueNeeds() Needs {
	var n Needs
	for _, p := range t.pieces {
		n.User = n.User || p.letter == 'u'
		n.Domain = n.Domain || p.letter == 'd'
	}
	return n
}

// Parts is a key or a value, cut at its last '@'.
type Parts struct {
	Whole  string
	User   string // whole when there is no '@'
	Domain string
	HasAt  bool
	Labels []string // of the domain, from the right, when they were asked for
}

// CutParts cuts text and reports whether it has all that is needed: a domain
// that is not empty, enough labels in it, and a user part that is not empty if
// there is an '@'.
func CutParts(text string, n Needs) (p Parts, ok bool) {
	p = Parts{Whole: text, User: text}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		p.User, p.Domain, p.HasAt = text[:i], text[i+1:], true
	}
	if n.User && p.HasAt && p.User == "" || n.Domain && p.Domain == "" {
		return p, false
	}
	if n.Labels > 0 {
		for rest := p.Domain; rest != "" && len(p.Labels) < n.Labels; {
			i := strings.LastIndexByte(rest, '.')
			if label := rest[i+1:]; label != "" {
				p.Labels = append(p.Labels, label)
			}
			rest = rest[:max(i, 0)]
		}
	}
	return p, len(p.Labels) >= n.Labels
}

// Expand fills in the parts of value for the small letters and those of key
// for the others. Both must have what the template needs.
func (t Template) Expand(key, value *Parts) string {
	if len(t.pieces) == 1 && t.pieces[0] == (piece{letter: 's'}) {
		return value.Whole
	}
	var b strings.Builder
	for _, p := range t.pieces {
		b.WriteString(p.text)
		switch p.letter {
		case 0:
		case 's':
			b.WriteString(value.Whole)
		case 'u':
			b.WriteString(value.User)
		case 'd':
			b.WriteString(value.Domain)
		case 'S':
			b.WriteString(key.Whole)
		case 'U':
			b.WriteString(key.User)
		case 'D':
			b.WriteString(key.Domain)
		default:
			b.WriteString(key.Labels[p.letter-'1'])
		}
	}
	return b.String()
}
