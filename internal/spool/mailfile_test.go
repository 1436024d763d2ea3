package spool

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHostileOwner: whoever owns a Maildir can put anything in the place of a
// file that was delivered there. Looking after the delivery must neither wait
// for it nor fail over it: the owner has taken the mail away.
func TestHostileOwner(t *testing.T) {
	pipe := func(name string) error { return unix.Mkfifo(name, 0o600) }
	link := func(name string) error { return os.Symlink("elsewhere", name) }
	loop := func(name string) error { return os.Symlink(filepath.Base(name), name) }
	file := func(name string) error { return os.WriteFile(name, nil, 0o600) }
	for _, tt := range []struct {
		name string
		at   string // what is replaced, below the Maildir
		by   func(name string) error
	}{
		{"nothing", "new/1.Q1R0.mx", func(string) error { return nil }},
		{"pipe", "new/1.Q1R0.mx", pipe},
		{"link", "new/1.Q1R0.mx", link},
		{"link to itself", "new/1.Q1R0.mx", loop},
		{"directory", "new/1.Q1R0.mx", func(name string) error { return os.Mkdir(name, 0o700) }},
		{"pipe for cur", "cur", pipe},
		{"pipe for new", "new", pipe},
		{"link for new", "new", link},
		{"loop for new", "new", loop},
		{"file for cur", "cur", file},
		{"file for the Maildir", "", file},
		{"pipe for the Maildir", "", pipe},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "Maildir")
			for _, sub := range []string{"tmp", "new", "cur"} {
				if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.RemoveAll(filepath.Join(dir, tt.at)); err != nil {
				t.Fatal(err)
			}
			if err := tt.by(filepath.Join(dir, tt.at)); err != nil {
				t.Fatal(err)
			}
			a := &Applied{Path: filepath.Join(dir, "new/1.Q1R0.mx"), Length: 5, CRC: checksum([]byte("text\n"))}
			done := make(chan struct{})
			go func() {
				defer close(done)
				m := newMailfiles(osFS{})
				for _, rewrite := range []bool{false, true} {
					if err := m.secure(a, rewrite); err != nil {
						t.Errorf("secure(rewrite %v) = %v", rewrite, err)
					}
				}
				if m.whole(a) {
					t.Error("whole() = true")
				}
				if d, err := (osFS{}).OpenDevice(filepath.Dir(a.Path)); err == nil {
					d.Close()
				}
			}()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("still waiting for what the owner put there")
			}
		})
	}
}
