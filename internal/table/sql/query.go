package sql

import (
	"errors"
	"strings"

	"postern/internal/table/cf"
)

// query is an SQL query whose variable parts are bound values.
type query struct {
	dialect *dialect
	text    []string      // what stands around the values: one more than there are values
	values  []cf.Template // in order
	// unquoted holds the %-letters that stand outside of quoted texts. They
	// are bound like the others, but were probably meant to be quoted.
	unquoted []string
}

var (
	errUnclosedQuote  = errors.New("no end of a quoted text or comment")
	errManyStatements = errors.New("more than one statement")
)

// parseQuery cuts a query template at its values. A quoted text with a % in it
// becomes one value, and so does a %-letter anywhere else. Comments are kept; a
// % letter in one means nothing. A final semicolon is dropped.
func (d *dialect) parseQuery(text string) (*query, error) {
	q := &query{dialect: d}
	text = strings.TrimRight(text, "; \t\r\n")
	var plain strings.Builder
	for i := 0; i < len(text); {
		n, err := d.lexeme(text[i:])
		if err != nil {
			return nil, err
		}
		part := text[i : i+n]
		i += n
		if part == ";" {
			return nil, errManyStatements
		}
		if strings.IndexByte("-/#", part[0]) >= 0 || !strings.Contains(part, "%") {
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

// value makes a template of a quoted text or a bare %-letter.
func (q *query) value(part string) (cf.Template, error) {
	content, isText := part, false
	if part[0] != '%' {
		content, isText = q.dialect.content(part)
	}
	t, err := cf.ParseTemplate(content)
	if !isText {
		q.unquoted = append(q.unquoted, part)
	}
	return t, err
}

// write is the query with what mark returns in the place of each value.
func (q *query) write(mark func(i int) string) string {
	var b strings.Builder
	for i, text := range q.text {
		b.WriteString(text)
		if i < len(q.values) {
			b.WriteString(mark(i))
		}
	}
	return b.String()
}

// statement is the query as the database wants it: with "?" or "$1" for values.
func (q *query) statement() string { return q.write(q.dialect.mark) }

// bind returns the values for a key.
func (q *query) bind(key *cf.Parts) []string {
	values := make([]string, len(q.values))
	for i, v := range q.values {
		values[i] = v.Expand(key, key)
	}
	return values
}

// readable is the query for a key as a person would type it. It is for
// reading only: nothing sends it.
func (q *query) readable(key *cf.Parts) string {
	return q.write(func(i int) string {
		return "'" + strings.ReplaceAll(q.values[i].Expand(key, key), "'", "''") + "'"
	})
}
