package index

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/text"
)

// staleAfter is how long ago a source text must have been changed until it is
// said that its index is older, with table_autocompile = no: as in Postfix.
const staleAfter = 100 * time.Second

// checkInterval is how often it is decided anew whether the index answers.
const checkInterval = time.Second

var errClosed = errors.New("table is closed")

// Table answers from an index file or from its source text (package comment).
type Table struct {
	name   string // as configured
	format Format
	path   string      // of the source text
	index  string      // of the index
	at     []origin.At // the index: the place of its rows
	place  table.Places
	o      *table.Opener
	use    table.Use

	mu      sync.RWMutex // guards what follows; held for reading during a lookup
	current *mapping     // nil when the text answers, or nothing does
	text    *text.Table  // nil when the index answers
	trouble error        // why neither does
	closed  bool

	form     atomic.Int32  // how keys are stored in current
	next     atomic.Int64  // when to examine the files again, Unix nanoseconds
	changing chan struct{} // has a place for the one goroutine that examines or changes them
	seen     stamp         // of the source text at the last examination
	restless time.Time     // since when the source text has been changing
	told     string        // the warning of the last examination
	saying   string        // that of the one going on
	lines    *text.Table   // with Opener.Locate: where rows are written
}

// Forms of stored keys. The first key that is found decides for the file.
const (
	unknownForm int32 = iota
	withNUL
	withoutNUL
)

var (
	_ table.Table      = (*Table)(nil)
	_ table.Enumerable = (*Table)(nil)
	_ table.Many       = (*Table)(nil)
)

// New is the constructor of the table type of that format.
func New(f Format) table.Constructor {
	return func(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
		path := o.Path(name)
		index := o.Replace.File(path + f.Suffix)
		t := &Table{name: f.Type + ":" + name, format: f, path: path, index: index, o: o, use: use,
			at: []origin.At{{File: index}}, place: table.Place{File: index}, changing: make(chan struct{}, 1)}
		if err := t.examine(ctx, true); err != nil {
			return nil, err
		}
		if o.Locate && t.current != nil {
			if lines, err := t.openText(); err == nil {
				t.lines = lines
			}
		}
		return t, nil
	}
}

func (t *Table) openText() (*text.Table, error) {
	return text.Open(t.o, t.format.Type, strings.TrimPrefix(t.name, t.format.Type+":"), t.use)
}

// Name is the table as configured.
func (t *Table) Name() string { return t.name }

// Problems are what is wrong with lines of the source text: when that answers, or
// with Opener.Locate; else they are not known.
func (t *Table) Problems() []text.Problem {
	t.mu.RLock()
	rows := t.text
	t.mu.RUnlock()
	switch {
	case rows != nil:
		return rows.Problems()
	case t.lines != nil:
		return t.lines.Problems()
	}
	return nil
}

// Traits are those of a table with fixed keys.
func (t *Table) Traits() table.Traits { return table.Traits{} }

// Lookup returns the value under key, from the file that answers now.
func (t *Table) Lookup(ctx context.Context, key string) (table.Result, error) {
	if t.use.Fold {
		key = t.o.Fold(key)
	}
	if t.o.Clock().UnixNano() >= t.next.Load() {
		t.refresh(ctx)
	}
	for {
		result, err := t.ask(ctx, key)
		if err != errChanged {
			return t.answer(ctx, key, result, err)
		}
		if err := t.reload(ctx); err != nil {
			return table.Result{}, t.failure(key, err)
		}
	}
}

// LookupMany is Lookup for many keys, of which the file is asked only once
// whether it has changed. They may be answered anew when it has.
func (t *Table) LookupMany(ctx context.Context, keys []string, answers []table.Answer) {
	folded := keys
	if t.use.Fold {
		folded = make([]string, len(keys))
		for i, key := range keys {
			folded[i] = t.o.Fold(key)
		}
	}
	if t.o.Clock().UnixNano() < t.next.Load() && t.askMany(folded, answers) {
		for i, key := range folded {
			answers[i].Result, answers[i].Err = t.answer(ctx, key, answers[i].Result, answers[i].Err)
		}
		return
	}
	for i, key := range keys {
		answers[i].Result, answers[i].Err = t.Lookup(ctx, key)
	}
}

// askMany reports whether the index could answer.
func (t *Table) askMany(keys []string, answers []table.Answer) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	m, err := t.answering()
	return err == nil && m != nil && t.askIndex(keys, answers) == nil
}

// answer gives what was found its place, and what went wrong its form.
func (t *Table) answer(ctx context.Context, key string, r table.Result, err error) (table.Result, error) {
	switch err {
	case nil:
		return t.locate(ctx, key, r), nil
	case table.ErrNotFound:
		return table.Result{}, err
	}
	return table.Result{}, t.failure(key, err)
}

func (t *Table) failure(key string, err error) error {
	var e *table.Error
	if errors.As(err, &e) {
		return err
	}
	return &table.Error{Table: t.name, Key: key, At: origin.At{File: t.index}, Err: err}
}

// ask asks the file that answers now. key is folded.
func (t *Table) ask(ctx context.Context, key string) (table.Result, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if m, err := t.answering(); m == nil && err == nil {
		return t.text.Lookup(ctx, key)
	} else if err != nil {
		return table.Result{}, err
	}
	keys, answers := [1]string{key}, [1]table.Answer{}
	if err := t.askIndex(keys[:], answers[:]); err != nil {
		return table.Result{}, err
	}
	return answers[0].Result, answers[0].Err
}

// answering is the index that answers; nil when the text does. mu is held.
func (t *Table) answering() (*mapping, error) {
	switch {
	case t.closed:
		return nil, errClosed
	case t.text == nil && t.current == nil:
		return nil, t.trouble
	}
	return t.current, nil
}

// askIndex asks the index for folded keys. Its error is errChanged: there is no
// telling, ask again. mu is held.
func (t *Table) askIndex(keys []string, answers []table.Answer) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	err := t.current.guard(func() error {
		for i, key := range keys {
			*buffer = append(append((*buffer)[:0], key...), 0)
			answers[i].Value, answers[i].Err = t.askForms(*buffer)
		}
		return nil
	})
	if err == nil && t.current.rewritten && !t.current.unchanged() {
		err = errChanged
	}
	return err
}

// buffers hold keys that are looked for.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// askForms asks for a key, which comes with a NUL byte behind it, in the form
// that the file has.
func (t *Table) askForms(key []byte) (string, error) {
	if len(key) == 1 || bytes.IndexByte(key, 0) < len(key)-1 {
		return "", table.ErrNotFound
	}
	form := t.form.Load()
	value, err := []byte(nil), ErrNone
	if form != withoutNUL {
		value, err = t.current.reader.Get(key)
		t.found(form, withNUL, err)
	}
	if err == ErrNone && form != withNUL {
		value, err = t.current.reader.Get(key[:len(key)-1])
		t.found(form, withoutNUL, err)
	}
	if err == ErrNone {
		return "", table.ErrNotFound
	}
	return cString(value), err
}

func (t *Table) found(before, form int32, err error) {
	if before == unknownForm && err == nil {
		t.form.CompareAndSwap(unknownForm, form)
	}
}

// locate says where the row of a result from the index is written: in the line
// of the source text that has this key and value, or just in the index.
func (t *Table) locate(ctx context.Context, key string, r table.Result) table.Result {
	if r.At != nil {
		return r
	}
	if t.lines != nil {
		if line, err := t.lines.Lookup(ctx, key); err == nil && line.Value == r.Value {
			return line
		}
		r.At = []origin.At{t.inIndex(key, r.Value)}
		return r
	}
	r.At = t.at
	return r
}

// All yields the rows in the order of the file that answers now. Those of an
// index are read in batches, each of which is verified to be whole before its
// rows are yielded; when the file is written meanwhile, an error ends them.
func (t *Table) All(ctx context.Context) iter.Seq2[table.Entry, error] {
	return func(yield func(table.Entry, error) bool) {
		t.mu.RLock()
		closed, rows := t.closed, t.text
		t.mu.RUnlock()
		switch {
		case closed:
			yield(table.Entry{}, t.failure("", errClosed))
			return
		case rows != nil:
			rows.All(ctx)(yield)
			return
		}
		m, err := openMapping(ctx, t.o, t.format, t.index)
		if err != nil {
			yield(table.Entry{}, t.failure("", err))
			return
		}
		defer m.close()
		for entry, err := range m.all() {
			if err != nil {
				yield(table.Entry{}, t.failure("", err))
				return
			}
			if !yield(t.entry(entry), nil) {
				return
			}
		}
	}
}

// entry is a row of the index, written where locate says.
func (t *Table) entry(r row) table.Entry {
	e := table.Entry{Key: r.Key, Value: r.Value, Places: t.place}
	if t.lines == nil {
		return e
	}
	if line, err := t.lines.Row(r.Key); err == nil && line.Value == r.Value {
		e.Places, e.Number = line.Places, line.Number
	} else {
		e.Places = table.Place(t.inIndex(r.Key, r.Value))
	}
	return e
}

// inIndex is the place of a row that only the index has.
func (t *Table) inIndex(key, value string) origin.At {
	return origin.At{File: t.index, Text: key + "\t" + value}
}

// row is a record as text.
type row struct{ Key, Value string }

// batch is how many records are copied before they are verified.
const batch = 1000

// all yields copies of all records.
func (m *mapping) all() iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		rows := make([]row, 0, batch)
		deliver := func() (more bool, err error) {
			if !m.unchanged() {
				return false, errChanged
			}
			for _, r := range rows {
				if !yield(r, nil) {
					return false, nil
				}
			}
			rows = rows[:0]
			return true, nil
		}
		err := m.guard(func() error {
			for record, err := range m.reader.All() {
				if err != nil {
					return err
				}
				rows = append(rows, row{cString(record.Key), cString(record.Value)})
				if len(rows) == batch {
					if more, err := deliver(); !more {
						return err
					}
				}
			}
			_, err := deliver()
			return err
		})
		if err != nil {
			yield(row{}, err)
		}
	}
}

// Close ends the table. Lookups after it fail.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.current != nil {
		t.current.close()
		t.current = nil
	}
	return nil
}
