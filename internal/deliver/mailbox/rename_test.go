package mailbox

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"postern/internal/route"
)

// TestLink is the way into new/ without RENAME_NOREPLACE.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"tmp/a", "tmp/b", "new/b"} {
		put(t, filepath.Join(dir, name), name)
	}
	d := maildir{store: newStore(t, nil), box: &route.Mailbox{Path: dir}}
	for sub, fd := range map[string]*int{"/tmp": &d.tmp, "/new": &d.new} {
		var err error
		if *fd, err = openBase(dir + sub); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(*fd)
	}
	if err := d.link("a", "c"); err != nil {
		t.Errorf("link to a free name = %v", err)
	}
	if err := d.link("b", "b"); err != unix.EEXIST {
		t.Errorf("link over a file = %v, want %v", err, unix.EEXIST)
	}
	want := map[string]string{"new/b": "new/b", "new/c": "tmp/a", "tmp/b": "tmp/b"}
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
