package tabletest

import (
	"os"
	"testing"

	"postern/internal/privsep"
)

// nobody is a user whom files of a test do not belong to.
var nobody = privsep.Identity{UID: 65534, GID: 65534}

// Closed makes a directory that its user may not enter, mode 0700, and a helper
// that may, for table.Opener.Helper. as calls f as that user.
func Closed(t *testing.T) (dir string, helper func(name string) (*os.File, error), as func(f func())) {
	t.Helper()
	dir = t.TempDir() + "/closed"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 { // who owns it may open and close it
		return dir, func(name string) (*os.File, error) { return opened(dir, name) }, func(f func()) { shut(t, dir, f) }
	}
	type answer struct {
		file *os.File
		err  error
	}
	helper = func(name string) (*os.File, error) {
		c := make(chan answer)
		go func() { // on a thread that is root
			file, err := os.Open(name)
			c <- answer{file, err}
		}()
		a := <-c
		return a.file, a.err
	}
	return dir, helper, func(f func()) {
		t.Helper()
		err := privsep.New().Do(nobody, func() error { f(); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// opened opens a file of a directory that is shut.
func opened(dir, name string) (*os.File, error) {
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.Open(name)
	if back := os.Chmod(dir, 0); back != nil {
		return nil, back
	}
	return file, err
}

// shut calls f while nobody may enter the directory.
func shut(t *testing.T, dir string, f func()) {
	t.Helper()
	defer os.Chmod(dir, 0o700)
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	f()
}
