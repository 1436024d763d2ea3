package mailbox

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"postern/internal/route"
)

// TestMboxFormat delivers several messages and compares the file as a whole.
func TestMboxFormat(t *testing.T) {
	base := newBase(t)
	store := newStore(t, nil)
	box := newBox(base, "john", route.Mbox)
	for i, m := range []struct{ sender, text string }{
		{"sender@client.example", "Subject: plain\n\nFrom here on, lines are quoted:\nFrom \n From not\n>From once\nfrom no\nFrom\n"},
		{"", "Subject: null sender, no line end\n\nlast line"},
		{"two words@client.example", "Subject: quoted sender, ends in a From line\n\nFrom "},
		{"a\nb@client.example", "Subject: ends in part of a From line\n\nFro"},
		{"sender@client.example", ""},
		{"sender@client.example", "From the first line on\n"},
		{"sender@client.example", "Subject: empty lines at the end\n\n\n\n"},
	} {
		message := newMessage()
		message.Index, message.Sender, message.Body = i, m.sender, text(m.text)
		message.Header = Header(m.sender, "", "john@example.org")
		receipt, err := store.Deliver(t.Context(), box, message)
		if err != nil {
			t.Fatal(err)
		}
		if receipt != (Receipt{}) {
			t.Errorf("receipt %+v, want none: an mbox is durable at once", receipt)
		}
	}
	got, err := os.ReadFile(box.Path)
	if err != nil {
		t.Fatal(err)
	}
	checkOwned(t, box.Path, 0o600)
	golden := filepath.Join("testdata", "format.mbox")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("mbox (-want +got):\n%s", diff)
	}
	if files := tree(t, base); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// inMbox is newMessage in an mbox.
const inMbox = "From sender@client.example  Mon Jun  3 14:05:09 2024\n" +
	"Return-Path: <sender@client.example>\nX-Original-To: john@example.org\nDelivered-To: john@example.org\n" +
	"Subject: hello\n\nFirst line.\n>From here on.\n\n"

// TestMboxGap: a file that somebody left unfinished gets an empty line first.
func TestMboxGap(t *testing.T) {
	for before, gap := range map[string]string{
		"": "", "From x\n\ntext\n\n": "", "From x\n\ntext\n": "\n", "From x\n\ntex": "\n\n", "x": "\n\n", "\n": "\n",
	} {
		base := newBase(t)
		box := newBox(base, "john", route.Mbox)
		put(t, box.Path, before)
		if _, err := newStore(t, nil).Deliver(t.Context(), box, newMessage()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before+gap+inMbox, tree(t, base)["john"]); diff != "" {
			t.Errorf("after %q (-want +got):\n%s", before, diff)
		}
	}
}

func TestMboxFailures(t *testing.T) {
	tests := []struct {
		name      string
		prepare   func(t *testing.T, base string)
		limit     int64
		body      Body
		dsn       string
		temporary bool
		reason    string // BASE stands for the base directory
	}{
		{"base missing", func(t *testing.T, base string) { remove(t, base+"/in"); remove(t, base) }, 0, nil,
			"4.2.0", true, "base directory BASE: No such file or directory"},
		{"parent missing", func(t *testing.T, base string) { remove(t, base+"/in") }, 0, nil,
			"4.2.0", true, "open BASE/in/john: No such file or directory"},
		{"parent not writable", func(t *testing.T, base string) { chmod(t, base+"/in", 0o500) }, 0, nil,
			"4.2.0", true, "open BASE/in/john: Permission denied"},
		{"no place for the lock", func(t *testing.T, base string) {
			put(t, base+"/in/john", "")
			chmod(t, base+"/in", 0o500)
		}, 0, nil, "4.2.0", true, "unable to create lock file BASE/in/john.lock: Permission denied"},
		{"read-only", func(t *testing.T, base string) {
			put(t, base+"/in/john", "")
			chmod(t, base+"/in/john", 0o400)
		}, 0, nil, "4.2.0", true, "open BASE/in/john: Permission denied"},
		{"directory", func(t *testing.T, base string) { mkdir(t, base+"/in/john") }, 0, nil,
			"4.2.0", true, "destination BASE/in/john is not a regular file"},
		{"pipe", func(t *testing.T, base string) {
			if err := unix.Mkfifo(base+"/in/john", 0o600); err != nil {
				t.Fatal(err)
			}
			own(t, base+"/in/john")
		}, 0, nil, "4.2.0", true, "destination BASE/in/john is not a regular file"},
		{"symbolic link", func(t *testing.T, base string) {
			put(t, base+"/in/real", "")
			link(t, "real", base+"/in/john")
		}, 0, nil, "4.2.0", true, "destination BASE/in/john is a symbolic link"},
		{"hard link", func(t *testing.T, base string) {
			put(t, base+"/in/real", "")
			if err := os.Link(base+"/in/real", base+"/in/john"); err != nil {
				t.Fatal(err)
			}
		}, 0, nil, "4.2.0", true, "destination BASE/in/john has several names (hard links)"},
		{"parent leads outside", func(t *testing.T, base string) {
			remove(t, base+"/in")
			link(t, "..", base+"/in")
		}, 0, nil, "4.3.5", true, "path BASE/in/john leaves its base directory BASE"},
		{"over the limit", nil, int64(len(inMbox)) - 1, nil, "5.2.2", false, "error writing message: File too large"},
		{"full before", func(t *testing.T, base string) { put(t, base+"/in/john", inMbox) }, int64(len(inMbox)) + 1, nil,
			"5.2.2", false, "error writing message: File too large"},
		{"beyond the limit before", func(t *testing.T, base string) { put(t, base+"/in/john", inMbox) }, 5, nil,
			"5.2.2", false, "error writing message: File too large"},
		{"text ends early", func(t *testing.T, base string) { put(t, base+"/in/john", "From x\n\ntex") }, 0,
			brokenText{text(strings.Repeat("line\n", outputSize/2)), 1 << 20},
			"4.3.0", true, "error writing message: message text ends early"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := newBase(t)
			mkdir(t, base+"/in")
			if tt.prepare != nil {
				tt.prepare(t, base)
			}
			before := files(base + "/in")
			m := newMessage()
			if tt.body != nil {
				m.Body = tt.body
			}
			_, err := newStore(t, func(o *Options) { o.Limit = tt.limit }).Deliver(t.Context(), newBox(base, "in/john", route.Mbox), m)
			wantError(t, err, tt.dsn, tt.temporary, expand(tt.reason, base))
			after := files(base + "/in")
			if after["john"] == "" { // an empty file may have been made
				delete(after, "john")
				delete(before, "john")
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("files (-before +after):\n%s", diff)
			}
		})
	}
}

// files lists the regular files in a directory, if it is there, with contents.
func files(dir string) map[string]string {
	found := map[string]string{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() {
			content, _ := os.ReadFile(filepath.Join(dir, e.Name()))
			found[e.Name()] = string(content)
		}
	}
	return found
}

// TestMboxExactLimit: the limit itself is allowed.
func TestMboxExactLimit(t *testing.T) {
	base := newBase(t)
	store := newStore(t, func(o *Options) { o.Limit = 2 * int64(len(inMbox)) })
	box := newBox(base, "john", route.Mbox)
	for range 2 {
		if _, err := store.Deliver(t.Context(), box, newMessage()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Deliver(t.Context(), box, newMessage()); err == nil {
		t.Error("a third message went beyond the limit")
	}
}

func TestMboxOwner(t *testing.T) {
	needRoot(t)
	base := newBase(t)
	box := newBox(base, "john", route.Mbox)
	put(t, box.Path, "")
	if err := os.Chown(box.Path, 4799, -1); err != nil {
		t.Fatal(err)
	}
	chmod(t, box.Path, 0o666)
	_, err := newStore(t, nil).Deliver(t.Context(), box, newMessage())
	wantError(t, err, "4.2.0", true, expand("destination BASE/john is not owned by recipient", base))
	loose := newStore(t, func(o *Options) { o.StrictOwner = false })
	if _, err := loose.Deliver(t.Context(), box, newMessage()); err != nil {
		t.Errorf("strict_mailbox_ownership = no: %v", err)
	}
}

// TestSpoolGroup: a mail spool directory like that of Debian (root:mail 2775)
// takes mailboxes and lock files of users who are not in its group.
func TestSpoolGroup(t *testing.T) {
	needRoot(t)
	const mail = 4708
	uid, _ := owner()
	for _, tt := range []struct {
		name string
		mode uint32
		rel  string
		user string
		ok   bool
	}{
		{"group may write", 0o2775, "john", "john", true},
		{"not the user's file", 0o2775, "jane", "john", false},
		{"nobody may write", 0o2755, "john", "john", false},
		{"not a system user", 0o2775, "john", "", false},
		{"not directly below", 0o2775, "sub/john", "john", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := newBase(t)
			for _, dir := range []string{base, base + "/sub"} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Chown(dir, 0, mail); err != nil {
					t.Fatal(err)
				}
				if err := unix.Chmod(dir, tt.mode); err != nil {
					t.Fatal(err)
				}
			}
			box := newBox(base, tt.rel, route.Mbox)
			box.User = tt.user
			for name, lend := range map[string]func(*route.Mailbox, int) bool{
				"nil": nil, "no": func(*route.Mailbox, int) bool { return false },
			} {
				if _, err := newStore(t, func(o *Options) { o.Lend = lend }).Deliver(t.Context(), box, newMessage()); err == nil {
					t.Errorf("Lend %s: the group was lent", name)
				}
			}
			_, err := newStore(t, func(o *Options) {
				o.Lend = func(b *route.Mailbox, gid int) bool { return b.Base == base && gid == mail }
			}).Deliver(t.Context(), box, newMessage())
			if (err == nil) != tt.ok {
				t.Fatalf("Deliver = %v, want success %v", err, tt.ok)
			}
			if err != nil {
				return
			}
			var st unix.Stat_t
			if err := unix.Stat(box.Path, &st); err != nil || int(st.Uid) != uid || st.Gid != mail || st.Mode&0o777 != 0o600 {
				t.Errorf("mailbox is %d:%d %o, %v", st.Uid, st.Gid, st.Mode, err)
			}
		})
	}
}

// TestMboxConcurrent: deliveries of one process take turns, without a wait.
func TestMboxConcurrent(t *testing.T) {
	base := newBase(t)
	store := newStore(t, nil)
	box := newBox(base, "john", route.Mbox)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := store.Deliver(t.Context(), box, newMessage()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := tree(t, base)["john"]; got != strings.Repeat(inMbox, 20) {
		t.Errorf("mbox of %d octets is not 20 times the message", len(got))
	}
	if len(store.boxes.box) != 0 {
		t.Errorf("%d turns are left", len(store.boxes.box))
	}
}
