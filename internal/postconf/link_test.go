package postconf

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLinkStays holds that the file behind a symbolic link is edited.
func TestLinkStays(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "real"), filepath.Join(dir, "main.cf")
	if err := os.WriteFile(target, []byte("a = b\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	err := replaceFile(t.Context(), link, func(old string) (string, error) { return old + "c = d\n", nil })
	if err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != target {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if text, err := os.ReadFile(target); err != nil || string(text) != "a = b\nc = d\n" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}
