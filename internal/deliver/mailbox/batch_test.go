package mailbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/privsep"
	"postern/internal/route"
)

// counting counts how often an identity is taken on.
type counting struct {
	privsep.Runner
	times int
}

func (c *counting) Do(id privsep.Identity, f func() error) error {
	c.times++
	return c.Runner.Do(id, f)
}

// TestDeliverAll writes into Maildirs and mbox files; those of one owner that
// follow each other need one change of identity.
func TestDeliverAll(t *testing.T) {
	base := newBase(t)
	as := &counting{Runner: privsep.New()}
	s := newStore(t, func(o *Options) { o.As = as })
	var list []Delivery
	add := func(rel string, format route.Format) {
		m := newMessage()
		m.Index = len(list)
		list = append(list, Delivery{newBox(base, rel, format), m})
	}
	add("a", route.Maildir)
	add("b", route.Maildir)
	add("a", route.Maildir)
	add("mbox", route.Mbox)
	add("../out", route.Maildir)
	add("c", route.Maildir)
	out := s.DeliverAll(t.Context(), list)
	for i, o := range out {
		bad := i == 4
		if (o.Err != nil) != bad || !bad && list[i].Box.Format == route.Maildir && (o.Receipt.Applied == nil) {
			t.Errorf("%d: %+v", i, o)
		}
	}
	wantError(t, out[4].Err, "4.3.5", true, fmt.Sprintf("path %s leaves its base directory %s", filepath.Join(base, "../out"), base))
	if as.times != 3 {
		t.Errorf("%d changes of identity, want 3", as.times)
	}
	for rel, n := range map[string]int{"a": 2, "b": 1, "c": 1} {
		if names, _ := os.ReadDir(filepath.Join(base, rel, "new")); len(names) != n {
			t.Errorf("%d messages in %s, want %d", len(names), rel, n)
		}
	}
}

func TestDeliverAllFails(t *testing.T) {
	base := newBase(t)
	two := func(base string) []Delivery {
		return []Delivery{{newBox(base, "a", route.Maildir), newMessage()}, {newBox(base, "b", route.Maildir), newMessage()}}
	}
	for _, o := range newStore(t, nil).DeliverAll(t.Context(), two(base+"/none")) {
		wantError(t, o.Err, "4.2.0", true, fmt.Sprintf("base directory %s/none: No such file or directory", base))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, o := range newStore(t, nil).DeliverAll(ctx, two(base)) {
		if !errors.Is(o.Err, context.Canceled) {
			t.Errorf("error %v, want %v", o.Err, context.Canceled)
		}
	}
	asRoot := two(base)
	asRoot[0].Box.UID, asRoot[1].Box.UID = 0, 0
	for _, o := range newStore(t, nil).DeliverAll(t.Context(), asRoot) {
		if !errors.Is(o.Err, privsep.ErrRoot) {
			t.Errorf("error %v, want %v", o.Err, privsep.ErrRoot)
		}
	}
}

// TestFileOfSomebody is about destinations that lists name: they may belong to
// anybody, but must not be programs.
func TestFileOfSomebody(t *testing.T) {
	base := newBase(t)
	box := newBox(base, "file", route.Mbox)
	box.File = true
	deliver := func() error {
		_, err := newStore(t, nil).Deliver(t.Context(), box, newMessage())
		return err
	}
	if err := deliver(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(box.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	wantError(t, deliver(), "5.7.1", false, "file is executable")
	box.Base, box.Path = base+"/none", base+"/none/file"
	wantError(t, deliver(), "4.2.0", true, fmt.Sprintf("open %s/none/file: No such file or directory", base))
}

// TestFileElsewhere: a file that the user may write to, in a directory where no
// lock file can be made.
func TestFileElsewhere(t *testing.T) {
	needRoot(t)
	base := newBase(t)
	dir := filepath.Dir(base) // root's
	box := newBox(dir, "log", route.Mbox)
	if err := os.WriteFile(box.Path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(box.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, nil)
	if _, err := s.Deliver(t.Context(), box, newMessage()); err == nil {
		t.Error("a mailbox was taken that belongs to root")
	}
	box.File = true
	if _, err := s.Deliver(t.Context(), box, newMessage()); err != nil {
		t.Error(err)
	}
}
