package helper

import (
	"errors"
	"os"
	"sync"
	"testing"

	"postern/internal/privsep"
	"postern/internal/route"
)

// reloading is a client whose helper reads the policies that change gives it.
func reloading(t *testing.T, first *Policy) (c *Client, change func(*Policy, error)) {
	t.Helper()
	var mu sync.Mutex
	p, broken := first, error(nil)
	c = connectWith(t, Options{As: privsep.New(), Policy: func() (*Policy, error) {
		mu.Lock()
		defer mu.Unlock()
		return p, broken
	}})
	return c, func(to *Policy, err error) {
		mu.Lock()
		defer mu.Unlock()
		p, broken = to, err
	}
}

// TestRefresh: while a reload is under way the server may open what either
// configuration has, and mail goes where the old one says; what becomes of it, the
// server says.
func TestRefresh(t *testing.T) {
	before, after, file := home(t), home(t), t.TempDir()+"/key"
	if err := os.WriteFile(file, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	owner := privsep.Identity{UID: 1 << 30, GID: 1 << 30}
	old := &Policy{Owner: owner, Virtual: map[string]int{before: 1}, VirtualGIDs: Numbers{Any: true}, Listeners: map[string]bool{"tcp4 127.0.0.1:0": true}}
	next := &Policy{Owner: owner, Virtual: map[string]int{after: 1}, VirtualGIDs: Numbers{Any: true}, Listeners: map[string]bool{"tcp4 localhost:0": true}, Files: map[string]bool{file: true}}
	c, change := reloading(t, old)
	change(next, nil)
	// check compares what is allowed: listeners of both, the new file, mail into
	// the mailboxes of both.
	check := func(when string, want string) {
		t.Helper()
		got := ""
		add := func(letter string, err error) {
			switch {
			case err == nil:
				got += letter
			case !errors.Is(err, ErrRefused):
				t.Errorf("%s: %v", when, err)
			}
		}
		for letter, address := range map[string]string{"a": "127.0.0.1:0", "b": "localhost:0"} {
			l, err := c.Listen("tcp4", address)
			if err == nil {
				l.Close()
			}
			if (err == nil) != (want[letter[0]-'a'] != '-') {
				t.Errorf("%s: listener %s: %v", when, letter, err)
			}
		}
		f, err := c.OpenFile(file)
		if err == nil {
			f.Close()
		}
		add("c", err)
		for i, base := range []string{before, after} {
			_, err := c.Store(options()).Deliver(t.Context(), box(base, "john", route.Maildir), message("text\n"))
			add(string(rune('d'+i)), err)
		}
		if want := want[2:]; got != want {
			t.Errorf("%s: %q is allowed, want %q", when, got, want)
		}
	}
	check("at the start", "a-d")
	for range 2 { // Refresh may be repeated
		if err := c.Refresh(); err != nil {
			t.Fatal(err)
		}
		check("reload under way", "abcd")
	}
	if err := c.Abort(); err != nil {
		t.Error(err)
	}
	check("given up", "a-d")
	if err := c.Commit(); err == nil {
		t.Error("Commit after Abort worked")
	}
	check("after that", "a-d")
	if err := errors.Join(c.Refresh(), c.Commit()); err != nil {
		t.Error(err)
	}
	check("accepted", "-bce")
}

// TestRefreshRefused: what the helper cannot read, or what would take a new
// server process, is no configuration to go on with.
func TestRefreshRefused(t *testing.T) {
	c, change := reloading(t, &Policy{Owner: privsep.Identity{UID: 1000}})
	broken := errors.New("main.cf:1: broken")
	for _, tt := range []struct {
		p    *Policy
		err  error
		want string
	}{
		{nil, broken, broken.Error()},
		{&Policy{Owner: privsep.Identity{UID: 1001}}, nil, "mail_owner has changed from uid 1000 to uid 1001: restart the server"},
	} {
		change(&Policy{Owner: privsep.Identity{UID: 1000}}, nil)
		if err := c.Refresh(); err != nil {
			t.Fatal(err)
		}
		change(tt.p, tt.err)
		if err := c.Refresh(); err == nil || err.Error() != tt.want {
			t.Errorf("Refresh = %v, want %s", err, tt.want)
		}
		if err := c.Commit(); err == nil {
			t.Errorf("after %q there is something to commit", tt.want)
		}
	}
	if err := c.Present(); err != nil {
		t.Errorf("Present = %v", err)
	}
}
