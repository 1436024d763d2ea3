package mailbox

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/spool"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// text is a Body in memory.
type text string

func (b text) Size() int64 { return int64(len(b)) }

func (b text) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader([]byte(b)).ReadAt(p, off)
}

// brokenText claims to be longer than what can be read of it.
type brokenText struct {
	text
	claimed int64
}

func (b brokenText) Size() int64 { return b.claimed }

// log keeps warnings.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) Infof(format string, args ...any) {}

func (l *log) Warningf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// owner is who mailboxes of these tests belong to: when the tests run as root, a
// user without any rights, else the user who runs them.
func owner() (uid, gid int) {
	if os.Geteuid() == 0 {
		return 4711, 4711
	}
	return os.Geteuid(), os.Getegid()
}

// needRoot skips what only root can show; where everything has to run, it fails.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// newBase makes a base directory that belongs to the owner and can be reached
// by any user, which t.TempDir cannot.
func newBase(t testing.TB) string {
	t.Helper()
	top, err := os.MkdirTemp("", "mailbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(top, "vmail")
	mkdir(t, base)
	return base
}

// mkdir makes a directory with its parents that belongs to the owner.
func mkdir(t testing.TB, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		return
	}
	mkdir(t, filepath.Dir(dir))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	own(t, dir)
}

// own gives a file to the owner.
func own(t testing.TB, name string) {
	t.Helper()
	uid, gid := owner()
	if err := os.Lchown(name, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// put makes a file that belongs to the owner.
func put(t testing.TB, name, content string) {
	t.Helper()
	mkdir(t, filepath.Dir(name))
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	own(t, name)
}

func newStore(t testing.TB, change func(*Options)) *Store {
	t.Helper()
	o := Options{
		As: privsep.New(), Hostname: "mx.example", StrictOwner: true,
		Mode: func(string) spool.Mode { return spool.Shared },
		Now:  func() time.Time { return time.Date(2024, 6, 3, 14, 5, 9, 0, time.UTC) },
		Sleep: func(context.Context, time.Duration) error {
			t.Error("waited for a lock")
			return errors.New("no time")
		},
		Log: &log{},
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

func newBox(base, rel string, format route.Format) route.Mailbox {
	uid, gid := owner()
	return route.Mailbox{Path: filepath.Join(base, rel), Base: base, Format: format, UID: uid, GID: gid}
}

const sample = "Subject: hello\n\nFirst line.\nFrom here on.\n"

// stem is that of newMessage.
const stem = "1717423500.Q18D3A5F00C2R4"

func newMessage() *Message {
	return &Message{
		ID: "18D3A5F00C2", Index: 4, Arrival: time.Unix(1717423500, 999),
		Sender: "sender@client.example",
		Header: Header("sender@client.example", "john@example.org", "john@example.org"),
		Body:   text(sample),
	}
}

// whole is the file that newMessage makes in a Maildir.
const whole = "Return-Path: <sender@client.example>\nX-Original-To: john@example.org\n" +
	"Delivered-To: john@example.org\n" + sample

// wantError checks class, code and text of a failure.
func wantError(t *testing.T, err error, dsn string, temporary bool, reason string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v (%T), want an *Error: %s", err, err, reason)
	}
	if e.DSN != dsn || e.Temporary != temporary || e.Reason != reason {
		t.Errorf("error is %s %q temporary %v, want %s %q temporary %v",
			e.DSN, e.Reason, e.Temporary, dsn, reason, temporary)
	}
}

// tree lists the files below dir with their contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sum(content string) uint32 {
	return crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli))
}

func device(t *testing.T, name string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Dev
}

func checkOwned(t *testing.T, name string, mode uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	uid, gid := owner()
	if int(st.Uid) != uid || int(st.Gid) != gid || st.Mode&0o7777 != mode {
		t.Errorf("%s has owner %d:%d and mode %o, want %d:%d and %o", name, st.Uid, st.Gid, st.Mode&0o7777, uid, gid, mode)
	}
}

func TestHeader(t *testing.T) {
	tests := []struct {
		name, sender, original string
		to                     []string
		want                   string
	}{
		{"usual", "s@client.example", "info@example.org", []string{"John@Example.org"},
			"Return-Path: <s@client.example>\nX-Original-To: info@example.org\nDelivered-To: John@Example.org\n"},
		{"null sender, no original", "", "", []string{"john@example.org"},
			"Return-Path: <>\nDelivered-To: john@example.org\n"},
		{"quoted", "two words@client.example", "john doe@example.org", []string{"a@b@example.org"},
			"Return-Path: <\"two words\"@client.example>\nX-Original-To: \"john doe\"@example.org\nDelivered-To: \"a@b\"@example.org\n"},
		{"stacked", "s@client.example", "list", []string{"jack@local.example", "list@local.example"},
			"Return-Path: <s@client.example>\nX-Original-To: list\nDelivered-To: jack@local.example\nDelivered-To: list@local.example\n"},
		{"line ends inside", "a\nBcc: x@y\r\x00@client.example", "", []string{"b@example.org"},
			"Return-Path: <\"a\\?Bcc: x@y\\??\"@client.example>\nDelivered-To: b@example.org\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(Header(tt.sender, tt.original, tt.to...)); got != tt.want {
				t.Errorf("Header(%q, %q, %q) = %q, want %q", tt.sender, tt.original, tt.to, got, tt.want)
			}
		})
	}
	if got, want := DeliveredTo("john doe@example.org"), "Delivered-To: \"john doe\"@example.org\n"; got != want {
		t.Errorf("DeliveredTo = %q, want %q", got, want)
	}
}

func TestRelative(t *testing.T) {
	tests := []struct{ base, path, want, reason string }{
		{"/var/vmail", "/var/vmail/example.org/john", "example.org/john", ""},
		{"/var/vmail/", "/var/vmail//john/", "john", ""},
		{"/var/vmail", "/var/vmail/a/../b", "b", ""},
		{"/var/vmail", "/var/vmail", ".", ""},
		{"/", "/john", "john", ""},
		{"/var/vmail", "/var/vmail2/john", "", "path /var/vmail2/john leaves its base directory /var/vmail"},
		{"/var/vmail", "/var/vmail/../john", "", "path /var/vmail/../john leaves its base directory /var/vmail"},
		{"/var/vmail", "/var/vmail/a\x00b", "", "path /var/vmail/a\x00b leaves its base directory /var/vmail"},
		{"vmail", "vmail/john", "", "mailbox vmail/john of base vmail is not an absolute path"},
	}
	for _, tt := range tests {
		got, err := relative(tt.base, tt.path)
		if tt.reason != "" {
			wantError(t, err, "4.3.5", true, tt.reason)
		} else if err != nil || got != tt.want {
			t.Errorf("relative(%q, %q) = %q, %v, want %q", tt.base, tt.path, got, err, tt.want)
		}
	}
}

func TestFailure(t *testing.T) {
	tests := []struct {
		err       error
		dsn       string
		temporary bool
		reason    string
	}{
		{unix.EDQUOT, "5.2.2", false, "write: Disk quota exceeded"},
		{unix.EFBIG, "5.2.2", false, "write: File too large"},
		{unix.ENOSPC, "4.3.0", true, "write: No space left on device"},
		{unix.EAGAIN, "4.2.0", true, "write: Resource temporarily unavailable"},
		{unix.ESTALE, "4.2.0", true, "write: Stale file handle"},
		{unix.EIO, "4.2.0", true, "write: Input/output error"},
		{fmt.Errorf("cannot become uid 5000: %w", privsep.ErrNotRoot), "4.3.5", true, "write: cannot become uid 5000: not running as root"},
		{&readError{errors.New("torn")}, "4.3.0", true, "write: message text: torn"},
		{&readError{}, "4.3.0", true, "write: message text ends early"},
	}
	for _, tt := range tests {
		err := failure("write", tt.err)
		wantError(t, err, tt.dsn, tt.temporary, tt.reason)
		if !errors.Is(err, tt.err) {
			t.Errorf("failure(%v) does not wrap its cause", tt.err)
		}
	}
}

func TestRootOwnsNothing(t *testing.T) {
	base := newBase(t)
	box := newBox(base, "john", route.Maildir)
	box.UID = 0
	_, err := newStore(t, nil).Deliver(t.Context(), box, newMessage())
	wantError(t, err, "4.3.5", true, fmt.Sprintf("mailbox owner: uid 0 gid %d: refusing to act with the rights of root", box.GID))
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	base := newBase(t)
	_, err := newStore(t, nil).Deliver(ctx, newBox(base, "john", route.Maildir), newMessage())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
	if files := tree(t, base); len(files) != 0 {
		t.Errorf("wrote %v", files)
	}
}

// expand puts the name of the base directory into an expected text.
func expand(text, base string) string { return strings.ReplaceAll(text, "BASE", base) }
