package helper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"postern/internal/deliver/command"
	"postern/internal/privsep"
)

// counting is a Runner that counts what is done.
type counting struct {
	privsep.Runner
	n int
}

func (c *counting) Do(id privsep.Identity, f func() error) error {
	c.n++
	return c.Runner.Do(id, f)
}

// listing is a policy whose alias file includes the lists of a directory, and
// allows their commands.
func listing(t *testing.T, aliases string) (p *Policy, dir string, may func(as privsep.Runner, argv ...string) error) {
	t.Helper()
	dir = home(t)
	uid, gid := somebody()
	write(t, dir+"/aliases", strings.ReplaceAll(aliases, "DIR", dir), uid, gid)
	p = &Policy{Aliases: []string{dir + "/aliases"}, MailToCommands: map[string]bool{kindInclude: true}, Shells: []string{""},
		WorkDirs: map[string]bool{"/": true}, Users: only(uid, gid)}
	return p, dir, func(as privsep.Runner, argv ...string) error {
		return p.mayRun(t.Context(), as, &command.Spec{As: privsep.Identity{UID: uid, GID: gid}, Argv: argv, Dir: "/"})
	}
}

// TestManyLists: a command counts in whichever of many lists it is, and a list
// that has not changed is read once.
func TestManyLists(t *testing.T) {
	const lists = 1500
	var aliases strings.Builder
	for i := range lists {
		fmt.Fprintf(&aliases, "list%d: :include:DIR/list%d\n", i, i)
	}
	_, dir, may := listing(t, aliases.String())
	uid, gid := somebody()
	for i := range lists {
		write(t, fmt.Sprintf("%s/list%d", dir, i), fmt.Sprintf("u@example.test, \"|/bin/archive list%d\"\n", i), uid, gid)
	}
	as := &counting{Runner: privsep.New()}
	for _, i := range []int{7, lists - 1, 0} {
		if err := may(as, "/bin/archive", fmt.Sprint("list", i)); err != nil {
			t.Errorf("list %d: %v", i, err)
		}
	}
	if err := may(as, "/bin/archive", "x"); !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "searched") {
		t.Errorf("what no list has: %v", err)
	}
	if as.n > lists+10 {
		t.Errorf("%d times something was done as somebody, for %d lists", as.n, lists)
	}
	write(t, dir+"/list7", "|/bin/another\n", uid, gid)
	if err := may(as, "/bin/another"); err != nil {
		t.Errorf("after a change: %v", err)
	}
	if err := may(as, "/bin/archive", "list7"); !errors.Is(err, ErrRefused) {
		t.Errorf("what is not in the list any more: %v", err)
	}
	if err := os.Remove(dir + "/list7"); err != nil {
		t.Fatal(err)
	}
	if err := may(as, "/bin/another"); !errors.Is(err, ErrRefused) {
		t.Errorf("of a list that is gone: %v", err)
	}
}

// TestListDepth: a chain of lists is followed as far as package route follows it,
// and a shorter way to a list counts.
func TestListDepth(t *testing.T) {
	_, dir, may := listing(t, "a: :include:DIR/list0\nb: :include:DIR/list90\n")
	uid, gid := somebody()
	const last = 90 + maxListDepth
	for i := range last + 1 {
		write(t, fmt.Sprintf("%s/list%d", dir, i), fmt.Sprintf("|/bin/c%d, :include:%s/list%d\n", i, dir, i+1), uid, gid)
	}
	for i, want := range map[int]bool{0: true, 89: true, 120: true, last - 1: true, last: false} {
		err := may(privsep.New(), fmt.Sprintf("/bin/c%d", i))
		if (err == nil) != want {
			t.Errorf("list %d: %v", i, err)
		}
		if !want && !strings.Contains(err.Error(), fmt.Sprintf("%d lists deep", maxListDepth)) {
			t.Errorf("%v: does not name the bound", err)
		}
	}
}

// TestListSizes: lists are read up to a bound, which the refusal names.
func TestListSizes(t *testing.T) {
	const lists = maxSearch/maxListSize + 1
	var aliases strings.Builder
	for i := range lists {
		fmt.Fprintf(&aliases, "list%d: :include:DIR/list%03d\n", i, i)
	}
	p, dir, may := listing(t, aliases.String())
	uid, gid := somebody()
	for i := range lists {
		name := fmt.Sprintf("%s/list%03d", dir, i)
		write(t, name, fmt.Sprintf("|/bin/c%d\n", i), uid, gid)
		if err := os.Truncate(name, maxListSize); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // and once more, with lists that are known
		if err := may(privsep.New(), fmt.Sprint("/bin/c", lists-2)); err != nil {
			t.Errorf("within the bound: %v", err)
		}
		err := may(privsep.New(), fmt.Sprint("/bin/c", lists-1))
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), fmt.Sprintf("%d MiB of lists", maxSearch>>20)) {
			t.Errorf("behind it: %v", err)
		}
	}
	if p.lists.held <= 0 || p.lists.held > maxKnown {
		t.Errorf("%d octets of lists are held", p.lists.held)
	}
}

// TestKnownLists: what one user may read is not told to another, and memory has
// an end.
func TestKnownLists(t *testing.T) {
	dir := home(t)
	uid, gid := somebody()
	write(t, dir+"/list", "|/bin/x\n", uid, gid)
	var c listFiles
	mine := privsep.Identity{UID: uid, GID: gid}
	if f, err := c.read(t.Context(), privsep.New(), mine, dir+"/list"); err != nil || len(f.members) != 1 {
		t.Fatalf("read = %+v, %v", f, err)
	}
	failing := &refusing{}
	if f, err := c.read(t.Context(), failing, mine, dir+"/list"); err != nil || len(f.members) != 1 {
		t.Errorf("known: %+v, %v", f, err)
	}
	if _, err := c.read(t.Context(), failing, privsep.Identity{UID: uid + 1, GID: gid}, dir+"/list"); !errors.Is(err, os.ErrPermission) {
		t.Errorf("as another user: %v", err)
	}
	if err := os.Chmod(dir+"/list", 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := c.read(t.Context(), failing, mine, dir+"/list"); !errors.Is(err, os.ErrPermission) {
		t.Errorf("after a change of the mode: %v", err)
	}
	long := strings.Repeat("x", 1<<20)
	for i := range 2 * maxKnown >> 20 {
		c.keep(listKey{name: fmt.Sprint(i % 50)}, &listFile{members: members{long}})
		sum := 0
		for key, f := range c.known {
			sum += cost(key, f)
		}
		if sum != c.held || sum > maxKnown+2<<20 {
			t.Fatalf("%d octets are held, counted as %d", sum, c.held)
		}
	}
}

// refusing is a Runner that lets nobody do anything.
type refusing struct{}

func (refusing) Do(privsep.Identity, func() error) error { return os.ErrPermission }

// BenchmarkManyLists searches 1500 lists for a command that none has.
func BenchmarkManyLists(b *testing.B) {
	dir := b.TempDir()
	var found members
	for i := range 1500 {
		name := fmt.Sprintf("%s/list%d", dir, i)
		if err := os.WriteFile(name, []byte("|/bin/x\n"), 0o644); err != nil {
			b.Fatal(err)
		}
		found = append(found, includeWord+name)
	}
	uid, gid := somebody()
	if err := os.Chmod(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	p := &Policy{Users: only(uid, gid)}
	b.ReportAllocs()
	for b.Loop() {
		s := p.search(privsep.New(), uid, true, func(string, string) bool { return false })
		s.in(kindForward, found, uid)
		for _, f := range s.next {
			s.included(context.Background(), f)
		}
	}
}

// TestCommandsBehindNames: what a list says itself counts, however much was looked at
// before; what it includes no more.
func TestCommandsBehindNames(t *testing.T) {
	uid, gid := somebody()
	p := &Policy{Default: privsep.Identity{UID: uid, GID: gid}}
	s := p.search(privsep.New(), uid, true, func(_, member string) bool { return member == "|/bin/last" })
	s.spent = maxSearch
	if !s.in(kindAlias, members{includeWord + "/none", "|/bin/last"}, 0) {
		t.Error("the command was not found")
	}
	if !s.cut || len(s.next) > 0 {
		t.Errorf("cut %v, next %v: a list was included behind the bound", s.cut, s.next)
	}
}
