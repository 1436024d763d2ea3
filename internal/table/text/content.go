package text

import (
	"fmt"
	"iter"
	"math"
	"strings"
	"unicode/utf8"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/table"
)

// Options say how a file is read.
type Options struct {
	Alias bool // "name: value" (aliases(5))
	Fold  bool // fold keys
	UTF8  bool // leave out lines that are not UTF-8 (smtputf8_enable)
}

// Content is a file that was read. It does not change.
type Content struct {
	Problems []Problem // in the order of the file

	path  string
	alias bool
	fold  bool
	arena string // all logical lines, one after the other
	rows  []row
	index map[string]uint32 // row of a key
}

// row is one logical line: arena[start:end].
type row struct {
	start, end uint32
	line       uint32
}

// Kind is what is wrong with a line.
type Kind uint8

// Problems of lines. All but AliasFile leave the line out.
const (
	Orphan    Kind = iota // it continues nothing
	NotUTF8               // it is not UTF-8
	NoValue               // there is no key or no value
	Unquoted              // a quote is not closed
	AliasFile             // the key ends in ':', as in an alias file
	NotLocal              // an alias name with '@'
	Duplicate             // an earlier line has the key
)

// Problem is something that an administrator should know about a line.
type Problem struct {
	Kind Kind
	At   origin.At // Text is cut after 200 bytes
	Text string
}

// Error gives the problem as Postfix does: `FILE, line 3: duplicate entry: "key"`.
func (p *Problem) Error() string {
	return fmt.Sprintf("%s, line %d: %s", p.At.File, p.At.Line, p.Text)
}

// maxText bounds the text of a line that is shown in a problem.
const maxText = 200

// Parse reads the content of a file. path is the name for places and problems.
// The only error is that the file is larger than 4 GiB.
func Parse(path string, data []byte, o Options) (*Content, error) {
	if uint64(len(data)) > math.MaxUint32 {
		return nil, fmt.Errorf("%s: larger than 4 GiB", path)
	}
	c := &Content{path: path, alias: o.Alias, fold: o.Fold}
	c.scan(data)
	c.buildIndex(o.UTF8 && !utf8.Valid(data))
	return c, nil
}

// buildIndex finds the keys of the rows and drops rows without one.
// suspicious says that some line is not UTF-8.
func (c *Content) buildIndex(suspicious bool) {
	c.index = make(map[string]uint32, len(c.rows))
	rows := c.rows
	c.rows = rows[:0]
	for _, r := range rows {
		text := c.text(r)
		if suspicious && !utf8.ValidString(text) {
			c.problem(NotUTF8, r, fmt.Sprintf("non-UTF-8 input %q -- ignoring this line", clip(text)))
			continue
		}
		key, value, kind, complaint := c.split(text)
		if complaint != "" {
			c.problem(kind, r, complaint)
		}
		if value == "" {
			continue
		}
		written := key
		if c.fold {
			key = address.Fold(key)
		}
		if _, ok := c.index[key]; ok {
			c.problem(Duplicate, r, fmt.Sprintf("duplicate entry: %q", clip(written)))
			continue
		}
		c.index[key] = uint32(len(c.rows))
		c.rows = append(c.rows, r)
	}
}

// split cuts a logical line. A line that is left out has no value; complaint is
// what there is to say.
func (c *Content) split(text string) (key, value string, kind Kind, complaint string) {
	if c.alias {
		return splitAlias(text)
	}
	return splitRow(text)
}

func (c *Content) problem(kind Kind, r row, text string) {
	c.Problems = append(c.Problems, Problem{kind, origin.At{File: c.path, Line: int(r.line), Text: clip(c.text(r))}, text})
}

func clip(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "..."
	}
	return s
}

// text is the logical line of a row.
func (c *Content) text(r row) string { return c.arena[r.start:r.end] }

// entry is the row with its key as written.
func (c *Content) entry(r row) (key string, result table.Result) {
	text := c.text(r)
	key, value, _, _ := c.split(text)
	at := origin.At{File: c.path, Line: int(r.line), Text: strings.TrimRight(text, blank)}
	return key, table.Result{Value: value, At: []origin.At{at}}
}

// Lookup returns the value under a key, which must be folded when the content
// is. The error is nil or table.ErrNotFound.
func (c *Content) Lookup(key string) (table.Result, error) {
	i, ok := c.index[key]
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	_, result := c.entry(c.rows[i])
	return result, nil
}

// Len is the number of rows.
func (c *Content) Len() int { return len(c.rows) }

// All yields the rows in the order of the file, without those that have the
// key of an earlier one. Keys are folded when the content is.
func (c *Content) All() iter.Seq[table.Entry] {
	return func(yield func(table.Entry) bool) {
		for _, r := range c.rows {
			key, result := c.entry(r)
			if c.fold {
				key = address.Fold(key)
			}
			if !yield(table.Entry{Key: key, Value: result.Value, At: result.At[0]}) {
				return
			}
		}
	}
}
