package text

import (
	"fmt"
	"hash/maphash"
	"iter"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/table"
)

// Options say how a file is read.
type Options struct {
	Alias bool // "name: value" (aliases(5))
	Loose bool // with Alias: "name value" too, as Postfix reads a texthash: of aliases
	Fold  bool // fold keys
	UTF8  bool // leave out lines that are not UTF-8, and fold more than ASCII letters (smtputf8_enable)
	Last  bool // of several rows for one key the last counts, without a warning
}

// Content is a file that was read. It does not change.
type Content struct {
	Problems []Problem // in the order of the file

	path  string
	alias bool
	loose bool
	fold  bool
	utf8  bool
	arena string // all logical lines, one after the other
	rows  []row
	keys  keys
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
	Unusable              // a rule of patterns or networks that is wrong (package pattern)
)

// Problem is something that an administrator should know about a line.
type Problem struct {
	Kind Kind
	At   origin.At // Text is cut after 200 bytes
	Key  string    // of a Duplicate: as it is looked up
	Text string
}

// Ignoring is how the Text of a problem ends that leaves the line out.
const Ignoring = " -- ignoring this line"

// Error gives the problem as Postfix does: `FILE, line 3: duplicate entry: "key"`.
func (p *Problem) Error() string {
	return fmt.Sprintf("%s, line %d: %s", p.At.File, p.At.Line, p.Text)
}

// maxText bounds the text of a line that is shown in a problem.
const maxText = 200

// Parse reads the content of a file, whose bytes it takes over and overwrites.
// path is the name for places and problems. The only error is that the file is
// larger than 4 GiB.
func Parse(path string, data []byte, o Options) (*Content, error) {
	if uint64(len(data)) > math.MaxUint32 {
		return nil, fmt.Errorf("%s: larger than 4 GiB", path)
	}
	c := &Content{path: path, alias: o.Alias, loose: o.Loose, fold: o.Fold, utf8: o.UTF8, keys: keys{seed: maphash.MakeSeed()}}
	suspicious := o.UTF8 && !utf8.Valid(data)
	c.scan(data)
	c.buildIndex(o, suspicious)
	return c, nil
}

// buildIndex finds the keys of the rows and drops rows without one.
// suspicious says that some line is not UTF-8.
func (c *Content) buildIndex(o Options, suspicious bool) {
	rows, hashes := c.hashRows(suspicious)
	c.keys = newKeys(c.keys.seed, len(rows))
	c.rows = rows[:0]
	for i, r := range rows {
		var key string // cut out of the text when it is needed
		old, place, found := c.keys.find(hashes[i], func(other uint32) bool {
			if key == "" {
				key = c.key(r)
			}
			return c.key(c.rows[other]) == key
		})
		switch {
		case !found:
			place.put(hashes[i], uint32(len(c.rows)))
			c.rows = append(c.rows, r)
		case o.Last:
			c.rows[old] = r
		default:
			written, _, _, _ := c.split(c.text(r))
			c.problem(Duplicate, r, fmt.Sprintf("duplicate entry: %q", clip(written)))
			c.Problems[len(c.Problems)-1].Key = key
		}
	}
	slices.SortStableFunc(c.Problems, func(a, b Problem) int { return a.At.Line - b.At.Line })
}

// part is what one goroutine made of its share of the rows.
type part struct {
	rows     []row
	hashes   []uint64 // of their keys
	problems Content  // only its Problems
}

// hashRows drops the rows without a key and value and returns the others, with
// the hashes of their keys. Every processor does a share.
func (c *Content) hashRows(suspicious bool) ([]row, []uint64) {
	const few = 10000
	parts := make([]part, max(1, min(runtime.GOMAXPROCS(0), len(c.rows)/few)))
	var wait sync.WaitGroup
	for i := range parts {
		share := c.rows[i*len(c.rows)/len(parts) : (i+1)*len(c.rows)/len(parts)]
		wait.Go(func() { parts[i] = c.hashShare(share, suspicious) })
	}
	wait.Wait()
	rows, hashes := parts[0].rows, parts[0].hashes
	for _, p := range parts[1:] {
		rows = append(rows, p.rows...)
		hashes = append(hashes, p.hashes...)
	}
	for _, p := range parts {
		c.Problems = append(c.Problems, p.problems.Problems...)
	}
	return rows, hashes
}

func (c *Content) hashShare(rows []row, suspicious bool) part {
	p := part{rows: rows[:0], hashes: make([]uint64, 0, len(rows))}
	p.problems = Content{path: c.path, arena: c.arena}
	for _, r := range rows {
		text := c.text(r)
		if suspicious && !utf8.ValidString(text) {
			p.problems.problem(NotUTF8, r, fmt.Sprintf("non-UTF-8 input %q -- ignoring this line", clip(text)))
			continue
		}
		key, value, kind, complaint := c.split(text)
		if complaint != "" {
			p.problems.problem(kind, r, complaint)
		}
		if value == "" {
			continue
		}
		if c.fold {
			key = c.foldKey(key)
		}
		p.rows = append(p.rows, r)
		p.hashes = append(p.hashes, maphash.String(c.keys.seed, key))
	}
	return p
}

// foldKey folds a key as Options say.
func (c *Content) foldKey(key string) string {
	if c.utf8 {
		return address.Fold(key)
	}
	return address.FoldASCII(key)
}

// key is the key of a row, as it is looked up.
func (c *Content) key(r row) string {
	key, _, _, _ := c.split(c.text(r))
	if c.fold {
		key = c.foldKey(key)
	}
	return key
}

// split cuts a logical line. A line that is left out has no value; complaint is
// what there is to say.
func (c *Content) split(text string) (key, value string, kind Kind, complaint string) {
	if c.alias && !c.loose {
		return splitAlias(text)
	}
	if c.alias && colonFirst(text) {
		return splitAlias(text)
	}
	key, value, kind, complaint = splitRow(text)
	if c.alias && (kind == AliasFile || kind == NoValue || strings.HasPrefix(value, ":") && !isInclude(value)) {
		return splitAlias(text)
	}
	return key, value, kind, complaint
}

// colonFirst reports whether the first word has a colon that is not quoted: the name
// of an alias ends there, whatever comes before the next blank.
func colonFirst(text string) bool {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ':':
			return true
		case strings.IndexByte(blank, c) >= 0:
			return false
		}
	}
	return false
}

// isInclude tells the first member of a list of aliases from the colon that an alias
// file has behind a name.
func isInclude(value string) bool {
	const word = ":include:"
	return len(value) >= len(word) && strings.EqualFold(value[:len(word)], word)
}

func (c *Content) problem(kind Kind, r row, text string) {
	c.Problems = append(c.Problems, Problem{Kind: kind, At: origin.At{File: c.path, Line: int(r.line), Text: clip(c.text(r))}, Text: text})
}

func clip(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "..."
	}
	return s
}

// text is the logical line of a row.
func (c *Content) text(r row) string { return c.arena[r.start:r.end] }

// place is the logical line of a row.
func (c *Content) place(r row) origin.At {
	return origin.At{File: c.path, Line: int(r.line), Text: strings.TrimRight(c.text(r), blank)}
}

// At is where the row of a number stands, as table.Places.
func (c *Content) At(number int) origin.At { return c.place(c.rows[number]) }

// Lookup returns the value under a key, which must be folded when the content
// is. The error is nil or table.ErrNotFound.
func (c *Content) Lookup(key string) (table.Result, error) {
	e, err := c.Row(key)
	if err != nil {
		return table.Result{}, err
	}
	return table.Result{Value: e.Value, At: []origin.At{e.At()}}, nil
}

// Row is Lookup without the place, which the entry tells.
func (c *Content) Row(key string) (table.Entry, error) {
	i, _, ok := c.keys.find(maphash.String(c.keys.seed, key), func(row uint32) bool { return c.key(c.rows[row]) == key })
	if !ok {
		return table.Entry{}, table.ErrNotFound
	}
	_, value, _, _ := c.split(c.text(c.rows[i]))
	return table.Entry{Key: key, Value: value, Places: c, Number: int(i)}, nil
}

// Len is the number of rows.
func (c *Content) Len() int { return len(c.rows) }

// All yields the rows in the order of the file, without those that have the
// key of an earlier one. Keys are folded when the content is.
func (c *Content) All() iter.Seq[table.Entry] {
	return func(yield func(table.Entry) bool) {
		number := 0
		for key, value := range c.Pairs() {
			if !yield(table.Entry{Key: key, Value: value, Places: c, Number: number}) {
				return
			}
			number++
		}
	}
}

// Pairs yields the key and the value of each row, in the order of All.
func (c *Content) Pairs() iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		for _, r := range c.rows {
			key, value, _, _ := c.split(c.text(r))
			if c.fold {
				key = c.foldKey(key)
			}
			if !yield(key, value) {
				return
			}
		}
	}
}
