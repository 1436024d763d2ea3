package table_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/table"
	"postern/internal/table/tabletest"
)

// TestClosedFile: a file in a directory that this process may not enter is read,
// and read again, by the helper.
func TestClosedFile(t *testing.T) {
	dir, helper, as := tabletest.Closed(t)
	p := &page{t: t, w: newWorld(t), path: filepath.Join(dir, "page")}
	p.w.Opener.Helper = helper
	want := func(text string, parsed int) {
		t.Helper()
		p.w.clock.advance(2 * time.Second)
		as(func() { p.want(text, parsed) })
	}
	p.write("one", -time.Hour)
	as(func() {
		var err error
		p.file, err = table.OpenFile(p.w.Opener, p.path, func(data []byte) (string, error) { p.n++; return string(data), nil })
		if err != nil {
			t.Fatal(err)
		}
	})
	want("one", 1)
	p.write("other", -time.Minute)
	want("other", 2)
	if err := os.Remove(p.path); err != nil {
		t.Fatal(err)
	}
	want("other", 2)
	if got, want := p.w.log.text(), "info: "+p.path+" has changed and was read again\nwarning: open "+p.path+
		": No such file or directory; the content read before stays in use"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
}

// TestHelperErrors: that there is no file only the helper can know; why the
// process may not is its own to say.
func TestHelperErrors(t *testing.T) {
	dir, helper, as := tabletest.Closed(t)
	name := filepath.Join(dir, "file")
	refuse := func(string) (*os.File, error) { return nil, errors.New("refused") }
	as(func() {
		for _, tt := range []struct {
			helper func(string) (*os.File, error)
			want   error
		}{{helper, fs.ErrNotExist}, {refuse, fs.ErrPermission}, {nil, fs.ErrPermission}} {
			o := &table.Opener{Helper: tt.helper}
			if _, err := o.OpenFile(name); !errors.Is(err, tt.want) {
				t.Errorf("OpenFile: %v, want %v", err, tt.want)
			}
			if _, err := o.Stat(name); !errors.Is(err, tt.want) {
				t.Errorf("Stat: %v, want %v", err, tt.want)
			}
		}
	})
}
