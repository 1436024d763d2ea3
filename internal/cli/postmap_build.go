package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"unicode/utf8"

	"postern/internal/table/index"
)

// errNoBulk is a type that is not built from a text, as Postfix says it.
type errNoBulk string

func (e errNoBulk) Error() string {
	return "unsupported dictionary type: " + string(e) + " does not support bulk-mode creation."
}

// errCdb is what Postfix says of -i and -d on a file that is only built as a
// whole.
const errCdb = "dict_%s_open: inappropriate open flags for %[1]s database - specify O_RDONLY or O_WRONLY|O_CREAT|O_TRUNC"

// build writes the index of each table: anew from its source text, or with -i
// by adding the rows on standard input.
func (t *mapTool) build(ctx context.Context) error {
	for _, spec := range t.tables {
		typ, name := t.split(spec)
		if err := t.buildable(ctx, typ, name); err != nil {
			return err
		}
		builder, bar, err := t.builder(typ, name)
		if err != nil {
			return err
		}
		err = t.asOwner(builder, func() error {
			if t.insert {
				return builder.Insert(ctx, interruptible(ctx, t.env.Stdin), "stdin")
			}
			return builder.Rebuild(ctx)
		})
		bar.end(err)
		if err != nil {
			return err
		}
		t.log.debugf("%s: wrote %s", builder.Name, builder.Path+builder.Format.Suffix)
	}
	return nil
}

// buildable says why a table of that type cannot be built, as Postfix does.
func (t *mapTool) buildable(ctx context.Context, typ, name string) error {
	format, ok := t.formats[typ]
	switch {
	case ok && t.insert && !format.Incremental:
		return fmt.Errorf(errCdb, typ)
	case ok:
		return nil
	case typ == "proxy" && !t.insert:
		return errors.New("can't create maps via the proxy service")
	case typ == "fail":
		return fmt.Errorf("table fail:%s: write error: Application error", name)
	case t.opener.Types[typ] == nil && typ != "proxy":
		_, err := t.table(ctx, typ+":"+name)
		return err
	}
	return errNoBulk(typ)
}

// builder makes the builder of a table, and the bar that shows how far it is.
func (t *mapTool) builder(typ, name string) (*index.Builder, *buildBar, error) {
	path := name
	if t.opener.RelativeNames {
		dir, err := filepath.Abs(t.dir)
		if err != nil {
			return nil, nil, err
		}
		path = t.place(dir, name)
	}
	b := &index.Builder{
		Format: t.formats[typ], Name: typ + ":" + name, Path: path,
		Fold: t.fold, UTF8: t.opener.UTF8, Alias: t.alias, Files: t.files, Null: t.null,
		Duplicates: t.duplicates, NoMode: t.noMode,
	}
	bar := newBuildBar(t.env.Stderr, b.Name, path)
	b.Progress = bar.progress
	log := t.log
	log.w = bar
	b.Log = log
	return b, bar, nil
}

// delete takes the key, or those on standard input, out of each table.
func (t *mapTool) delete(ctx context.Context) error {
	keys := []string{t.key}
	if t.key == "-" {
		var err error
		if keys, err = readKeys(interruptible(ctx, t.env.Stdin)); err != nil {
			return err
		}
	}
	found := false
	for _, spec := range t.tables {
		typ, name := t.split(spec)
		if err := t.deletable(ctx, typ, name); err != nil {
			return err
		}
		builder, bar, err := t.builder(typ, name)
		if err != nil {
			return err
		}
		n := 0
		err = t.asOwner(builder, func() (err error) {
			n, err = builder.Delete(ctx, t.sound(builder, keys))
			return err
		})
		bar.end(err)
		if err != nil {
			return err
		}
		found = found || n > 0
	}
	if !found {
		return errNoHit
	}
	return nil
}

// sound yields the keys without those that no table has.
func (t *mapTool) sound(b *index.Builder, keys []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, key := range keys {
			if b.UTF8 && !utf8.ValidString(key) {
				t.log.Warningf("%s: non-UTF-8 key %q: malformed UTF-8 or invalid codepoint", b.Name, key)
			} else if key != "" && !yield(key) {
				return
			}
		}
	}
}

// deletable says why nothing can be deleted from a table of that type, as
// Postfix does.
func (t *mapTool) deletable(ctx context.Context, typ, name string) error {
	format, ok := t.formats[typ]
	switch {
	case ok && !format.Incremental:
		return fmt.Errorf(errCdb, typ)
	case ok:
		return nil
	case typ == "fail":
		return fmt.Errorf("table fail:%s: delete error: Application error", name)
	case typ == "static" || typ == "environ":
		return fmt.Errorf("table %s:%s: delete operation is not supported", typ, name)
	case t.opener.Types[typ] == nil && typ != "proxy":
		_, err := t.table(ctx, typ+":"+name)
		return err
	}
	return fmt.Errorf("%s:%s map requires O_RDONLY access mode", typ, name)
}

// readKeys reads keys, one a line, up to a NUL byte each.
func readKeys(r io.Reader) ([]string, error) {
	in := bufio.NewReader(r)
	var keys []string
	for {
		line, err := in.ReadBytes('\n')
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if i := bytes.IndexByte(line, 0); i >= 0 {
			line = line[:i]
		}
		if len(line) > 0 {
			keys = append(keys, string(line))
		}
		if err == io.EOF {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
