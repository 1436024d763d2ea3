package table_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/table"
)

// page is a file of a test, its reader, and what was said.
type page struct {
	t    *testing.T
	w    *world
	path string
	file *table.File[string]
	n    int // how often it was parsed
}

func newPage(t *testing.T, text string) *page {
	t.Helper()
	p := &page{t: t, w: newWorld(t), path: filepath.Join(t.TempDir(), "page")}
	p.write(text, -time.Hour)
	file, err := table.OpenFile(p.w.Opener, p.path, func(data []byte) (string, error) {
		p.n++
		if text := string(data); text != "bad" {
			return text, nil
		}
		return "", errors.New("page, line 1: bad text")
	})
	if err != nil {
		t.Fatal(err)
	}
	p.file = file
	return p
}

// write replaces the file; its time is the clock's, moved by age.
func (p *page) write(text string, age time.Duration) {
	p.t.Helper()
	write(p.t, p.path, text)
	when := p.w.clock.Now().Add(age)
	if err := os.Chtimes(p.path, when, when); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) want(text string, parsed int) {
	p.t.Helper()
	if got := p.file.Content(); got != text || p.n != parsed {
		p.t.Errorf("content %q after %d readings, want %q after %d", got, p.n, text, parsed)
	}
}

func TestFileIsReadAgain(t *testing.T) {
	p := newPage(t, "one")
	p.want("one", 1)
	p.write("other", -time.Minute)
	p.want("one", 1) // not examined within the second
	p.w.clock.advance(time.Second)
	p.want("other", 2)
	p.w.clock.advance(time.Second)
	p.want("other", 2)
	if want := "info: " + p.path + " has changed and was read again"; p.w.log.text() != want {
		t.Errorf("log %q, want %q", p.w.log.text(), want)
	}
}

func TestFileStandsStill(t *testing.T) {
	p := newPage(t, "one")
	p.w.clock.advance(time.Second)
	p.write("half", -time.Millisecond)
	p.want("one", 1) // being written
	p.write("half and", 500*time.Millisecond)
	p.w.clock.advance(time.Second)
	p.want("one", 1) // still being written
	p.w.clock.advance(time.Second)
	p.want("half and", 2)

	p.write("from the future", time.Hour)
	p.w.clock.advance(time.Second)
	p.want("half and", 2)
	p.w.clock.advance(time.Second)
	p.want("from the future", 3) // it stood still, whatever its time says
}

func TestFileIsReplaced(t *testing.T) {
	p := newPage(t, "one")
	other := p.path + ".new"
	write(t, other, "two")
	when := p.w.clock.Now().Add(-time.Hour) // same size, same time, another inode
	if err := os.Chtimes(other, when, when); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, p.path); err != nil {
		t.Fatal(err)
	}
	p.w.clock.advance(time.Second)
	p.want("two", 2)
}

func TestFileVanishes(t *testing.T) {
	p := newPage(t, "one")
	if err := os.Remove(p.path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.w.clock.advance(time.Second)
		p.want("one", 1)
	}
	want := "warning: open " + p.path + ": No such file or directory; the content read before stays in use"
	if p.w.log.text() != want {
		t.Errorf("log %q, want %q once", p.w.log.text(), want)
	}
	p.write("back", -time.Hour)
	p.w.clock.advance(time.Second)
	p.want("back", 2)
}

func TestFileTurnsBad(t *testing.T) {
	p := newPage(t, "one")
	p.write("bad", -time.Hour+time.Minute)
	for range 3 {
		p.w.clock.advance(time.Second)
		p.want("one", 2)
	}
	if want := "warning: page, line 1: bad text; the content read before stays in use"; p.w.log.text() != want {
		t.Errorf("log %q, want %q once", p.w.log.text(), want)
	}
	p.write("good", -time.Minute)
	p.w.clock.advance(time.Second)
	p.want("good", 3)
}

func TestOpenFileErrors(t *testing.T) {
	keep := func(data []byte) (string, error) { return string(data), nil }
	dir := t.TempDir()
	_, err := table.OpenFile(&table.Opener{}, filepath.Join(dir, "none"), keep)
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasSuffix(err.Error(), "none: No such file or directory") {
		t.Errorf("OpenFile of no file: %v", err)
	}
	if _, err := table.OpenFile(&table.Opener{}, dir, keep); err == nil || !strings.Contains(err.Error(), "Is a directory") {
		t.Errorf("OpenFile of a directory: %v", err)
	}
	path := filepath.Join(dir, "x")
	write(t, path, "text")
	bad := errors.New("bad")
	if _, err := table.OpenFile(&table.Opener{}, path, func([]byte) (string, error) { return "", bad }); err != bad {
		t.Errorf("OpenFile of a bad file: %v", err)
	}
	f, err := table.OpenFile(&table.Opener{}, path, keep)
	if err != nil || f.Content() != "text" {
		t.Errorf("OpenFile = %v", err)
	}
	if _, err := os.Stat("/proc/self/status"); err == nil { // a file whose size says nothing
		f, err := table.OpenFile(&table.Opener{}, "/proc/self/status", keep)
		if err != nil || !strings.Contains(f.Content(), "Name:") {
			t.Errorf("OpenFile(/proc/self/status): %v", err)
		}
	}
}
