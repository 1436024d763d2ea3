package sql

import (
	"strings"

	"postern/internal/table/cf"
)

// token is one lexical element of a query, comments and white space left out.
type token struct {
	text  string       // as it is to be sent, without %-letters
	value *cf.Template // of a quoted text or a bare %-letter that speaks of the key
	name  bool         // a word, not a text or a sign
	glued bool         // nothing stood in front of it
}

// word reports whether a token is this word, in any case.
func (t token) word(word string) bool { return t.name && strings.EqualFold(t.text, word) }

// tokens cuts a query template, by the rules of parseQuery. A text whose % are all
// doubled is a plain one again.
func (d *dialect) tokens(text string) ([]token, error) {
	text = strings.TrimRight(text, "; \t\r\n")
	var list []token
	glued := false
	for i := 0; i < len(text); {
		n, err := d.lexeme(text[i:])
		if err != nil {
			return nil, err
		}
		part := text[i : i+n]
		i += n
		if strings.TrimSpace(part) == "" || strings.IndexByte("-/#", part[0]) >= 0 && len(part) > 1 {
			glued = false
			continue
		}
		if part == "%" && i < len(text) {
			part += text[i : i+1]
			i++
		}
		t, err := d.token(part)
		if err != nil {
			return nil, err
		}
		t.glued, glued = glued, true
		list = append(list, t)
	}
	return list, nil
}

// token makes one of a lexical element.
func (d *dialect) token(part string) (token, error) {
	t := token{text: part, name: isWord(part[0])}
	if !strings.Contains(part, "%") || part == "%" {
		return t, nil
	}
	content, quoted := part, false
	if part[0] != '%' {
		content, quoted = d.content(part)
	}
	value, err := cf.ParseTemplate(content)
	if err != nil {
		return t, err
	}
	if plain, ok := value.Plain(); ok {
		switch {
		case quoted:
			t.text = d.quote(plain)
		case part[0] == '%':
			t.text = plain
		default:
			t.text = strings.ReplaceAll(part, "%%", "%")
		}
		return t, nil
	}
	t.value = &value
	return t, nil
}

// quote writes a text for the database.
func (d *dialect) quote(text string) string {
	text = strings.ReplaceAll(text, "'", "''")
	if d.backslash {
		text = strings.ReplaceAll(text, `\`, `\\`)
	}
	return "'" + text + "'"
}

// phrase is a part of a query.
type phrase []token

// String is the phrase as it is to be sent.
func (p phrase) String() string {
	var b strings.Builder
	for i, t := range p {
		if i > 0 && !t.glued {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	return b.String()
}

// hasValue reports whether the key is a part of it.
func (p phrase) hasValue() bool {
	for _, t := range p {
		if t.value != nil {
			return true
		}
	}
	return false
}

// has reports whether one of the words is in it, outside of parentheses.
func (p phrase) has(words ...string) bool {
	found := false
	p.outside(func(i int) {
		for _, w := range words {
			found = found || p[i].word(w) || !p[i].name && p[i].text == w
		}
	})
	return found
}

// outside calls visit for the tokens that are not between parentheses, which
// themselves are not visited.
func (p phrase) outside(visit func(i int)) {
	depth := 0
	for i, t := range p {
		switch {
		case t.text == "(":
			depth++
		case t.text == ")":
			depth--
		case depth == 0:
			visit(i)
		}
	}
}

// split cuts at a word or sign that is not between parentheses.
func (p phrase) split(word string) []phrase {
	var parts []phrase
	begin := 0
	p.outside(func(i int) {
		if p[i].word(word) || !p[i].name && p[i].text == word {
			parts = append(parts, p[begin:i])
			begin = i + 1
		}
	})
	return append(parts, p[begin:])
}

// bare takes off parentheses around the whole.
func (p phrase) bare() phrase {
	for len(p) > 1 && p[0].text == "(" && p.closing(0) == len(p)-1 {
		p = p[1 : len(p)-1]
	}
	return p
}

// closing is the place of the parenthesis that closes the one at i, or -1.
func (p phrase) closing(i int) int {
	depth := 0
	for j := i; j < len(p); j++ {
		switch p[j].text {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return j
			}
		}
	}
	return -1
}

// call is the arguments of a phrase that is the call of one of some functions.
func (p phrase) call(names ...string) (arguments []phrase, ok bool) {
	if len(p) < 3 || p[1].text != "(" || p.closing(1) != len(p)-1 {
		return nil, false
	}
	for _, n := range names {
		if p[0].word(n) {
			return p[2 : len(p)-1].split(","), true
		}
	}
	return nil, false
}
