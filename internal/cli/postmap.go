package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"postern/internal/config"
	"postern/internal/server"
	"postern/internal/setup"
	"postern/internal/table"
	"postern/internal/table/builtin"
	"postern/internal/table/index"
)

// mapTool is a run of postmap, postalias or newaliases.
type mapTool struct {
	mapCall
	name     string // of the program
	alias    bool   // texts have the syntax of aliases(5)
	env      Env
	log      mapLog
	settings *config.Settings
	opener   *table.Opener
	formats  map[string]index.Format // the types that can be built
}

// postmap builds, changes and asks lookup tables: postmap(1).
func postmap(ctx context.Context, env Env) int { return runMapTool(ctx, env, "postmap", false) }

// postalias is postmap for alias files: postalias(1).
func postalias(ctx context.Context, env Env) int { return runMapTool(ctx, env, "postalias", true) }

// newaliases is postalias on all of alias_database: newaliases(1). It takes the
// flags of sendmail, of which -C is the one that matters here.
func newaliases(ctx context.Context, env Env) int {
	t := newMapTool(env, "newaliases", true)
	call, err := parseSendmail(env)
	if err != nil {
		return t.end(err)
	}
	t.mapCall = mapCall{dir: call.dir, fold: true}
	if err := t.open(); err != nil {
		return t.end(err)
	}
	defer t.opener.Close()
	t.tables = t.settings.List("alias_database")
	return t.end(t.build(ctx))
}

func newMapTool(env Env, name string, alias bool) *mapTool {
	return &mapTool{name: name, alias: alias, env: env, log: mapLog{w: env.Stderr, name: name}, formats: builtin.Formats()}
}

func runMapTool(ctx context.Context, env Env, name string, alias bool) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal went away
	defer stop()
	t := newMapTool(env, name, alias)
	if err := t.parse(); err != nil {
		return t.end(err)
	}
	t.log.verbose = t.verbose
	if t.listTypes {
		types := slices.AppendSeq([]string{"proxy"}, maps.Keys(builtin.Types()))
		slices.Sort(types)
		for _, typ := range types {
			fmt.Fprintln(env.Stdout, typ)
		}
		return 0
	}
	if err := t.open(); err != nil {
		return t.end(err)
	}
	defer t.opener.Close()
	switch {
	case t.doing == 'q' && t.key == "-":
		return t.end(t.queryInput(ctx))
	case t.doing == 'q':
		return t.end(t.queryOne(ctx))
	case t.doing == 's':
		return t.end(t.dump(ctx))
	case t.doing == 'd':
		return t.end(t.delete(ctx))
	}
	return t.end(t.build(ctx))
}

// errNoHit is the result of a question or a deletion that found nothing.
var errNoHit = errors.New("not found")

// end says what went wrong and returns the exit status: 0 done, 1 nothing found
// or failed, 130 interrupted.
func (t *mapTool) end(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNoHit):
		return 1
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(t.env.Stderr, "%s: interrupted\n", t.name)
		return 130
	}
	fmt.Fprintf(t.env.Stderr, "%s: fatal: %v\n", t.name, err)
	return 1
}

// open reads main.cf and makes the opener of tables.
func (t *mapTool) open() error {
	abs, err := filepath.Abs(t.dir)
	if err != nil {
		return err
	}
	if t.settings, err = server.LoadSettings(abs); err != nil {
		var file *fs.PathError
		if errors.As(err, &file) {
			return table.OpenError(file.Path, err)
		}
		return err
	}
	t.log.debugf("configuration directory %s", abs)
	t.opener = setup.NewOpener(t.settings, t.log)
	t.opener.StrictDuplicates = false
	// A message has no coding of its own to check: -U asks for the check.
	t.opener.UTF8 = t.opener.UTF8 && !t.noUTF8 && (t.forceUTF8 || !t.headers && !t.body)
	if t.opener.RelativeNames {
		for _, typ := range fileTypes {
			if construct := t.opener.Types[typ]; construct != nil {
				t.opener.Types[typ] = func(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
					return construct(ctx, o, t.absolute(abs, name), use)
				}
			}
		}
	}
	return nil
}

// fileTypes are the types whose name is that of a file.
var fileTypes = []string{
	"btree", "cdb", "cidr", "dbm", "hash", "ldap", "lmdb", "memcache", "mysql", "pcre",
	"pgsql", "regexp", "sdbm", "sqlite", "texthash",
}

// place is the file that a relative name means with table_relative_names: the
// one in the working directory, as with Postfix, or else the one in the
// configuration directory dir, where the server looks for it.
func (t *mapTool) place(dir, name string) string {
	if name == "" || filepath.IsAbs(name) || t.exists(name) || !t.exists(filepath.Join(dir, name)) {
		return name
	}
	return filepath.Join(dir, name)
}

// absolute is place for the opener, which takes relative names from the
// configuration directory. Rows in braces are no name.
func (t *mapTool) absolute(dir, name string) string {
	if strings.HasPrefix(name, "{") {
		return name
	}
	if abs, err := filepath.Abs(t.place(dir, name)); err == nil {
		return abs
	}
	return name
}

// exists reports whether there is a file of that name, or an index of it.
func (t *mapTool) exists(name string) bool {
	if _, err := os.Lstat(name); err == nil {
		return true
	}
	for _, f := range t.formats {
		if _, err := os.Lstat(name + f.Suffix); err == nil {
			return true
		}
	}
	return false
}

// mapLog shows warnings and what the tables have to say, under the name of the
// program. Progress is only for -v.
type mapLog struct {
	w       io.Writer
	name    string
	verbose bool
}

// Infof says something that is no trouble.
func (l mapLog) Infof(format string, args ...any) {
	fmt.Fprintf(l.w, l.name+": "+format+"\n", args...)
}

// Warningf says what needs attention.
func (l mapLog) Warningf(format string, args ...any) { l.Infof("warning: "+format, args...) }

func (l mapLog) debugf(format string, args ...any) {
	if l.verbose {
		l.Infof(format, args...)
	}
}
