package helper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/route"
	"postern/internal/spool"
)

// delivered is a message in a Maildir below base, and what the spool knows of it.
func delivered(t *testing.T, c *Client, base, name, text string) *spool.Applied {
	t.Helper()
	r, err := c.Store(options()).Deliver(t.Context(), box(base, name, route.Maildir), message(text))
	if err != nil {
		t.Fatal(err)
	}
	if r.Applied == nil {
		t.Skip("this file system wants a sync for each delivery")
	}
	return r.Applied
}

// TestMailFS does for the spool what a checkpoint needs of file systems.
func TestMailFS(t *testing.T) {
	base := home(t)
	c := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}})
	a := delivered(t, c, base, "box", "text\n")
	fs := c.MailFS(t.TempDir(), nil)
	d, err := fs.OpenDevice(filepath.Dir(a.Path))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil || a.Dev != d.Number() {
		t.Errorf("device %d, %v; the message is on %d", d.Number(), err, a.Dev)
	}
	for _, name := range []string{"/etc", base + "/../etc", base + "x"} {
		if d, err := fs.OpenDevice(name); err == nil {
			d.Close()
			t.Errorf("OpenDevice(%s) worked", name)
		}
	}
	if !c.IsMaildir(base+"/box") || c.IsMaildir(base) || c.IsMaildir("/etc") {
		t.Error("IsMaildir is wrong")
	}
}

// TestMail: the helper says of delivered files whether they are whole, and makes
// them durable; of others it says nothing.
func TestMail(t *testing.T) {
	base := home(t)
	c := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}})
	files := map[string]*spool.Applied{}
	for _, name := range []string{"good", "read", "removed", "changed", "short", "link"} {
		files[name] = delivered(t, c, base, name, "text of "+name+"\n")
	}
	in := func(name string) string { return files[name].Path }
	cur := strings.Replace(in("read"), "/new/", "/cur/", 1) + ":2,S"
	text, err := os.ReadFile(in("changed"))
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-2] ^= 1
	if err := errors.Join(os.Rename(in("read"), cur), os.Remove(in("removed")), os.WriteFile(in("changed"), text, 0o600),
		os.Truncate(in("short"), 3), os.Remove(in("link")), os.Symlink("/etc/passwd", in("link"))); err != nil {
		t.Fatal(err)
	}
	other := *files["good"]
	other.Path = strings.Replace(other.Path, "/new/", "/tmp/", 1)
	outside := *files["good"]
	outside.Path = "/etc/new/passwd"
	files["not in new"], files["outside"] = &other, &outside
	for _, tt := range []struct {
		name            string
		whole           bool
		secure, rewrite bool // without an error
	}{
		{"good", true, true, true},
		{"read", true, true, true},
		{"removed", false, true, true},
		{"changed", false, true, false},
		{"short", false, true, false},
		{"link", false, true, true},
		{"not in new", false, false, false},
		{"outside", false, false, false},
	} {
		one := []*spool.Applied{files[tt.name]}
		if whole, err := c.Mail().Whole(t.Context(), one); err != nil || whole[0] != tt.whole {
			t.Errorf("%s: Whole = %v, %v", tt.name, whole, err)
		}
		if errs := c.Mail().Secure(t.Context(), one, false); (errs[0] == nil) != tt.secure {
			t.Errorf("%s: Secure = %v", tt.name, errs)
		}
		if errs := c.Mail().Secure(t.Context(), one, true); (errs[0] == nil) != tt.rewrite {
			t.Errorf("%s: Secure again = %v", tt.name, errs)
		}
	}
}

// TestMailMany: more files than fit in a request keep their order.
func TestMailMany(t *testing.T) {
	base := home(t)
	c := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}})
	good := delivered(t, c, base, "box", "text\n")
	bad := *good
	bad.Length++
	list := make([]*spool.Applied, 2*maxMailFiles+7)
	for i := range list {
		if list[i] = good; i%7 == 3 {
			list[i] = &bad
		}
	}
	whole, err := c.Mail().Whole(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range whole {
		if w != (i%7 != 3) {
			t.Fatalf("file %d: %v", i, w)
		}
	}
}

// openSpool opens the spool of a server with a helper, under a boot.
func openSpool(t *testing.T, c *Client, dir, boot string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir+"/spool", spool.Options{FS: c.MailFS(dir, spool.OS()), Mail: c.Mail(), SegmentSize: 1 << 20,
		BootID: func() string { return boot }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// copyOf copies the directory of a spool that goes on working: it may rename a
// file meanwhile.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	for {
		to := t.TempDir()
		err := os.CopyFS(to, os.DirFS(dir))
		if err == nil {
			return to
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// TestRecovery: after the machine has started again, the spool of a server that
// may not enter mailboxes knows which deliveries are there. The others are to be
// made again.
func TestRecovery(t *testing.T) {
	base, before := home(t), t.TempDir()
	c := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}})
	s := openSpool(t, c, before, "one")
	draft, err := s.Create(0)
	if err == nil {
		_, err = draft.Write([]byte("text\n"))
	}
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"whole", "read", "torn", "gone", "open"}
	envelope := spool.Envelope{Sender: "s@client.example"}
	for _, name := range names {
		envelope.Recipients = append(envelope.Recipients, spool.Recipient{Address: name + "@example.org"})
	}
	made, err := s.Commit(t.Context(), spool.Change{New: []spool.New{{Draft: draft, Envelope: envelope}}})
	if err != nil {
		t.Fatal(err)
	}
	var done []spool.Outcome
	for i, name := range names[:4] {
		done = append(done, spool.Outcome{Index: i, Applied: delivered(t, c, base, name, "text\n")})
	}
	if _, err := s.Commit(t.Context(), spool.Change{Settle: []spool.Settlement{{Message: made[0], Outcomes: done}}, Sync: true}); err != nil {
		t.Fatal(err)
	}
	// What the disk has now is what the next boot finds.
	path := func(i int) string { return done[i].Applied.Path }
	after := copyOf(t, before)
	if err := errors.Join(os.Rename(path(1), strings.Replace(path(1), "/new/", "/cur/", 1)+":2,"),
		os.Truncate(path(2), 3), os.Remove(path(3))); err != nil {
		t.Fatal(err)
	}
	p, err := openSpool(t, c, after, "two").Load(made[0].Number)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{true, true, false, false, false}, p.Done); diff != "" {
		t.Errorf("recipients done with (-want +got):\n%s", diff)
	}
}

// TestMailGone: without the helper nobody says that mail is lost.
func TestMailGone(t *testing.T) {
	base := home(t)
	a := delivered(t, connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}}), base, "box", "text\n")
	c := withoutHelper(t)
	if _, err := c.Mail().Whole(t.Context(), []*spool.Applied{a}); !errors.Is(err, ErrGone) {
		t.Errorf("Whole = %v, want %v", err, ErrGone)
	}
	if errs := c.Mail().Secure(t.Context(), []*spool.Applied{a, a}, false); len(errs) != 2 || !errors.Is(errs[0], ErrGone) || !errors.Is(errs[1], ErrGone) {
		t.Errorf("Secure = %v, want %v twice", errs, ErrGone)
	}
}
