// Package routetest makes routers for tests: of package route itself, and of
// those that ask a router.
//
// A world is written as main.cf, followed by the other files of the
// configuration directory, each under a line "-- name --":
//
//	virtual_mailbox_domains = example.test
//	virtual_mailbox_maps = texthash:{dir}/users
//	-- users --
//	john@example.test  john/
//
// {dir} stands for the directory. The host is mx.example.test with the address
// 192.0.2.10, local domains are localhost and local.example.test, the system
// users are those of Users, and there are no aliases; main.cf may say otherwise.
//
// It imports config, route, server and table.
package routetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/internal/config"
	"postern/internal/route"
	"postern/internal/setup"
	"postern/internal/table"
)

// base is what main.cf begins with.
const base = `myhostname = mx.example.test
mydomain = example.test
mydestination = localhost, local.example.test
mynetworks = 127.0.0.1/32
inet_interfaces = 127.0.0.1, 192.0.2.10, [2001:db8::10]
alias_maps =
local_recipient_maps = inline:{john=x, jack=x, root=x}
`

// baseLines is how many lines base has: the first line of a test's own main.cf
// is the one after them.
var baseLines = strings.Count(base, "\n")

// Line is the line in main.cf of the n-th line of a test's text, from 1.
func Line(n int) int { return baseLines + n }

// World is a router with what it was made of.
type World struct {
	Dir      string
	Settings *config.Settings
	Opener   *table.Opener
	Router   *route.Router
	Users    *Users
	Log      *Log
}

// New makes a world. Whatever is wrong with the text ends the test.
func New(t testing.TB, text string) *World {
	t.Helper()
	w, err := In(directory(t), text)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Opener.Close() })
	return w
}

// directory is a temporary directory whose name holds no commas, as that of
// t.TempDir may: main.cf takes a comma for the end of a table's name.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "route")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// In makes a world in a directory. The caller closes its Opener.
func In(dir, text string) (*World, error) {
	w := &World{Dir: dir, Log: &Log{}, Users: NewUsers()}
	return w, w.make(text)
}

// Error is the error of a world that cannot be made; it ends the test when the
// world can.
func Error(t testing.TB, text string) error {
	t.Helper()
	w, err := In(directory(t), text)
	if err == nil {
		w.Opener.Close()
		t.Fatalf("no error for %q", text)
	}
	return err
}

func (w *World) make(text string) error {
	if err := w.write(base + text); err != nil {
		return err
	}
	var err error
	if w.Settings, err = config.Load(w.Dir, config.Options{}); err != nil {
		return err
	}
	w.Opener = setup.NewOpener(w.Settings, w.Log)
	w.Router, err = route.New(context.Background(), route.Options{
		Settings: w.Settings, Opener: w.Opener, Users: w.Users, Log: w.Log,
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.10")},
	})
	return err
}

// write makes the files of text.
func (w *World) write(text string) error {
	name, content := "main.cf", ""
	flush := func() error {
		content = strings.ReplaceAll(content, "{dir}", w.Dir)
		return os.WriteFile(filepath.Join(w.Dir, name), []byte(content), 0o644)
	}
	for line := range strings.Lines(text) {
		inner, ok := strings.CutPrefix(strings.TrimSpace(line), "-- ")
		if next, end := strings.CutSuffix(inner, " --"); ok && end {
			if err := flush(); err != nil {
				return err
			}
			name, content = next, ""
			continue
		}
		content += line
	}
	return flush()
}

// Log keeps what was logged.
type Log struct {
	mu    sync.Mutex
	lines []string
}

// Infof keeps a line that begins with "info: ".
func (l *Log) Infof(format string, args ...any) { l.add("info: "+format, args) }

// Warningf keeps a line that begins with "warning: ".
func (l *Log) Warningf(format string, args ...any) { l.add("warning: "+format, args) }

func (l *Log) add(format string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// Lines is everything so far.
func (l *Log) Lines() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// Users are the system users of a world.
type Users struct {
	ByName map[string]route.User
	Err    error // of every lookup, when it is set
}

var _ route.Users = (*Users)(nil)

// NewUsers are root, nobody, john and jack, and, unless that is root, "tester",
// who runs the test and owns its files. john and jack have ids that hardly anybody
// has who runs tests.
func NewUsers() *Users {
	u := &Users{ByName: map[string]route.User{
		"root":   {Name: "root", UID: 0, GID: 0, Home: "/root"},
		"nobody": {Name: "nobody", UID: 65534, GID: 65534, Home: "/nonexistent"},
		"john":   {Name: "john", UID: 71001, GID: 71001, Home: "/home/john"},
		"jack":   {Name: "jack", UID: 71002, GID: 71002, Home: "/home/jack"},
	}}
	if uid := os.Getuid(); uid != 0 {
		u.ByName["tester"] = route.User{Name: "tester", UID: uid, GID: os.Getgid(), Home: "/home/tester"}
	}
	return u
}

// ErrUsers is a failure for Users.Err.
var ErrUsers = errors.New("no user database")

// Lookup implements route.Users.
func (u *Users) Lookup(_ context.Context, name string) (route.User, bool, error) {
	if u.Err != nil {
		return route.User{}, false, u.Err
	}
	user, ok := u.ByName[name]
	return user, ok, nil
}

// LookupID implements route.Users.
func (u *Users) LookupID(_ context.Context, uid int) (route.User, bool, error) {
	if u.Err != nil {
		return route.User{}, false, u.Err
	}
	for _, user := range u.ByName {
		if user.UID == uid {
			return user, true, nil
		}
	}
	return route.User{}, false, nil
}
