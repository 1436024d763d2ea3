package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"

	"postern/internal/table"
)

// mapTables are the tables of the command line, each of which is opened when a
// key first comes to it: nobody misses the second one while the first one
// knows all keys. It is safe for concurrent use.
type mapTables struct {
	tool *mapTool
	all  []lazyTable
}

type lazyTable struct {
	spec string
	once sync.Once
	table.Table
	err error
}

func (t *mapTool) lazy() *mapTables {
	tables := &mapTables{tool: t, all: make([]lazyTable, len(t.tables))}
	for i, spec := range t.tables {
		tables.all[i].spec = spec
	}
	return tables
}

// table opens a table of the command line. The error is for the user.
func (t *mapTool) table(ctx context.Context, spec string) (table.Table, error) {
	typ, name := t.split(spec)
	t.log.debugf("open %s:%s", typ, name)
	opened, err := t.opener.Open(ctx, typ+":"+name, t.use())
	var e *table.Error
	if errors.As(err, &e) && e.Key == "" {
		err = e.Err
	}
	return opened, err
}

// mapAnswer is what the tables say to a key.
type mapAnswer struct {
	value string
	found bool
	err   error
}

// ask puts keys to the tables in turn. Behind the first key that has an error,
// answers are not set.
func (m *mapTables) ask(ctx context.Context, keys []string, answers []mapAnswer) {
	open := make([]int, len(keys)) // the keys without an answer
	for i := range open {
		open[i] = i
		answers[i] = mapAnswer{}
	}
	for i := range m.all {
		if len(open) == 0 {
			return
		}
		l := &m.all[i]
		if l.once.Do(func() { l.Table, l.err = m.tool.table(ctx, l.spec) }); l.err != nil {
			answers[open[0]].err = l.err
			return
		}
		open = m.askTable(ctx, l, keys, open, answers)
	}
}

// askTable asks one table for those keys that have no answer, up to the first
// error, and returns those that still have none. An index is asked for all at
// once. Others may wait for a server that is not there.
func (m *mapTables) askTable(ctx context.Context, l *lazyTable, keys []string, open []int, answers []mapAnswer) []int {
	step := 1
	if m.tool.indexed(l) {
		step = len(open)
	}
	asked, got := make([]string, step), make([]table.Answer, step)
	left := open[:0]
	for len(open) > 0 {
		some := open[:min(step, len(open))]
		open = open[len(some):]
		for i, k := range some {
			asked[i] = keys[k]
		}
		table.LookupMany(ctx, l.Table, asked[:len(some)], got[:len(some)])
		for i, k := range some {
			if got[i].Err != nil && errors.Is(got[i].Err, table.ErrNotFound) {
				left = append(left, k)
			} else if answers[k] = m.answer(l, keys[k], got[i]); answers[k].err != nil {
				return left
			}
		}
	}
	return left
}

// answer is what is shown of an answer of a table.
func (m *mapTables) answer(l *lazyTable, key string, a table.Answer) mapAnswer {
	if a.Err != nil {
		return mapAnswer{err: queryError("query", l, a.Err)}
	}
	line := 0
	if len(a.At) > 0 {
		line = a.At[0].Line
	}
	value, err := m.tool.value(l, key, a.Value, line)
	return mapAnswer{value, err == nil, err}
}

// indexed reports whether the table is one that has an index file.
func (t *mapTool) indexed(of table.Table) bool {
	typ, _ := t.split(of.Name())
	_, ok := t.formats[typ]
	return ok
}

// ask1 puts one key to the tables.
func (m *mapTables) ask1(ctx context.Context, key string) (value string, found bool, err error) {
	var answer [1]mapAnswer
	m.ask(ctx, []string{key}, answer[:])
	return answer[0].value, answer[0].found, answer[0].err
}

// queryError words the trouble of a table.
func queryError(doing string, t table.Table, err error) error {
	var e *table.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return fmt.Errorf("table %s: %s error: %w", t.Name(), doing, err)
}

// queryOne asks for the key of the command line.
func (t *mapTool) queryOne(ctx context.Context) error {
	value, found, err := t.lazy().ask1(ctx, t.key)
	if err == nil && !found {
		err = errNoHit
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.env.Stdout, value)
	return err
}

// queryInput asks for the keys on standard input, or for those of the message
// there. Those that are found are printed with their values.
func (t *mapTool) queryInput(ctx context.Context) error {
	if t.headers || t.body {
		return t.queryMessage(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	todo, order := make(chan *block), make(chan *block, 2*workers)
	tables := t.lazy()
	for range workers {
		go func() {
			for b := range todo {
				b.answer(ctx, tables)
			}
		}()
	}
	// Whoever reads a terminal cannot be stopped: it ends with the program.
	go readBlocks(ctx, t.env.Stdin, todo, order)
	return t.writeBlocks(ctx, order)
}

// block is a run of whole lines on their way to the answers. Blocks are
// answered concurrently and written in their order.
type block struct {
	lines string // with their ends
	out   []byte // what is to be printed
	found bool
	err   error
	done  chan struct{} // closed when the block was answered
}

// blockSize is how much is read at a time. What a terminal or a slow pipe gives
// is less, and is a block at once: answers never wait for further keys.
const blockSize = 128 << 10

// readBlocks cuts the input into blocks.
func readBlocks(ctx context.Context, in io.Reader, todo, order chan<- *block) {
	defer close(order)
	defer close(todo)
	send := func(lines []byte, err error) bool {
		b := &block{lines: string(lines), err: err, done: make(chan struct{})}
		select {
		case order <- b:
		case <-ctx.Done():
			return false
		}
		select {
		case todo <- b:
			return true
		case <-ctx.Done():
			return false
		}
	}
	buf, have := make([]byte, blockSize), 0
	for {
		n, err := in.Read(buf[have:])
		whole := bytes.LastIndexByte(buf[have:have+n], '\n') + 1
		if whole > 0 {
			whole += have
		}
		have += n
		if err != nil {
			whole = have // the last line may have no end
			if err == io.EOF {
				err = nil
			}
			if have > 0 || err != nil {
				send(buf[:whole], err)
			}
			return
		}
		if whole > 0 && !send(buf[:whole], nil) {
			return
		}
		have = copy(buf, buf[whole:have])
		if have == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// keysAtOnce is how many keys a table is asked for at once.
const keysAtOnce = 512

// answer asks for all keys of the block, up to the first trouble. A key ends at
// a NUL byte, behind which C sees nothing.
func (b *block) answer(ctx context.Context, tables *mapTables) {
	defer close(b.done)
	var answers [keysAtOnce]mapAnswer
	keys := make([]string, 0, keysAtOnce)
	b.out = make([]byte, 0, 2*len(b.lines))
	for rest := b.lines; rest != ""; keys = keys[:0] {
		for rest != "" && len(keys) < keysAtOnce {
			var key string
			key, rest, _ = strings.Cut(rest, "\n")
			if i := strings.IndexByte(key, 0); i >= 0 {
				key = key[:i]
			}
			keys = append(keys, key)
		}
		tables.ask(ctx, keys, answers[:len(keys)])
		for i, a := range answers[:len(keys)] {
			if a.err != nil {
				b.err = a.err
				return
			}
			if a.found {
				b.print(keys[i], tables.tool.separator(), a.value)
			}
		}
	}
}

func (b *block) print(key, separator, value string) {
	b.found = true
	b.out = append(b.out, key...)
	b.out = append(b.out, separator...)
	b.out = append(b.out, value...)
	b.out = append(b.out, '\n')
}

// separator stands between key and value: postalias shows rows as they are
// written.
func (t *mapTool) separator() string {
	if t.alias {
		return ":\t"
	}
	return "\t"
}

func (t *mapTool) writeBlocks(ctx context.Context, order <-chan *block) error {
	result := errNoHit
	for {
		var b *block
		select {
		case b = <-order:
		case <-ctx.Done():
			return context.Canceled
		}
		if b == nil {
			return result
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			return context.Canceled
		}
		if _, err := t.env.Stdout.Write(b.out); err != nil {
			return err
		}
		if b.err != nil {
			return b.err
		}
		if b.found {
			result = nil
		}
	}
}

// dump prints all rows of the first table.
func (t *mapTool) dump(ctx context.Context) error {
	switch typ, name := t.split(t.tables[0]); typ {
	case "proxy":
		return errors.New("can't sequence maps via the proxy service")
	case "fail":
		return fmt.Errorf("table fail:%s: sequence error: Application error", name)
	}
	opened, err := t.table(ctx, t.tables[0])
	if err != nil {
		return err
	}
	rows, ok := opened.(table.Enumerable)
	if !ok {
		return fmt.Errorf("table %s: sequence operation is not supported", opened.Name())
	}
	out := bufio.NewWriterSize(t.env.Stdout, blockSize)
	defer out.Flush()
	for e, err := range rows.All(ctx) {
		if errors.Is(err, table.ErrNotListed) {
			return fmt.Errorf("table %s: sequence operation is not supported", opened.Name())
		}
		if err != nil {
			return queryError("sequence", opened, err)
		}
		value, err := t.value(opened, e.Key, e.Value, e.At().Line)
		if errors.Is(err, errBase64) {
			t.log.Warningf("%v", err)
			continue
		}
		if err != nil {
			return err
		}
		out.WriteString(e.Key)
		out.WriteString(t.separator())
		out.WriteString(value)
		out.WriteByte('\n')
	}
	return out.Flush()
}

// interruptible reads what in gives until the context ends. The read that waits
// for a terminal then goes on by itself and ends with the program.
func interruptible(ctx context.Context, in io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		w.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { w.CloseWithError(context.Canceled) })
	return r
}
