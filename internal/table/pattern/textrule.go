package pattern

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/syntax"
)

var (
	errNoPattern      = errors.New("no pattern")
	errUnknownRequest = errors.New("unrecognized request")
	errNegativeGroup  = errors.New("$number found in negative match replacement text")
	errNoSubstitution = errors.New("$number substitution is not allowed here")
)

// delimited is a pattern as written: /source/flags with any number of
// exclamation marks in front.
type delimited struct {
	source, flags string
	negated       bool
}

// cutDelimited reads a delimited pattern. A backslash keeps the delimiter from
// ending it and stays in the source. The flags run to white space or to one of
// the characters in stop.
func cutDelimited(text, stop string) (d delimited, rest string, err error) {
	text, d.negated = cutNegation(text)
	if text == "" {
		return d, "", errNoPattern
	}
	delimiter := text[0]
	end := 1
	for end < len(text) && text[end] != delimiter {
		if text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(text) {
		return d, "", fmt.Errorf("no closing delimiter %q", delimiter)
	}
	d.source = text[1:end]
	rest = text[end+1:]
	n := strings.IndexAny(rest, syntax.Blank+stop)
	if n < 0 {
		n = len(rest)
	}
	d.flags = rest[:n]
	return d, rest[n:], nil
}

// textDialect makes the dialect of a table of text patterns. compile makes a
// matcher of a pattern and says how many groups it has. With but, a second
// pattern may follow the first without a space: /this/!/that/. The letters of
// obsolete are options without effect, which are warned of.
func textDialect(family string, compile func(source, flags string) (matcher, int, error), but bool, obsolete string) dialect {
	stop := ""
	if but {
		stop = "!"
	}
	read := func(c *compiler, r *rule, text string) (rest string, groups int, err error) {
		d, rest, err := cutDelimited(text, stop)
		if err != nil {
			return "", 0, err
		}
		if i := strings.IndexAny(d.flags, obsolete); i >= 0 {
			c.warnf("ignoring obsolete option %q", d.flags[i])
		}
		m, groups, err := compile(d.source, d.flags)
		if err != nil {
			return "", 0, err
		}
		r.conditions = append(r.conditions, condition{m, d.negated})
		return rest, groups, nil
	}
	return dialect{
		family:  family,
		prepare: newText,
		finish:  indexTexts,
		cut:     func(text string) (pattern, result string) { return cutPatterns(text, stop) },
		condition: func(c *compiler, text string, r *rule) error {
			rest, _, err := read(c, r, text)
			if rest = strings.Trim(rest, syntax.Blank); err == nil && rest != "" {
				c.warnf("ignoring extra text after IF statement: %q (a line that starts with white space continues the line above)", rest)
			}
			return err
		},
		rule: func(c *compiler, text string, r *rule) error {
			if isAlnum(text[0]) {
				return errUnknownRequest
			}
			rest, groups, err := read(c, r, text)
			if err == nil && but && strings.HasPrefix(rest, "!") {
				rest, _, err = read(c, r, rest)
			}
			if err != nil {
				return err
			}
			return c.setResult(r, strings.Trim(rest, syntax.Blank), groups)
		},
	}
}

// cutPatterns parts a rule that can be used behind its last pattern.
func cutPatterns(text, stop string) (patterns, result string) {
	rest := text
	for more := true; more; more = stop != "" && strings.HasPrefix(rest, stop) {
		_, behind, err := cutDelimited(rest, stop)
		if err != nil {
			break
		}
		rest = behind
	}
	return strings.TrimSpace(text[:len(text)-len(rest)]), strings.Trim(rest, syntax.Blank)
}

// setResult gives a rule its result and checks the references in it.
func (c *compiler) setResult(r *rule, text string, groups int) error {
	if text == "" {
		c.warnf("no replacement text: using empty string")
	}
	result, err := parseReplacement(text)
	switch {
	case err != nil:
		return fmt.Errorf("bad replacement syntax: %w", err)
	case result.groups == 0:
	case c.noSubstitution:
		return errNoSubstitution
	case r.conditions[0].negated:
		return errNegativeGroup
	case result.groups > groups:
		return fmt.Errorf("out of range replacement index \"%d\"", result.groups)
	}
	r.result = result
	return nil
}

// toggle reads flag letters; each occurrence turns a flag over.
func toggle(flags string, known map[byte]*bool) error {
	for i := 0; i < len(flags); i++ {
		on, ok := known[flags[i]]
		if !ok {
			return fmt.Errorf("unknown flag %q", flags[i])
		}
		*on = !*on
	}
	return nil
}
