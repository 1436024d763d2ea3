package ldap

import (
	"errors"
	"fmt"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"postern/internal/table/cf"
)

// filter is a query_filter (RFC 4515) with %-letters in its values.
type filter struct {
	template cf.Template
}

// parseFilter reads a filter as OpenLDAP does: white space around its parts
// means nothing, and a single comparison needs no parentheses. %-letters may
// stand for values only, so that no key can change what a filter asks.
func parseFilter(text string) (filter, error) {
	plain, err := tidyFilter(text)
	if err != nil {
		return filter{}, err
	}
	t, err := cf.ParseTemplate(plain)
	if err != nil {
		return filter{}, err
	}
	f := filter{t}
	x := &cf.Parts{Whole: "x", User: "x", Domain: "x", Labels: strings.Split("xxxxxxxxx", "")}
	if _, err := goldap.CompileFilter(f.expand(x)); err != nil {
		return filter{}, fmt.Errorf("%s: %s", reason(err), plain)
	}
	return f, nil
}

// expand puts a key into the filter.
func (f filter) expand(key *cf.Parts) string {
	p := quoted(key, quoteValue)
	return f.template.Expand(p, p)
}

// quoted is key with every part quoted.
func quoted(key *cf.Parts, quote func(string) string) *cf.Parts {
	p := &cf.Parts{Whole: quote(key.Whole), User: quote(key.User), Domain: quote(key.Domain), HasAt: key.HasAt}
	for _, label := range key.Labels {
		p.Labels = append(p.Labels, quote(label))
	}
	return p
}

const hexDigits = "0123456789ABCDEF"

// quoteBytes writes the bytes for which special holds, and those that are not
// printable ASCII, as \XX.
func quoteBytes(s, special string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(special, c) >= 0 {
			b.Write([]byte{'\\', hexDigits[c>>4], hexDigits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// quoteValue makes any text a value of a filter (RFC 4515, 3).
func quoteValue(s string) string { return quoteBytes(s, `*()\`) }

// quoteName makes any text a value in a distinguished name (RFC 4514, 2.4).
func quoteName(s string) string { return quoteBytes(s, " \"#+,;<=>\\") }

// tidyFilter writes a filter without the white space that means nothing. A
// filter of which a parenthesis or a comparison is wrong is an error that shows
// where.
func tidyFilter(text string) (string, error) {
	p := filterParser{rest: text}
	if p.next() != '(' {
		p.rest = "(" + p.rest + ")"
	}
	err := p.filter(0)
	if err == nil && p.next() != 0 {
		err = fmt.Errorf("the filter ends before %q", p.rest)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return p.out.String(), nil
}

// maxDepth is how deep a filter may nest.
const maxDepth = 100

type filterParser struct {
	rest string
	out  strings.Builder
}

// next skips white space and is the byte behind it, 0 at the end.
func (p *filterParser) next() byte {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

// take copies n bytes to the result.
func (p *filterParser) take(n int) {
	p.out.WriteString(p.rest[:n])
	p.rest = p.rest[n:]
}

// expect takes the byte c.
func (p *filterParser) expect(c byte) error {
	switch next := p.next(); {
	case next == c:
		p.take(1)
		return nil
	case next == 0 && c == ')':
		return errors.New("a '(' is not closed")
	case next == 0:
		return fmt.Errorf("'%c' is missing at the end", c)
	}
	return fmt.Errorf("'%c' is missing before %q", c, p.rest)
}

// filter reads "(...)".
func (p *filterParser) filter(depth int) error {
	if depth > maxDepth {
		return errors.New("too many parentheses")
	}
	if err := p.expect('('); err != nil {
		return err
	}
	switch p.next() {
	case '&', '|':
		p.take(1)
		for p.next() == '(' {
			if err := p.filter(depth + 1); err != nil {
				return err
			}
		}
	case '!':
		p.take(1)
		if err := p.filter(depth + 1); err != nil {
			return err
		}
	default:
		if err := p.comparison(); err != nil {
			return err
		}
	}
	return p.expect(')')
}

// comparison reads "name=value" up to the parenthesis. The value keeps its
// white space.
func (p *filterParser) comparison() error {
	end := strings.IndexAny(p.rest, "()")
	if end < 0 {
		return errors.New("a '(' is not closed")
	}
	item := p.rest[:end]
	name, _, ok := strings.Cut(item, "=")
	switch {
	case p.rest[end] == '(' && ok:
		return fmt.Errorf("')' is missing before %q", p.rest[end:])
	case !ok:
		return fmt.Errorf("no '=' in %q", item)
	case strings.Contains(name, "%"):
		return fmt.Errorf("a %%-letter stands for a value, it cannot be before the '=' of %q", item)
	case !isName(name):
		return fmt.Errorf("%q is not the name of an attribute", name)
	}
	p.take(end)
	return nil
}

// isName reports whether text can stand before the '=': an attribute with its
// options, or a matching rule that ends in ':', and the first character of >=,
// <= and ~=.
func isName(text string) bool {
	rule := strings.HasSuffix(text, ":")
	if !rule && text != "" && strings.IndexByte("<>~", text[len(text)-1]) >= 0 {
		text = text[:len(text)-1]
	}
	return strings.Trim(text, ":") != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r == ':' && !rule || r != ':' && !strings.ContainsRune(nameBytes, r)
	})
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.;_"
