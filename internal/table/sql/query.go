package sql

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/table/cf"
)

// query is an SQL query whose variable parts are bound values.
type query struct {
	text   []string      // what stands around the values: one more than there are values
	values []cf.Template // in order
	// unquoted holds the %-letters that stand outside of single quotes. They
	// are bound like the others, but were probably meant to be quoted.
	unquoted []string
}

var (
	errUnclosedQuote  = errors.New("no end of a quoted text or comment")
	errManyStatements = errors.New("more than one statement")
)

// parseQuery cuts a query template at its values. A single-quoted literal with
// a % in it becomes one value, and so does a %-letter anywhere else. Comments
// are kept; a % letter in one means nothing. A final semicolon is dropped.
func parseQuery(text string) (*query, error) {
	q := &query{}
	text = strings.TrimRight(text, "; \t\r\n")
	var plain strings.Builder
	for i := 0; i < len(text); {
		n, err := lexeme(text[i:])
		if err != nil {
			return nil, err
		}
		part := text[i : i+n]
		i += n
		if part == ";" {
			return nil, errManyStatements
		}
		if part[0] == '-' || part[0] == '/' || !strings.Contains(part, "%") {
			plain.WriteString(part)
			continue
		}
		if part[0] == '%' && i < len(text) {
			part += text[i : i+1]
			i++
		}
		if part == "%%" {
			plain.WriteByte('%')
			continue
		}
		value, err := q.value(part)
		if err != nil {
			return nil, err
		}
		q.text = append(q.text, plain.String())
		q.values = append(q.values, value)
		plain.Reset()
	}
	q.text = append(q.text, plain.String())
	return q, nil
}

// value makes a template of a quoted literal or a bare %-letter.
func (q *query) value(part string) (cf.Template, error) {
	content := part
	if quote := part[0]; quote != '%' {
		content = strings.ReplaceAll(part[1:len(part)-1], part[:1]+part[:1], part[:1])
	}
	t, err := cf.ParseTemplate(content)
	if part[0] != '\'' {
		q.unquoted = append(q.unquoted, part)
	}
	return t, err
}

// lexeme is the length of the first lexical element of an SQL text that is not
// empty: a quoted text in which a doubled quote is one of its characters, a
// comment, or a single character.
func lexeme(text string) (int, error) {
	end := ""
	switch {
	case strings.HasPrefix(text, "--"):
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			return i, nil
		}
		return len(text), nil
	case strings.HasPrefix(text, "/*"):
		end = "*/"
	case text[0] == '\'' || text[0] == '"' || text[0] == '`':
		end = text[:1]
	default:
		return 1, nil
	}
	for i := len(end); ; {
		n := strings.Index(text[i:], end)
		if n < 0 {
			return 0, fmt.Errorf("%w: %s", errUnclosedQuote, text[:min(20, len(text))])
		}
		i += n + len(end)
		if len(end) == 1 && strings.HasPrefix(text[i:], end) {
			i++
			continue
		}
		return i, nil
	}
}

// statement is the query with what mark returns in the place of each value, as
// databases want it: "?" or "$1".
func (q *query) statement(mark func(i int) string) string {
	var b strings.Builder
	for i, text := range q.text {
		b.WriteString(text)
		if i < len(q.values) {
			b.WriteString(mark(i))
		}
	}
	return b.String()
}

// bind returns the values for a key.
func (q *query) bind(key *cf.Parts) []any {
	values := make([]any, len(q.values))
	for i, v := range q.values {
		values[i] = v.Expand(key, key)
	}
	return values
}

// readable is the query for a key as a person would type it. It is for
// reading only: nothing sends it.
func (q *query) readable(key *cf.Parts) string {
	return q.statement(func(i int) string {
		return "'" + strings.ReplaceAll(q.values[i].Expand(key, key), "'", "''") + "'"
	})
}
