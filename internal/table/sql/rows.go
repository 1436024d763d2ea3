package sql

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// lookup is what all databases have in common: from a key to a query, and from
// rows to a result.
type lookup struct {
	*cf.Common
	settings    *cf.Settings
	query       *query
	queryAt     origin.At
	parameter   string        // that has the query
	text        string        // of the query, as written
	listings    []*listing    // that list its rows; none when its shape does not allow it
	most        int           // rows that are listed
	compared    atomic.Uint32 // the comparison that the last listing found
	plain       atomic.Bool   // the last listing found no row without a value
	firstColumn bool          // only the first column counts
	nullIsEmpty bool          // NULL is an empty text (which is warned of) rather than nothing
}

// form is how the queries of a database are written.
type form struct {
	*dialect
	function string // the parameter that names a function instead of a table, "" where there is none
}

// Names of parameters (sqlite_table(5)).
const (
	paramQuery  = "query"
	paramTable  = "table"
	paramSelect = "select_field"
	paramWhere  = "where_field"
	paramMore   = "additional_conditions"
)

// commonParameters are those that the tables of all databases have.
func commonParameters() []string {
	return []string{paramQuery, cf.ParamResult, cf.ParamDomain, cf.ParamLimit, paramTable, paramSelect, paramWhere, paramMore}
}

// Parameters are the names that the .cf file of a type may have: "sqlite", "mysql",
// "pgsql".
func Parameters(typ string) []string {
	switch typ {
	case "sqlite":
		return append([]string{paramPath}, commonParameters()...)
	case "mysql":
		return append(serverParameters(), paramCharset, paramFile, paramGroup, paramResultSet,
			paramTLSCert, paramTLSKey, paramTLSCA, paramTLSPath, paramCiphers, paramVerify)
	case "pgsql":
		return append(serverParameters(), paramEncoding, paramFunction)
	}
	return nil
}

// newLookup reads the common parameters.
func newLookup(ctx context.Context, o *table.Opener, name string, s *cf.Settings, use table.Use, f form) (*lookup, error) {
	l := &lookup{settings: s, most: listRows}
	var err error
	if err = l.readQuery(o, s, f); err != nil {
		return nil, err
	}
	if l.Common, err = cf.NewCommon(ctx, o, name, s, use); err != nil {
		return nil, err
	}
	for _, v := range l.query.values {
		l.Ask(v)
	}
	l.listings = l.turnRound(f)
	return l, nil
}

// readQuery takes the query, or makes it of the legacy parameters.
func (l *lookup) readQuery(o *table.Opener, s *cf.Settings, f form) error {
	name, text, err := queryText(s, f)
	if err != nil {
		return err
	}
	_, l.queryAt, _ = s.Lookup(name)
	l.parameter, l.text = s.Prefix+name, text
	if l.query, err = f.parseQuery(text); err != nil {
		return s.Wrong(name, err)
	}
	for _, letter := range l.query.unquoted {
		o.Warn("%s, line %d: %s not in single quotes: the key is sent as a value, write '%s'",
			l.queryAt.File, l.queryAt.Line, letter, strings.Trim(letter, "\"`"))
	}
	if len(l.query.values) == 0 {
		o.Warn("%s, line %d: %s%s has no %%s for the key in it: every key gets the same answer; write for example ... WHERE email = '%%s'",
			l.queryAt.File, l.queryAt.Line, s.Prefix, name)
	}
	return nil
}

// Query is a query as it is written, for those who judge it.
type Query struct {
	Text      string // made of select_field and the like where there is no query parameter
	Parameter string // that has it: query, or table
	At        origin.At
	// Unquoted are the %-letters that are not between single quotes, each as it
	// is written: %s or "%s".
	Unquoted []string
	// NoKey says that there is no %-letter in it: every key gets the same answer.
	NoKey bool
}

// Query is the query of the table.
func (l *lookup) Query() *Query {
	return &Query{Text: l.text, Parameter: l.parameter, At: l.queryAt, Unquoted: l.query.unquoted, NoKey: len(l.query.values) == 0}
}

// Settings are those of its .cf file.
func (l *lookup) Settings() *cf.Settings { return l.settings }

// turnRound makes the listings of the query, none where it cannot be listed.
func (l *lookup) turnRound(f form) []*listing {
	list, ok := f.listings(l.text)
	for _, q := range list {
		ok = ok && !(q.byDomain() && l.NeedsUser()) // else every user of the domain has another answer
	}
	if !ok {
		return nil
	}
	return list
}

// queryText finds the text of the query, and the parameter that has it.
func queryText(s *cf.Settings, f form) (name, text string, err error) {
	if text = s.Get(paramQuery); text != "" {
		return paramQuery, text, nil
	}
	if function := s.Get(f.function); function != "" {
		return f.function, "SELECT " + function + "('%s')", nil
	}
	if _, _, ok := s.Lookup(paramTable); !ok {
		_, err = s.Required(paramQuery)
		return "", "", err
	}
	from, err1 := s.Required(paramTable)
	field, err2 := s.Required(paramSelect)
	where, err3 := s.Required(paramWhere)
	text = "SELECT " + field + " FROM " + from + " WHERE " + where + "='%s' " + s.Get(paramMore)
	return paramTable, text, errors.Join(err1, err2, err3)
}

// row is one row of an answer. A value that is not there is NULL.
type row struct {
	columns []string
	values  []cell
}

type cell struct {
	text string
	null bool
}

// collector makes a result of the rows of one answer.
type collector struct {
	*cf.Collector
	lookup *lookup
}

func (l *lookup) collect(key *cf.Parts) collector {
	return collector{l.Collect(key, func() string { return l.query.readable(key) }), l}
}

// add takes one row.
func (c collector) add(r row) error {
	values := r.values
	if c.lookup.firstColumn && len(values) > 1 {
		values = values[:1]
	}
	used := false
	for _, v := range values {
		if v.null && !c.lookup.nullIsEmpty {
			continue
		}
		ok, err := c.Add(v.text)
		if err != nil {
			return err
		}
		used = used || ok
	}
	if used {
		c.From(r.named())
	}
	return nil
}

// named is the row by the names of its columns, without NULL.
func (r row) named() map[string]string {
	named := make(map[string]string, len(r.columns))
	for i, name := range r.columns {
		if !r.values[i].null {
			named[name] = r.values[i].text
		}
	}
	return named
}

// failure is the error of a lookup. It is blamed on the line of the query.
func (l *lookup) failure(key string, err error) error { return l.Failure(key, l.queryAt, err) }
