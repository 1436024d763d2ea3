package privsep

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// confinedDir names, in the process that TestConfine starts, where it may write.
const confinedDir = "POSTERN_TEST_CONFINED"

// TestConfine gives up rights in a process of its own and sees what is left.
func TestConfine(t *testing.T) {
	if dir := os.Getenv(confinedDir); dir != "" {
		insideConfined(t, dir)
		return
	}
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/queue", 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestConfine$", "-test.v")
	cmd.Env = append(os.Environ(), confinedDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip("this kernel has no Landlock")
	}
}

func insideConfined(t *testing.T, dir string) {
	queue, outside := dir+"/queue", dir+"/outside"
	if _, err := Confine(dir + "/missing"); err == nil {
		t.Error("Confine to a directory that is not there = nil")
	}
	level, err := Confine(queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(level)
	if n, _, errno := unix.Syscall6(unix.SYS_PRCTL, unix.PR_GET_DUMPABLE, 0, 0, 0, 0, 0); errno != 0 || n != 0 {
		t.Errorf("dumpable is %d, %v", n, errno)
	}
	version, err := ll.LandlockGetABIVersion()
	if err != nil || version < 1 {
		t.Skip(level)
	}
	if err := errors.Join(os.WriteFile(queue+"/a", []byte("x"), 0o600), os.Rename(queue+"/a", queue+"/b"), os.Remove(queue+"/b"),
		os.WriteFile(os.DevNull, []byte("x"), 0)); err != nil {
		t.Errorf("inside: %v", err)
	}
	if _, err := os.ReadFile("/etc/passwd"); err != nil {
		t.Errorf("reading: %v", err)
	}
	for what, err := range map[string]error{
		"make a file":      os.WriteFile(outside, nil, 0o600),
		"make a directory": os.Mkdir(outside, 0o700),
		"remove":           os.Remove(queue),
		"make a pipe":      unix.Mkfifo(outside, 0o600),
		"make a link":      os.Symlink("/etc/passwd", outside),
		"run a program":    exec.Command("/bin/true").Run(),
	} {
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s outside = %v, want permission denied", what, err)
		}
	}
	// All threads are meant, also those that were there before.
	done := make(chan error)
	for range 8 {
		go func() { done <- os.WriteFile(outside, nil, 0o600) }()
	}
	for range 8 {
		if err := <-done; !errors.Is(err, os.ErrPermission) {
			t.Errorf("another goroutine: %v", err)
		}
	}
}

func TestReach(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "reach")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	closed, inside := filepath.Join(dir, "closed"), filepath.Join(dir, "closed/in/side")
	if err := errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(inside, 0o755), os.Chmod(closed, 0o700)); err != nil {
		t.Fatal(err)
	}
	id := Identity{UID: 4711, GID: 4711}
	var denied *Denied
	if err := Reach(New(), id, inside); !errors.As(err, &denied) || denied.Dir != closed || denied.UID != 0 || denied.Mode.Perm() != 0o700 {
		t.Fatalf("Reach(%s) = %v, want %s to deny it", inside, err, closed)
	}
	if !errors.Is(denied, os.ErrPermission) {
		t.Errorf("%v is not a denied permission", denied)
	}
	if err := os.Chmod(closed, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := Reach(New(), id, inside); err != nil {
		t.Errorf("Reach(%s) = %v", inside, err)
	}
	for _, name := range []string{inside + "/missing", "relative"} {
		if err := Reach(New(), id, name); err == nil {
			t.Errorf("Reach(%s) = nil", name)
		}
	}
}

func TestLookupUser(t *testing.T) {
	if _, err := LookupUser("root"); !errors.Is(err, ErrRoot) {
		t.Errorf("LookupUser(root) = %v, want %v", err, ErrRoot)
	}
	if _, err := LookupUser("no-such-user-here"); err == nil {
		t.Error("LookupUser of nobody = nil")
	}
	id, err := LookupUser("nobody")
	if err != nil || id.UID <= 0 || id.GID <= 0 {
		t.Errorf("LookupUser(nobody) = %+v, %v", id, err)
	}
	for _, g := range id.Groups {
		if g <= 0 {
			t.Errorf("group %d of nobody", g)
		}
	}
	if gid, err := LookupGroup("root"); err != nil || gid != 0 {
		t.Errorf("LookupGroup(root) = %d, %v", gid, err)
	}
	if _, err := LookupGroup("no-such-group-here"); err == nil {
		t.Error("LookupGroup of none = nil")
	}
}
