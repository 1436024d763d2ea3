package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/table"
)

// lookup is what all databases have in common: from a key to a query, and from
// rows to a result.
type lookup struct {
	table        string // type:name
	use          table.Use
	query        *query
	queryAt      origin.At
	result       template
	keyNeeds     needs // of query and result_format
	valueNeeds   needs // of result_format
	domains      *table.List
	limit        int  // expansion_limit, 0: none
	singleValue  bool // several values are a failure
	firstColumn  bool // only the first column counts
	emptyIgnored func(key string)
}

// Names of parameters (sqlite_table(5)).
const (
	paramQuery  = "query"
	paramResult = "result_format"
	paramDomain = "domain"
	paramLimit  = "expansion_limit"
	paramTable  = "table"
	paramSelect = "select_field"
	paramWhere  = "where_field"
	paramMore   = "additional_conditions"
)

// commonParameters are those that the tables of all databases have.
func commonParameters() []string {
	return []string{paramQuery, paramResult, paramDomain, paramLimit, paramTable, paramSelect, paramWhere, paramMore}
}

// newLookup reads the common parameters.
func newLookup(ctx context.Context, o *table.Opener, name string, s *settings, use table.Use) (*lookup, error) {
	l := &lookup{table: name, use: use, singleValue: use.SingleValue && o.SingleValueStrict}
	l.emptyIgnored = func(key string) {
		o.Warn("table %q: empty lookup result for: %q -- ignored", name, key)
	}
	if err := l.readQuery(o, s); err != nil {
		return nil, err
	}
	format, ok := s.values[paramResult]
	if !ok {
		format.value = "%s"
	}
	var err error
	if l.result, err = parseTemplate(format.value); err != nil {
		return nil, s.wrong(paramResult, err)
	}
	l.query.keyNeeds(&l.keyNeeds)
	l.result.keyNeeds(&l.keyNeeds, true)
	l.valueNeeds = l.result.valueNeeds()
	if l.limit, err = s.number(paramLimit); err != nil {
		return nil, err
	}
	if d, ok := s.values[paramDomain]; ok && d.value != "" {
		use := table.Use{Parameter: s.prefix + paramDomain, At: d.at, Fold: true}
		if l.domains, err = o.List(ctx, d.value, table.StringList, false, use); err != nil {
			o.Warn("%v", s.wrong(paramDomain, err))
		}
	}
	return l, nil
}

// readQuery takes the query, or makes it of the legacy parameters.
func (l *lookup) readQuery(o *table.Opener, s *settings) error {
	name, text := paramQuery, s.get(paramQuery)
	if text == "" {
		if _, ok := s.values[paramTable]; !ok {
			_, err := s.required(paramQuery)
			return err
		}
		name = paramTable
		from, err1 := s.required(paramTable)
		field, err2 := s.required(paramSelect)
		where, err3 := s.required(paramWhere)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		text = "SELECT " + field + " FROM " + from + " WHERE " + where + "='%s' " + s.get(paramMore)
	}
	var err error
	l.queryAt = s.values[name].at
	if l.query, err = parseQuery(text); err != nil {
		return s.wrong(name, err)
	}
	for _, letter := range l.query.unquoted {
		o.Warn("%s, line %d: %s not in single quotes: the key is sent as a value, write '%s'",
			l.queryAt.File, l.queryAt.Line, letter, strings.Trim(letter, "\"`"))
	}
	return nil
}

// prepare cuts a key into the parts that the query wants. ok is false when the
// key cannot be in the table, so that the database need not be asked.
func (l *lookup) prepare(ctx context.Context, key string) (p parts, ok bool, err error) {
	if l.use.Fold {
		key = address.Fold(key)
	}
	if key == "" {
		return p, false, nil
	}
	p, ok = cutParts(key, l.keyNeeds)
	if !ok || l.domains == nil {
		return p, ok, nil
	}
	if p.user == "" || p.domain == "" {
		return p, false, nil
	}
	switch _, err = l.domains.Match(ctx, p.domain, nil); {
	case err == nil:
		return p, true, nil
	case errors.Is(err, table.ErrNotFound):
		return p, false, nil
	}
	return p, false, err
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
	*lookup
	key    *parts
	pieces []string
	at     []origin.At
	shown  string // the query for reading
}

// add takes one row.
func (c *collector) add(r row) error {
	values := r.values
	if c.firstColumn && len(values) > 1 {
		values = values[:1]
	}
	before := len(c.pieces)
	for _, v := range values {
		if v.null {
			continue
		}
		if v.text == "" {
			c.emptyIgnored(c.key.whole)
			continue
		}
		value, ok := cutParts(v.text, c.valueNeeds)
		if !ok {
			continue
		}
		c.pieces = append(c.pieces, c.result.expand(c.key, &value))
		if c.limit > 0 && len(c.pieces) > c.limit {
			return fmt.Errorf("expansion limit exceeded for key %q: more than %d results", c.key.whole, c.limit)
		}
	}
	if len(c.pieces) > before {
		c.at = append(c.at, c.origin(r))
	}
	return nil
}

// origin says which row it was.
func (c *collector) origin(r row) origin.At {
	if c.shown == "" {
		c.shown = c.query.readable(c.key)
	}
	at := origin.At{Table: c.table, Key: c.key.whole, Query: c.shown, Row: make(map[string]string, len(r.columns))}
	for i, name := range r.columns {
		if !r.values[i].null {
			at.Row[name] = r.values[i].text
		}
	}
	return at
}

// finish joins what was collected.
func (c *collector) finish() (table.Result, error) {
	switch {
	case len(c.pieces) == 0:
		return table.Result{}, table.ErrNotFound
	case len(c.pieces) == 1:
		return table.Result{Value: c.pieces[0], At: c.at}, nil
	case c.singleValue:
		return table.Result{}, fmt.Errorf("%d values where %s needs one: %s", len(c.pieces), c.needer(), c.query.readable(c.key))
	}
	return table.Result{Value: strings.Join(c.pieces, ","), At: c.at}, nil
}

func (c *collector) needer() string {
	if c.use.Parameter == "" {
		return "the caller"
	}
	return c.use.Parameter
}

// failure is the error of a lookup. It is blamed on the line of the query.
func (l *lookup) failure(key string, err error) error {
	return &table.Error{Table: l.table, Key: key, At: l.queryAt, Err: err}
}
