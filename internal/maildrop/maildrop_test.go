package maildrop

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newDrop(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "maildrop")
	if err := Make(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSubmitAndOpen(t *testing.T) {
	dir := newDrop(t)
	mode := os.ModeDir | os.ModeSticky | 0o733
	if os.Geteuid() != 0 {
		mode |= os.ModeSetgid
	}
	if st, err := os.Stat(dir); err != nil || st.Mode() != mode {
		t.Errorf("mode = %v, %v; want %v", st.Mode(), err, mode)
	}
	env := Envelope{Sender: "a@example.org", Recipients: []string{"b@example.org"}, FromHeader: true}
	if err := Submit(dir, env, strings.NewReader("Subject: x\n\nbody\n")); err != nil {
		t.Fatal(err)
	}
	names, err := Names(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("Names = %v, %v, want one", names, err)
	}
	item, err := Open(dir, names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer item.Close()
	env.Version = 1
	if d := cmp.Diff(env, item.Envelope); d != "" {
		t.Errorf("envelope (-want +got):\n%s", d)
	}
	text, _ := io.ReadAll(item.Text)
	if string(text) != "Subject: x\n\nbody\n" || item.UID != os.Getuid() {
		t.Errorf("text = %q, uid = %d", text, item.UID)
	}
	if err := item.Remove(); err != nil {
		t.Fatal(err)
	}
	if names, _ := Names(dir); len(names) != 0 {
		t.Errorf("Names after Remove = %v", names)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestSubmitLeavesNothingBehind(t *testing.T) {
	dir := newDrop(t)
	if err := Submit(dir, Envelope{}, failingReader{}); err == nil || err.Error() != "broken pipe" {
		t.Errorf("Submit = %v, want the reader's error", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	if err := Submit(filepath.Join(dir, "none"), Envelope{}, strings.NewReader("")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Submit to a missing directory = %v", err)
	}
}

func TestBadFiles(t *testing.T) {
	dir := newDrop(t)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("mail.json", "no json\n")
	write("mail.version", `{"version":9}`+"\n")
	write("mail.short", `{"version":1}`)
	write("mail.long", strings.Repeat("x", 2<<20))
	write("target", `{"version":1}`+"\n")
	os.Symlink("target", filepath.Join(dir, "mail.symlink"))
	os.Link(filepath.Join(dir, "target"), filepath.Join(dir, "mail.hardlink"))
	os.Mkdir(filepath.Join(dir, "mail.dir"), 0o700)
	for _, name := range []string{"mail.json", "mail.version", "mail.short", "mail.long", "mail.symlink", "mail.hardlink", "mail.dir"} {
		if _, err := Open(dir, name); !errors.Is(err, ErrBad) {
			t.Errorf("Open(%s) = %v, want ErrBad", name, err)
		}
		if err := SetAside(dir, name); err != nil {
			t.Errorf("SetAside(%s) = %v", name, err)
		}
	}
	if names, _ := Names(dir); len(names) != 0 {
		t.Errorf("still listed: %v", names)
	}
}

func TestStaleTemporaryFilesGo(t *testing.T) {
	dir := newDrop(t)
	old, young := filepath.Join(dir, "tmp.old"), filepath.Join(dir, "tmp.young")
	os.WriteFile(old, nil, 0o600)
	os.WriteFile(young, nil, 0o600)
	past := time.Now().Add(-48 * time.Hour)
	os.Chtimes(old, past, past)
	Names(dir)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Error("the stale file stayed")
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("the young file went")
	}
}

func TestWatch(t *testing.T) {
	dir := newDrop(t)
	ctx, cancel := context.WithCancel(t.Context())
	signal := Watch(ctx, dir)
	<-signal
	if err := Submit(dir, Envelope{}, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	<-signal
	cancel()
	for range signal {
	}
}

// TestGrowingFile: the size of a message is fixed when it is opened, or its
// owner could write more than message_size_limit while it is read.
func TestGrowingFile(t *testing.T) {
	dir := newDrop(t)
	if err := Submit(dir, Envelope{Recipients: []string{"b@example.org"}}, strings.NewReader("text\n")); err != nil {
		t.Fatal(err)
	}
	names, err := Names(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("Names = %v, %v, want one", names, err)
	}
	item, err := Open(dir, names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer item.Close()
	f, err := os.OpenFile(filepath.Join(dir, names[0]), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Repeat("x", 1<<20)); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(item.Text)
	if err != nil || string(text) != "text\n" {
		t.Errorf("text of %d octets, %v; want %q", len(text), err, "text\n")
	}
}

func TestID(t *testing.T) {
	dir := newDrop(t)
	if err := Submit(dir, Envelope{}, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	names, err := Names(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("Names = %v, %v, want one", names, err)
	}
	if id := ID(names[0]); id == "" || Name(id) != names[0] {
		t.Errorf("ID(%q) = %q, and back %q", names[0], id, Name(id))
	}
	for _, name := range []string{"mail.0123456789abcdef", "mail.0123456789ABCDEF01", "mail.0123456789abcdef/x", "mail.../../../../../../../etc",
		"tmp.0123456789abcdef01", "bad.mail.0123456789abcdef01", "mail." + strings.Repeat("a", 101), ""} {
		if id := ID(name); id != "" {
			t.Errorf("ID(%q) = %q, want none", name, id)
		}
	}
	for _, id := range []string{"", "0123456789ABCDEF", "0123456789ABCDEF/X", "../../../../../../etc/passwd"} {
		if name := Name(id); name != "" {
			t.Errorf("Name(%q) = %q, want none", id, name)
		}
	}
}
