package mailbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"postern/internal/route"
	"postern/internal/spool"
)

func TestMaildir(t *testing.T) {
	base := newBase(t)
	receipt, err := newStore(t, nil).Deliver(t.Context(), newBox(base, "example.org/john", route.Maildir), newMessage())
	if err != nil {
		t.Fatal(err)
	}
	john := filepath.Join(base, "example.org/john")
	file := "new/" + stem + ".mx.example"
	want := Receipt{Applied: &spool.Applied{
		Path: filepath.Join(john, file), Dev: device(t, john), Length: int64(len(whole)), CRC: sum(whole),
	}}
	if diff := cmp.Diff(want, receipt); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{file: whole}, tree(t, john)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	checkOwned(t, filepath.Join(john, file), 0o600)
	for _, dir := range []string{"..", ".", "tmp", "new", "cur"} {
		checkOwned(t, filepath.Join(john, dir), 0o700)
	}
}

// TestMaildirSizes covers texts around the size of the buffer.
func TestMaildirSizes(t *testing.T) {
	base := newBase(t)
	store := newStore(t, nil)
	for i, size := range []int{0, 1, outputSize - 1, outputSize, outputSize + 1, 5*outputSize + 77} {
		body := strings.Repeat("0123456789abcde\n", size/16+1)[:size]
		m := newMessage()
		m.Index, m.Body = i, text(body)
		receipt, err := store.Deliver(t.Context(), newBox(base, "john", route.Maildir), m)
		if err != nil {
			t.Fatal(err)
		}
		want := string(m.Header) + body
		got, err := os.ReadFile(receipt.Applied.Path)
		if err != nil || string(got) != want || receipt.Applied.CRC != sum(want) || receipt.Applied.Length != int64(len(want)) {
			t.Errorf("size %d: file of %d octets, %v, receipt %+v", size, len(got), err, receipt.Applied)
		}
	}
}

// TestMaildirIsBase: a Maildir may be the base itself (home_mailbox = ./).
func TestMaildirIsBase(t *testing.T) {
	base := newBase(t)
	if _, err := newStore(t, nil).Deliver(t.Context(), newBox(base, "", route.Maildir), newMessage()); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, base); got["new/"+stem+".mx.example"] != whole {
		t.Errorf("files are %v", got)
	}
}

func TestHostInName(t *testing.T) {
	if got, want := hostInName("a/b:c.example"), `a\057b\072c.example`; got != want {
		t.Errorf("hostInName = %q, want %q", got, want)
	}
}

func TestMaildirDurable(t *testing.T) {
	for _, tt := range []struct {
		name    string
		durable bool
		mode    spool.Mode
	}{{"by the message", true, spool.Shared}, {"by the file system", false, spool.Each}} {
		t.Run(tt.name, func(t *testing.T) {
			base := newBase(t)
			store := newStore(t, func(o *Options) { o.Mode = func(string) spool.Mode { return tt.mode } })
			m := newMessage()
			m.Durable = tt.durable
			for _, repeated := range []bool{false, true} {
				receipt, err := store.Deliver(t.Context(), newBox(base, "a/john", route.Maildir), m)
				if err != nil {
					t.Fatal(err)
				}
				if receipt.Applied != nil || receipt.Repeated != repeated {
					t.Errorf("receipt %+v, want none applied, repeated %v", receipt, repeated)
				}
			}
			if got := tree(t, base); len(got) != 1 || got["a/john/new/"+stem+".mx.example"] != whole {
				t.Errorf("files are %v", got)
			}
		})
	}
}

// TestModeOncePerDevice: asking for the file system is not part of a delivery.
func TestModeOncePerDevice(t *testing.T) {
	base := newBase(t)
	asked := 0
	store := newStore(t, func(o *Options) { o.Mode = func(string) spool.Mode { asked++; return spool.Shared } })
	for i := range 3 {
		m := newMessage()
		m.Index = i
		if _, err := store.Deliver(t.Context(), newBox(base, "john", route.Maildir), m); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times for the mode, want 1", asked)
	}
}

// TestMaildirRepeat delivers into a Maildir in which an earlier delivery has left
// what a crash may leave.
func TestMaildirRepeat(t *testing.T) {
	const (
		here  = "/" + stem + ".mx.example"
		there = "/" + stem + ".old.example"
		first = "/" + stem + "_1.mx.example"
	)
	zeros := strings.Repeat("\x00", len(whole))
	tests := []struct {
		name     string
		attempt  int
		before   map[string]string
		after    map[string]string
		repeated string // name in the receipt when nothing is written
	}{
		{"left in tmp", 0, map[string]string{"tmp" + here: "Return-P"}, map[string]string{"new" + here: whole}, ""},
		{"in new", 0, map[string]string{"new" + here: whole}, map[string]string{"new" + here: whole}, here},
		{"in new, known", 1, map[string]string{"new" + here: whole}, map[string]string{"new" + here: whole}, here},
		{"in new, other host", 1, map[string]string{"new" + there: whole}, map[string]string{"new" + there: whole}, there},
		{"in cur, read", 1, map[string]string{"cur" + here + ":2,S": whole}, map[string]string{"cur" + here + ":2,S": whole}, here},
		{"in cur, second copy", 2, map[string]string{"cur" + first + ":2,": whole}, map[string]string{"cur" + first + ":2,": whole}, first},
		{"short", 0, map[string]string{"new" + here: whole[:9]}, map[string]string{"new" + here: whole[:9], "new" + first: whole}, ""},
		{"empty, known", 1, map[string]string{"new" + here: ""}, map[string]string{"new" + here: "", "new" + first: whole}, ""},
		{"zeros", 1, map[string]string{"new" + here: zeros}, map[string]string{"new" + here: zeros, "new" + first: whole}, ""},
		{"zeros and whole", 1, map[string]string{"new" + here: zeros, "new" + first: whole},
			map[string]string{"new" + here: zeros, "new" + first: whole}, first},
		{"short in cur", 1, map[string]string{"cur" + here + ":2,S": "x"},
			map[string]string{"cur" + here + ":2,S": "x", "new" + here: whole}, ""},
		{"other recipient", 1, map[string]string{"new/" + stem + "2.mx.example": whole},
			map[string]string{"new/" + stem + "2.mx.example": whole, "new" + here: whole}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := newBase(t)
			john := filepath.Join(base, "john")
			for _, sub := range []string{"tmp", "new", "cur"} {
				mkdir(t, filepath.Join(john, sub))
			}
			for name, content := range tt.before {
				put(t, filepath.Join(john, name), content)
			}
			m := newMessage()
			m.Attempt = tt.attempt
			receipt, err := newStore(t, nil).Deliver(t.Context(), newBox(base, "john", route.Maildir), m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.after, tree(t, john)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if receipt.Repeated != (tt.repeated != "") {
				t.Errorf("repeated is %v", receipt.Repeated)
			}
			want := &spool.Applied{Path: receipt.Applied.Path, Dev: device(t, john), Length: int64(len(whole)), CRC: sum(whole)}
			if tt.repeated != "" {
				want.Path, want.Found = filepath.Join(john, "new", tt.repeated), true
			}
			if diff := cmp.Diff(want, receipt.Applied); diff != "" {
				t.Errorf("applied (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTooManyDamaged(t *testing.T) {
	base := newBase(t)
	john := filepath.Join(base, "john")
	mkdir(t, filepath.Join(john, "tmp"))
	for copy := range maxCopies {
		put(t, filepath.Join(john, "new", fileName(stem, copy, "mx.example")), "x")
	}
	_, err := newStore(t, nil).Deliver(t.Context(), newBox(base, "john", route.Maildir), newMessage())
	wantError(t, err, "4.2.0", true, "create maildir file "+john+"/new/"+stem+".mx.example: too many damaged copies")
	if files := tree(t, filepath.Join(john, "tmp")); len(files) != 0 {
		t.Errorf("tmp holds %v", files)
	}
}

func TestMaildirFailures(t *testing.T) {
	johnTmp := "/john/tmp/" + stem + ".mx.example"
	tests := []struct {
		name      string
		prepare   func(t *testing.T, base string)
		limit     int64
		body      Body
		dsn       string
		temporary bool
		reason    string // BASE stands for the base directory
	}{
		{"base missing", func(t *testing.T, base string) { remove(t, base) }, 0, nil,
			"4.2.0", true, "base directory BASE: No such file or directory"},
		{"base is a file", func(t *testing.T, base string) { remove(t, base); put(t, base, "x") }, 0, nil,
			"4.2.0", true, "base directory BASE: Not a directory"},
		{"maildir is a file", func(t *testing.T, base string) { put(t, base+"/john", "x") }, 0, nil,
			"4.2.0", true, "open maildir BASE/john/tmp: Not a directory"},
		{"tmp not writable", func(t *testing.T, base string) {
			mkdir(t, base+"/john/new")
			mkdir(t, base+"/john/tmp")
			chmod(t, base+"/john/tmp", 0o500)
		}, 0, nil, "4.2.0", true, "create maildir file BASE" + johnTmp + ": Permission denied"},
		{"new not writable", func(t *testing.T, base string) {
			mkdir(t, base+"/john/new")
			mkdir(t, base+"/john/tmp")
			chmod(t, base+"/john/new", 0o500)
		}, 0, nil, "4.2.0", true, "create maildir file BASE/john/new/" + stem + ".mx.example: Permission denied"},
		{"base not writable", func(t *testing.T, base string) { chmod(t, base, 0o500) }, 0, nil,
			"4.2.0", true, "create maildir BASE/john/tmp: Permission denied"},
		{"over the limit", nil, int64(len(whole)) - 1, nil, "5.2.2", false, "error writing message: File too large"},
		{"text ends early", nil, 0, brokenText{text(sample), 1 << 20}, "4.3.0", true, "error writing message: message text ends early"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := newBase(t)
			if tt.prepare != nil {
				tt.prepare(t, base)
			}
			m := newMessage()
			if tt.body != nil {
				m.Body = tt.body
			}
			store := newStore(t, func(o *Options) { o.Limit = tt.limit })
			_, err := store.Deliver(t.Context(), newBox(base, "john", route.Maildir), m)
			wantError(t, err, tt.dsn, tt.temporary, expand(tt.reason, base))
			chmodBack(base)
			if _, err := os.Stat(base + "/john/tmp"); err == nil {
				if files := tree(t, base); len(files) != 0 {
					t.Errorf("left behind: %v", files)
				}
			}
		})
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// chmod changes a mode until the end of the test, when everything is removed.
func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(name, 0o700) })
}

func chmodBack(base string) {
	for _, name := range []string{base, base + "/john/tmp", base + "/john/new"} {
		_ = os.Chmod(name, 0o700) // those that are there
	}
}

// TestMaildirExactLimit: the limit itself is allowed.
func TestMaildirExactLimit(t *testing.T) {
	base := newBase(t)
	store := newStore(t, func(o *Options) { o.Limit = int64(len(whole)) })
	if _, err := store.Deliver(t.Context(), newBox(base, "john", route.Maildir), newMessage()); err != nil {
		t.Error(err)
	}
}

func TestAccessWarning(t *testing.T) {
	base := newBase(t)
	chmod(t, base, 0o500)
	lines := &log{}
	store := newStore(t, func(o *Options) { o.Log = lines })
	box := newBox(base, "john", route.Maildir)
	if _, err := store.Deliver(t.Context(), box, newMessage()); err == nil {
		t.Fatal("delivered into a directory that is read-only")
	}
	want := []string{
		fmt.Sprintf("maildir access problem for UID/GID=%d/%d: create maildir %s/john/tmp: Permission denied", box.UID, box.GID, base),
		"perhaps you need to create the maildirs in advance",
	}
	if diff := cmp.Diff(want, lines.lines); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestDiskFull fills a small file system; afterwards nothing of the message is
// left, and once there is room it is delivered.
func TestDiskFull(t *testing.T) {
	needRoot(t)
	base := newBase(t)
	uid, gid := owner()
	if err := unix.Mount("none", base, "tmpfs", 0, fmt.Sprintf("size=64k,uid=%d,gid=%d,mode=700", uid, gid)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	defer unix.Unmount(base, unix.MNT_DETACH)
	store := newStore(t, nil)
	m := newMessage()
	m.Body = text(strings.Repeat("much text\n", 20000))
	for _, format := range []route.Format{route.Maildir, route.Mbox} {
		_, err := store.Deliver(t.Context(), newBox(base, fmt.Sprint("box", format), format), m)
		wantError(t, err, "4.3.0", true, "error writing message: No space left on device")
	}
	if diff := cmp.Diff(map[string]string{"box1": ""}, tree(t, base)); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
	if _, err := store.Deliver(t.Context(), newBox(base, "john", route.Maildir), newMessage()); err != nil {
		t.Errorf("a message that fits: %v", err)
	}
}

func TestMaildirConcurrent(t *testing.T) {
	base := newBase(t)
	store := newStore(t, nil)
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			m := newMessage()
			m.Index = n
			if _, err := store.Deliver(t.Context(), newBox(base, "example.org/john", route.Maildir), m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if files := tree(t, base); len(files) != 64 {
		t.Errorf("%d files, want 64", len(files))
	}
}

// TestMaildirRecreated: a Maildir that its owner moves away and makes anew
// between two deliveries gets the second one.
func TestMaildirRecreated(t *testing.T) {
	base := newBase(t)
	store := newStore(t, nil)
	box := newBox(base, "john", route.Maildir)
	for i, move := range []string{"", "away", "further"} {
		if move != "" {
			if err := os.Rename(base+"/john", base+"/"+move); err != nil {
				t.Fatal(err)
			}
		}
		m := newMessage()
		m.Index = i
		if _, err := store.Deliver(t.Context(), box, m); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for name := range tree(t, base) {
		got = append(got, name)
	}
	slices.Sort(got)
	id := "/new/1717423500.Q18D3A5F00C2R"
	want := []string{"away" + id + "0.mx.example", "further" + id + "1.mx.example", "john" + id + "2.mx.example"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
