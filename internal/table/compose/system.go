package compose

import (
	"context"
	"fmt"
	"iter"
	"os"
	"strings"

	"postern/internal/origin"
	"postern/internal/table"
)

// Environ is the constructor of environ:.
func Environ(_ context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	return &environ{head{name: "environ:" + name}, folder(o, use)}, nil
}

type environ struct {
	head
	fold func(key string) string
}

// Lookup returns the value of the environment variable. With Use.Fold only
// variables with lower-case names are found, as in Postfix.
func (t *environ) Lookup(_ context.Context, key string) (table.Result, error) {
	if err := t.ready(key); err != nil {
		return table.Result{}, err
	}
	key = t.fold(key)
	value, ok := os.LookupEnv(key)
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	at := origin.At{Table: t.name, Key: key, Row: map[string]string{key: value}}
	return table.Result{Value: value, At: []origin.At{at}}, nil
}

// Unix is the constructor of unix:passwd.byname and unix:group.byname.
func Unix(_ context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	switch name {
	case "passwd.byname":
		return openSystem(o, name, "/etc/passwd", 7, use)
	case "group.byname":
		return openSystem(o, name, "/etc/group", 4, use)
	}
	return nil, fmt.Errorf("unknown table: unix:%s", name)
}

// system is a table of the operating system: lines of fields separated by ':',
// the first of which is the key.
type system struct {
	head
	fold func(key string) string
	file *table.File[systemFile]
}

var (
	_ table.Table      = (*system)(nil)
	_ table.Enumerable = (*system)(nil)
)

type systemFile struct {
	entries []table.Entry
	index   map[string]int
}

// openSystem opens unix:name, whose lines have that many fields.
func openSystem(o *table.Opener, name, path string, fields int, use table.Use) (table.Table, error) {
	path = o.Replace.File(path)
	file, err := table.OpenFile(o, path, func(data []byte) (systemFile, error) {
		return parseSystem(path, string(data), fields), nil
	})
	if err != nil {
		return nil, err
	}
	return &system{head: head{name: "unix:" + name}, fold: folder(o, use), file: file}, nil
}

// parseSystem reads passwd(5) or group(5). Lines of another form, comments and
// references to other name services are left out; the first line of a name
// counts.
func parseSystem(path, text string, fields int) systemFile {
	f := systemFile{index: make(map[string]int)}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		key, _, _ := strings.Cut(line, ":")
		if key == "" || strings.IndexByte("#+-", key[0]) >= 0 || strings.Count(line, ":") != fields-1 {
			continue
		}
		if _, ok := f.index[key]; ok {
			continue
		}
		f.index[key] = len(f.entries)
		at := origin.At{File: path, Line: number, Text: line}
		f.entries = append(f.entries, table.Entry{Key: key, Value: line, Places: table.Place(at)})
	}
	return f
}

// Lookup returns the line of the user or group. With Use.Fold only names in
// lower case are found.
func (t *system) Lookup(_ context.Context, key string) (table.Result, error) {
	if err := t.ready(key); err != nil {
		return table.Result{}, err
	}
	key = t.fold(key)
	f := t.file.Content()
	i, ok := f.index[key]
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	return table.Result{Value: f.entries[i].Value, At: []origin.At{f.entries[i].At()}}, nil
}

// All yields the lines of the file.
func (t *system) All(context.Context) iter.Seq2[table.Entry, error] {
	return func(yield func(table.Entry, error) bool) {
		if err := t.ready(""); err != nil {
			yield(table.Entry{}, err)
			return
		}
		for _, entry := range t.file.Content().entries {
			if !yield(entry, nil) {
				return
			}
		}
	}
}
