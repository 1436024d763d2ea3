package table_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
)

func TestDrafts(t *testing.T) {
	var none *table.Drafts
	if got := none.File("/etc/x"); got != "/etc/x" || none.Unread() != nil || none.Names() != nil {
		t.Errorf("no drafts: %q, unread %v", got, none.Unread())
	}
	if table.NewDrafts(nil) != nil {
		t.Error("drafts of nothing are something")
	}
	d := table.NewDrafts(map[string]string{"/etc/b": "/tmp/b", "/etc/a": "/tmp/a", "/tmp/b": "/tmp/c"})
	if diff := cmp.Diff([]string{"/etc/a", "/etc/b", "/tmp/b"}, d.Unread()); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{"/etc//b": "/tmp/b", "/etc/c": "/etc/c", "b": "b"} {
		if got := d.File(name); got != want {
			t.Errorf("File(%q) = %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff([]string{"/etc/a", "/tmp/b"}, d.Unread()); diff != "" {
		t.Error(diff)
	}
}

// TestListDraft is a list in a file, and its draft.
func TestListDraft(t *testing.T) {
	dir := t.TempDir()
	file, draft := filepath.Join(dir, "domains"), filepath.Join(dir, "new")
	for name, text := range map[string]string{file: "one.test\n", draft: "one.test\ntwo.test\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := &table.Opener{Replace: table.NewDrafts(map[string]string{file: draft})}
	list, err := o.List(context.Background(), file, table.StringList, false, table.Use{Parameter: "mydestination"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := list.Match(context.Background(), "two.test", nil)
	if err != nil || len(m.At) == 0 || m.At[0].File != draft || m.At[0].Line != 2 {
		t.Errorf("match %+v, %v", m, err)
	}
	if unread := o.Replace.Unread(); len(unread) > 0 {
		t.Errorf("unread %v", unread)
	}
}
