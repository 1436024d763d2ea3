package sql

import (
	"strings"

	"postern/internal/table/cf"
)

// equation is a condition of a query that compares something of the row with
// something of the key: alias.address = CONCAT('%u', '@', alias_domain.target).
// Read backwards, the row says which key finds it.
type equation struct {
	left  phrase // of the row
	right []term // joined
}

// term is a part of the right side: a plain text, a letter of the key, or an
// expression of the row.
type term struct {
	text   string
	letter byte
	row    phrase
}

// readEquation reads a condition. ok is false when it is of another form.
func (d *dialect) readEquation(p phrase) (e equation, ok bool) {
	sides := p.split("=")
	if len(sides) != 2 || p.has("NOT", "<", ">", "!", "LIKE", "IN", "IS", ":") {
		return e, false
	}
	left, right := sides[0], sides[1]
	if left.hasValue() {
		left, right = right, left
	}
	if left.hasValue() || len(left) == 0 {
		return e, false
	}
	e.left = left.bare()
	e.right, ok = d.terms(right)
	return e, ok && e.solvable()
}

// terms reads what a key is compared with.
func (d *dialect) terms(p phrase) (list []term, ok bool) {
	p = p.bare()
	if len(p) == 0 {
		return nil, false
	}
	if !p.hasValue() {
		if text, ok := d.plain(p); ok {
			return []term{{text: text}}, true
		}
		return []term{{row: p}}, true
	}
	if len(p) == 1 {
		for text, letter := range p[0].value.Pieces() {
			if text != "" {
				list = append(list, term{text: text})
			}
			if letter != 0 {
				list = append(list, term{letter: letter | ('a' - 'A')}) // capitals mean the same
			}
		}
		return list, true
	}
	if inner, ok := p.call("LOWER", "LCASE"); ok && len(inner) == 1 {
		return d.terms(inner[0])
	}
	parts, ok := p.call("CONCAT")
	if !ok {
		if parts = splitConcat(p); d.backslash || len(parts) < 2 { // || is "or" in MySQL
			return nil, false
		}
	}
	for _, part := range parts {
		more, ok := d.terms(part)
		if !ok {
			return nil, false
		}
		list = append(list, more...)
	}
	return list, true
}

// splitConcat cuts at "||", which is two signs.
func splitConcat(p phrase) []phrase {
	parts := p.split("|")
	var out []phrase
	for i, part := range parts {
		if i%2 == 1 {
			if len(part) > 0 {
				return nil
			}
			continue
		}
		out = append(out, part)
	}
	return out
}

// plain is what a phrase says that is one quoted text.
func (d *dialect) plain(p phrase) (string, bool) {
	if len(p) != 1 || p[0].name || strings.IndexByte(d.texts, p[0].text[0]) < 0 || len(p[0].text) < 2 {
		return "", false
	}
	text, isText := d.content(p[0].text)
	return text, isText
}

// letters are those of the key on the right side.
func (e equation) letters() string {
	var b strings.Builder
	for _, t := range e.right {
		if t.letter != 0 {
			b.WriteByte(t.letter)
		}
	}
	return b.String()
}

// solvable reports whether the left side tells the letters: one of s, u and d, or
// u and d with an '@' between them.
func (e equation) solvable() bool {
	switch e.letters() {
	case "s", "u", "d":
		return true
	case "ud":
	default:
		return false
	}
	for i, t := range e.right {
		if t.letter == 'u' {
			return i+2 < len(e.right) && e.right[i+1].text == "@" && e.right[i+2].letter == 'd'
		}
	}
	return false
}

// columns are the expressions whose values say the key: the left side, and those of
// the right side.
func (e equation) columns() []phrase {
	list := []phrase{e.left}
	for _, t := range e.right {
		if t.row != nil {
			list = append(list, t.row)
		}
	}
	return list
}

// pattern is a condition on rows that have some key at all, or "" when all have.
func (e equation) pattern(d *dialect) string {
	parts, ties := []string{}, false
	for _, t := range e.right {
		switch {
		case t.letter != 0:
			parts = append(parts, "'%'")
		case t.row != nil:
			parts, ties = append(parts, "("+t.row.String()+")"), true
		case t.text != "":
			parts = append(parts, d.quote(t.text))
		}
	}
	if !ties {
		return ""
	}
	joined := strings.Join(parts, " || ")
	if d.backslash {
		joined = "CONCAT(" + strings.Join(parts, ", ") + ")"
	}
	return "(" + e.left.String() + ") LIKE (" + joined + ")"
}

// known are letters of a key that were found.
type known struct {
	s, u, d          string
	hasS, hasU, hasD bool
}

// solve finds the letters from the values of columns. It reports whether a key can
// find the row by this condition. exact: letters do not equal capitals.
func (e equation) solve(values []cell, exact bool, k *known) bool {
	for _, v := range values {
		if v.null {
			return false
		}
	}
	left, rest := values[0].text, values[1:]
	var before, after strings.Builder
	part := &before
	for _, t := range e.right {
		switch {
		case t.letter != 0:
			part = &after
			after.Reset() // what is between u and d is an '@'
		case t.row != nil:
			part.WriteString(rest[0].text)
			rest = rest[1:]
		default:
			part.WriteString(t.text)
		}
	}
	n, m := before.Len(), after.Len()
	if len(left) < n+m || !equal(left[:n], before.String(), exact) || !equal(left[len(left)-m:], after.String(), exact) {
		return false
	}
	return k.learn(e.letters(), left[n:len(left)-m])
}

func equal(a, b string, exact bool) bool { return a == b || !exact && strings.EqualFold(a, b) }

// learn takes a text that stands for letters.
func (k *known) learn(letters, text string) bool {
	switch letters {
	case "s":
		k.s, k.hasS = text, true
	case "u":
		k.u, k.hasU = text, true
	case "d":
		k.d, k.hasD = text, true
	default:
		p, _ := cf.CutParts(text, cf.Needs{})
		if !p.HasAt {
			return false
		}
		k.u, k.d, k.hasU, k.hasD = p.User, p.Domain, true, true
	}
	return true
}

// key is the key that has these letters, or that stands for all that do: "@domain",
// or a user alone. ok is false when no key has them all.
func (k known) key() (string, bool) {
	switch {
	case k.hasS:
		p, _ := cf.CutParts(k.s, cf.Needs{})
		fits := (!k.hasU || strings.EqualFold(p.User, k.u)) && (!k.hasD || strings.EqualFold(p.Domain, k.d))
		return k.s, fits && k.s != ""
	case k.hasU && k.hasD:
		return k.u + "@" + k.d, k.u != "" && k.d != ""
	case k.hasD:
		return "@" + k.d, k.d != ""
	}
	return k.u, k.u != ""
}
