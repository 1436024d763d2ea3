package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"postern/internal/address"
	"postern/internal/nearest"
	"postern/internal/origin"
	"postern/internal/syntax"
)

// Constructor opens a table of one type. name is what follows "type:". A table
// that comes back together with an error is one of which a part works (a
// unionmap with a broken member): it is used, and the error is reported.
type Constructor func(ctx context.Context, o *Opener, name string, use Use) (Table, error)

// Logger takes what an administrator should read.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Opener opens tables by their name in the configuration, "type:name", and
// owns them: a table that several parameters name is opened once, and Close
// closes all. Callers do not close what an Opener gave them.
//
// The fields are set before the first call and not changed after it. The
// methods may be called concurrently. The zero Opener knows no type.
type Opener struct {
	Dir   string                 // configuration directory
	Types map[string]Constructor // by the word before the colon
	// Param looks up a main.cf parameter, for the .cf files that are written as
	// parameters of a common prefix. nil: there are none.
	Param func(name string) (value string, at origin.At, ok bool)

	// Replace are files that are opened in the place of named ones, to see what a
	// change would do. nil: every file is itself.
	Replace *Drafts

	// Helper opens files that this process may not read, or not even see. nil:
	// there is nobody to ask.
	Helper func(name string) (*os.File, error)

	// Approved says whether proxy_read_maps lists "proxy:type:name". nil: every
	// table is approved.
	Approved func(spec string) bool

	// Aliases are the tables, as "type:name", that alias_maps and alias_database
	// name: their text has the syntax of aliases(5) wherever else they are named
	// (local_recipient_maps).
	Aliases map[string]bool

	Autocompile       bool // table_autocompile: a source newer than its index answers; types without index files ignore it
	Locate            bool // results of an index say the line of its source text, which costs the memory of a texthash (explain)
	RelativeNames     bool // table_relative_names: a relative file name is looked up in Dir
	SingleValueStrict bool // table_single_value = strict: see Use.SingleValue
	StrictDuplicates  bool // a texthash file with a duplicate key is a failing table, as in a Postfix daemon
	UTF8              bool // smtputf8_enable: keys that are not UTF-8 are not found, such values are errors

	CacheTTL  time.Duration // table_cache_ttl: how long answers of a database server are kept, 0: not at all
	CacheSize int           // table_cache_size: how many of one table; used with CacheTTL

	Troubles Troubles // what lasts, of all tables; for Tell and Over

	Log  Logger             // nil: nothing is said
	Now  func() time.Time   // nil: time.Now
	Int  func(n int) int    // a random number in [0,n); nil: math/rand
	mu   sync.Mutex         // guards what follows
	set  map[shareKey]Table // open tables that may be shared
	all  []Table            // every open table, in order of opening
	end  bool               // Close was called
	said Troubles           // what Warn and Info have logged
	bad  map[string]bool    // tables that proxymap(8) would refuse; the log knows
}

// shareKey is what makes two requests ask for the same table. The zero shareKey
// is that of a table that is not shared.
type shareKey struct {
	spec                                                     string
	fold, noSubstitution, noRemote, singleValue, aliasSyntax bool
}

var errForm = errors.New(`open dictionary: expecting "type:name" form`)

// UnsupportedType is the error of a table whose type nobody knows.
type UnsupportedType struct {
	Type string
	Near string // the known type that may have been meant; "": none is near
}

func (e *UnsupportedType) Error() string {
	text := "unsupported dictionary type: " + e.Type
	if e.Near != "" {
		text += fmt.Sprintf(", did you mean %q?", e.Near)
	}
	return text
}

// unsupported is the error of a type that is not in Types.
func (o *Opener) unsupported(typ string) error {
	lower := strings.ToLower(typ)
	if _, ok := o.Types[lower]; ok {
		return &UnsupportedType{typ, lower}
	}
	return &UnsupportedType{typ, nearest.Word(lower, maps.Keys(o.Types), max(1, len(typ)/3))}
}

// Open opens the table spec, "type:name". The prefix "proxy:" is dropped:
// tables are opened directly, not by proxymap(8). One that proxymap would refuse
// (Approved) is named in a warning.
//
// On error the returned table is not nil: every lookup in it fails, so that a
// server can go on and say 451 for what depends on it, as Postfix does with
// daemon_table_open_error_is_fatal = no. Such a table tries again to open what
// it stands for, at most once a second, when it is asked. A tool looks at the
// error instead, which is or wraps an *Error.
func (o *Opener) Open(ctx context.Context, spec string, use Use) (Table, error) {
	asked := spec
	spec = Direct(spec)
	typ, name, ok := strings.Cut(spec, ":")
	if !ok || typ == "" || name == "" && typ != nameless {
		return newFailed(spec, use, fmt.Errorf("%w instead of %q", errForm, spec))
	}
	construct := o.Types[typ]
	if construct == nil {
		return newFailed(spec, use, o.unsupported(typ))
	}
	o.checkProxy(asked, use)
	use.AliasSyntax = use.AliasSyntax || o.Aliases[spec]
	key := shareKey{spec, use.Fold, use.NoSubstitution, use.NoRemote, use.SingleValue, use.AliasSyntax}
	if t := o.shared(key); t != nil {
		return t, nil
	}
	t, err := o.construct(ctx, construct, spec, name, use)
	if t == nil {
		return o.retrying(construct, spec, name, use, err)
	}
	// A name in braces, and a type that says so, is text of the parameter
	// itself: its rows have the place of this use.
	if err != nil || t.Traits().InPlace || strings.HasPrefix(name, "{") {
		key = shareKey{}
	}
	return o.keep(key, t), err
}

// nameless is the type whose tables need no name: there is one world of MTA-STS
// policies.
const nameless = "mta-sts"

// Direct is the table that spec means without the prefix "proxy:".
func Direct(spec string) string {
	for {
		rest, proxy := strings.CutPrefix(spec, proxyPrefix)
		if !proxy {
			return spec
		}
		spec = rest
	}
}

const proxyPrefix = "proxy:"

// checkProxy warns, once for each table, of one that Postfix would not answer
// because proxymap(8) may not open it. Where remote types are refused
// (Use.NoRemote), Postfix ignores the prefix.
func (o *Opener) checkProxy(spec string, use Use) {
	name := Direct(spec)
	if name == spec || use.NoRemote || o.Approved == nil || o.Approved(proxyPrefix+name) {
		return
	}
	o.mu.Lock()
	known := o.bad[name]
	if o.bad == nil {
		o.bad = make(map[string]bool)
	}
	o.bad[name] = true
	o.mu.Unlock()
	if known {
		return
	}
	place := ""
	if !use.At.IsZero() {
		place = use.At.String() + ": "
	}
	o.Warn("%srequest for unapproved table: %q, which Postfix would refuse; to approve this table for read-only access, "+
		"list %[3]s%[2]s in main.cf:proxy_read_maps", place, name, proxyPrefix)
}

// construct opens a table and puts the checks in front of it that all types
// have in common. The error holds an *Error, unless it is nil.
func (o *Opener) construct(ctx context.Context, construct Constructor, spec, name string, use Use) (Table, error) {
	t, err := construct(ctx, o, name, use)
	if t == nil {
		return nil, openError(spec, use, err)
	}
	if o.UTF8 {
		t = checkUTF8(t, o)
	}
	return t, err
}

// shared returns the open table of that key, or nil.
func (o *Opener) shared(key shareKey) Table {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.set[key]
}

// keep takes a table into the care of the opener. When another goroutine opened
// the same one meanwhile, that one is returned and t is closed.
func (o *Opener) keep(key shareKey, t Table) Table {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end {
		t.Close()
		return t
	}
	if other := o.set[key]; other != nil {
		t.Close()
		return other
	}
	if key != (shareKey{}) {
		if o.set == nil {
			o.set = make(map[shareKey]Table)
		}
		o.set[key] = t
	}
	o.all = append(o.all, t)
	return t
}

// Close closes every table that was opened. Lookups after it fail.
func (o *Opener) Close() error {
	o.mu.Lock()
	all := o.all
	o.all, o.set, o.end = nil, nil, true
	o.mu.Unlock()
	var errs []error
	for _, t := range all {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}

// Maps opens the tables of a parameter such as virtual_alias_maps: items
// separated by commas and white space, braces protect. An empty value makes an
// empty Maps. Items that cannot be opened fail when they are asked, as with
// Open; err joins the reasons.
func (o *Opener) Maps(ctx context.Context, value string, use Use) (*Maps, error) {
	m := &Maps{Parameter: use.Parameter}
	var errs []error
	for _, spec := range syntax.Split(value, syntax.Separators) {
		t, err := o.Open(ctx, spec, use)
		m.Tables = append(m.Tables, t)
		errs = append(errs, err)
	}
	return m, errors.Join(errs...)
}

// Fold maps a key to the form in which fixed-key tables hold it: folded as
// Unicode with UTF8, else only its ASCII letters.
func (o *Opener) Fold(key string) string {
	if o.UTF8 {
		return address.Fold(key)
	}
	return address.FoldASCII(key)
}

// Path is the file that a table name means: a relative name is taken from Dir
// with table_relative_names, else from the working directory; and another file
// may stand in its place (Replace).
func (o *Opener) Path(name string) string {
	if o.RelativeNames && !filepath.IsAbs(name) {
		name = filepath.Join(o.Dir, name)
	}
	return o.Replace.File(name)
}

// Warn logs a warning, if anybody listens: the same one at most once a minute,
// for a table that cannot be opened is tried again, and may be opened for
// several uses.
func (o *Opener) Warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	o.said.Tell(o, text, "%s", text)
}

// Info logs what is good to know, once for all uses of a table.
func (o *Opener) Info(format string, args ...any) {
	if o.Log == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	o.said.note(o, text)
}

// Clock is the present time.
func (o *Opener) Clock() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Random is a number from 0 to n-1. n must be positive.
func (o *Opener) Random(n int) int {
	if o.Int != nil {
		return o.Int(n)
	}
	return rand.IntN(n)
}
