package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"postern/internal/config"
	"postern/internal/server"
	"postern/internal/table"
)

// mapTool is a call of postmap or postalias.
type mapTool struct {
	name   string
	env    Env
	log    toolLog
	dir    string
	query  string
	doing  byte // 'q', 's', or 0 to build
	noFold bool
	alias  bool
	tables []string
	opener *table.Opener
	kind   string // default_database_type
}

// postmap asks and checks lookup tables: postmap(1). Tables of indexed types
// are read from their source text, so building one checks the text.
func postmap(ctx context.Context, env Env) int { return runMapTool(ctx, env, "postmap", false) }

// postalias is postmap for alias files: postalias(1).
func postalias(ctx context.Context, env Env) int { return runMapTool(ctx, env, "postalias", true) }

// newaliases is postalias on all of alias_database: newaliases(1). It takes the
// flags of sendmail, of which -C is the one that matters here.
func newaliases(ctx context.Context, env Env) int {
	t := &mapTool{name: "newaliases", env: env, log: toolLog{env.Stderr, "newaliases"}, alias: true}
	call, err := parseSendmail(env)
	if err != nil {
		return t.fatal(err)
	}
	t.dir = call.dir
	settings, err := t.open()
	if err != nil {
		return t.fatal(err)
	}
	defer t.opener.Close()
	t.tables = settings.List("alias_database")
	return t.build(ctx)
}

func runMapTool(ctx context.Context, env Env, name string, alias bool) int {
	t := &mapTool{name: name, env: env, log: toolLog{env.Stderr, name}, alias: alias, dir: defaultDir(env)}
	if err := t.parse(); err != nil {
		fmt.Fprintf(env.Stderr, "%s: fatal: %v\nusage: %s [-fNnoprsuUvw] [-c config_dir] [-q key] [map_type:]file...\n", name, err, name)
		return 1
	}
	settings, err := t.open()
	if err != nil {
		return t.fatal(err)
	}
	defer t.opener.Close()
	t.kind = settings.String("default_database_type")
	switch t.doing {
	case 'q':
		if t.query == "-" {
			return t.queryLines(ctx)
		}
		return t.queryOne(ctx)
	case 's':
		return t.dump(ctx)
	}
	return t.build(ctx)
}

func (t *mapTool) parse() error {
	opts, rest, err := getopt(t.env.Args[1:], "Nbc:d:fFhimnopq:rsuUvw", "")
	if err != nil {
		return err
	}
	for _, o := range opts {
		switch o.letter {
		case 'c':
			t.dir = o.value
		case 'f':
			t.noFold = true
		case 'q', 's', 'd':
			if t.doing != 0 {
				return errors.New("specify only one of -s or -q or -d")
			}
			t.doing, t.query = o.letter, o.value
		case 'b', 'h', 'm', 'F', 'i':
			return fmt.Errorf("option -%c needs tables with an index, which this version does not write", o.letter)
		}
	}
	if t.doing == 'd' {
		return errors.New("option -d needs tables with an index, which this version does not write: edit the source text")
	}
	if len(rest) == 0 {
		return errors.New("no table was named")
	}
	t.tables = rest
	return nil
}

func (t *mapTool) open() (*config.Settings, error) {
	abs, err := filepath.Abs(t.dir)
	if err != nil {
		return nil, err
	}
	settings, err := server.LoadSettings(abs)
	if err != nil {
		return nil, err
	}
	t.opener = server.NewOpener(settings, t.log)
	t.opener.StrictDuplicates = false
	return settings, nil
}

func (t *mapTool) fatal(err error) int {
	fmt.Fprintf(t.env.Stderr, "%s: fatal: %v\n", t.name, err)
	return 1
}

// table opens one of the named tables.
func (t *mapTool) table(ctx context.Context, spec string) (table.Table, error) {
	if !strings.Contains(spec, ":") {
		spec = t.kind + ":" + spec
	}
	return t.opener.Open(ctx, spec, table.Use{Fold: !t.noFold, AliasSyntax: t.alias})
}

// ask puts a key to the tables in turn.
func (t *mapTool) ask(ctx context.Context, tables []table.Table, key string) (string, bool, error) {
	if key == "" {
		return "", false, nil
	}
	for _, tb := range tables {
		r, err := tb.Lookup(ctx, key)
		switch {
		case err == nil:
			return r.Value, true, nil
		case !errors.Is(err, table.ErrNotFound):
			return "", false, fmt.Errorf("table %s: query error: %w", tb.Name(), err)
		}
	}
	return "", false, nil
}

func (t *mapTool) openAll(ctx context.Context) ([]table.Table, error) {
	var out []table.Table
	for _, spec := range t.tables {
		tb, err := t.table(ctx, spec)
		if err != nil {
			return nil, err
		}
		out = append(out, tb)
	}
	return out, nil
}

func (t *mapTool) queryOne(ctx context.Context) int {
	tables, err := t.openAll(ctx)
	if err != nil {
		return t.fatal(err)
	}
	value, found, err := t.ask(ctx, tables, t.query)
	switch {
	case err != nil:
		return t.fatal(err)
	case !found:
		return 1
	}
	fmt.Fprintln(t.env.Stdout, value)
	return 0
}

// queryLines asks for the keys on standard input and prints "key<TAB>value".
func (t *mapTool) queryLines(ctx context.Context) int {
	tables, err := t.openAll(ctx)
	if err != nil {
		return t.fatal(err)
	}
	out := bufio.NewWriterSize(t.env.Stdout, 64<<10)
	defer out.Flush()
	in := bufio.NewReaderSize(t.env.Stdin, 64<<10)
	st := 1
	for {
		line, err := in.ReadString('\n')
		key := strings.TrimSuffix(line, "\n")
		if value, found, lerr := t.ask(ctx, tables, key); lerr != nil {
			out.Flush()
			return t.fatal(lerr)
		} else if found {
			st = 0
			fmt.Fprintf(out, "%s\t%s\n", key, value)
		}
		if err == io.EOF {
			return st
		}
		if err != nil {
			return t.fatal(err)
		}
	}
}

// dump prints all rows of the first table.
func (t *mapTool) dump(ctx context.Context) int {
	tb, err := t.table(ctx, t.tables[0])
	if err != nil {
		return t.fatal(err)
	}
	all, ok := tb.(table.Enumerable)
	if !ok {
		return t.fatal(fmt.Errorf("table %s: sequence operation is not supported", tb.Name()))
	}
	out := bufio.NewWriterSize(t.env.Stdout, 64<<10)
	defer out.Flush()
	for e, err := range all.All(ctx) {
		if err != nil {
			return t.fatal(err)
		}
		fmt.Fprintf(out, "%s\t%s\n", e.Key, e.Value)
	}
	return 0
}

// build reads the source text of each table, with its warnings. The text is
// what answers, so there is nothing to write.
func (t *mapTool) build(ctx context.Context) int {
	for _, spec := range t.tables {
		tb, err := t.table(ctx, spec)
		if err != nil {
			return t.fatal(err)
		}
		if _, ok := tb.(table.Enumerable); !ok {
			return t.fatal(fmt.Errorf("unsupported dictionary type: %s does not support bulk-mode creation", strings.SplitN(tb.Name(), ":", 2)[0]))
		}
	}
	return 0
}
