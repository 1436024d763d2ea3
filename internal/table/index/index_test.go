package index_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/cdb"
	"postern/internal/table/index"
	"postern/internal/table/lmdb"
	"postern/internal/table/tabletest"
)

// formats are all there are.
func formats() []index.Format {
	return []index.Format{bdb.Hash(), bdb.Btree(), lmdb.Format(), cdb.Format()}
}

// eachFormat runs a test for every format.
func eachFormat(t *testing.T, f func(t *testing.T, format index.Format)) {
	for _, format := range formats() {
		t.Run(format.Type, func(t *testing.T) { f(t, format) })
	}
}

// recorder is a log, with the directory cut out of it.
type recorder struct {
	dir   string
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Infof(format string, args ...any) { r.add("info: " + fmt.Sprintf(format, args...)) }

func (r *recorder) Warningf(format string, args ...any) {
	r.add("warning: " + fmt.Sprintf(format, args...))
}

func (r *recorder) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, strings.ReplaceAll(line, r.dir+"/", ""))
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// world is a directory with a source text, its index, a clock and a log.
type world struct {
	*recorder
	t      *testing.T
	format index.Format
	path   string // of the source text
	now    time.Time
	opener *table.Opener
}

func newWorld(t *testing.T, format index.Format) *world {
	dir := t.TempDir()
	w := &world{recorder: &recorder{dir: dir}, t: t, format: format, path: dir + "/virtual", now: time.Now()}
	w.opener = &table.Opener{Types: map[string]table.Constructor{format.Type: index.New(format)}, Log: w.recorder,
		Autocompile: true, UTF8: true, Now: func() time.Time { return w.now }}
	return w
}

func (w *world) index() string { return w.path + w.format.Suffix }

func (w *world) builder() *index.Builder {
	return &index.Builder{Format: w.format, Name: w.format.Type + ":" + w.path, Path: w.path, Fold: true, UTF8: true, Log: w.recorder}
}

// source writes the source text, as if age ago.
func (w *world) source(text string, age time.Duration) {
	w.t.Helper()
	if err := os.WriteFile(w.path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.date(w.path, age)
}

func (w *world) date(name string, age time.Duration) {
	w.t.Helper()
	at := w.now.Add(-age)
	if err := os.Chtimes(name, at, at); err != nil {
		w.t.Fatal(err)
	}
}

// build builds the index, as if age ago.
func (w *world) build(age time.Duration) {
	w.t.Helper()
	if err := w.builder().Rebuild(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.date(w.index(), age)
}

func (w *world) open() table.Table {
	w.t.Helper()
	tab, err := w.opener.Open(w.t.Context(), w.format.Type+":"+w.path, table.Use{Fold: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.opener.Close() })
	return tab
}

// ask is the value under a key, or what is said instead.
func (w *world) ask(tab table.Table, key string) string {
	r, err := tab.Lookup(w.t.Context(), key)
	if err != nil {
		return strings.ReplaceAll(err.Error(), w.dir+"/", "")
	}
	return r.Value
}

func TestConformance(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		for _, from := range []string{"index", "text"} {
			t.Run(from, func(t *testing.T) {
				tabletest.Run(t, func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
					w := newWorld(t, format)
					var b strings.Builder
					for _, r := range rows {
						b.WriteString(r.Key + "\t" + r.Value + "\n")
					}
					w.source(b.String(), 0)
					if from == "index" {
						w.build(0)
						os.Remove(w.path)
					}
					tab, err := w.opener.Open(t.Context(), format.Type+":"+w.path, use)
					if err != nil {
						t.Fatal(err)
					}
					return tab
				})
			})
		}
	})
}

// TestWhoAnswers goes through the life of a table: who answers when, and what
// the log says of it.
func TestWhoAnswers(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		expect := func(tab table.Table, value string, log ...string) {
			t.Helper()
			w.now = w.now.Add(1500 * time.Millisecond)
			if got := w.ask(tab, "A@x.test"); got != value {
				t.Errorf("a@x.test = %q, want %q", got, value)
			}
			for i := range log {
				log[i] = strings.NewReplacer("TYPE", format.Type, "INDEX", "virtual"+format.Suffix).Replace(log[i])
			}
			if diff := cmp.Diff(log, w.take()); diff != "" {
				t.Errorf("log (-want +got)\n%s", diff)
			}
		}
		w.source("a@x.test one\n", time.Hour)
		tab := w.open()
		expect(tab, "one", `info: TYPE:virtual: open database INDEX: No such file or directory: the source text answers; run "postmap TYPE:virtual" (table_autocompile)`)
		w.build(30 * time.Minute)
		expect(tab, "one", "info: TYPE:virtual: INDEX is up to date and answers again")
		w.source("a@x.test two\n", 0)
		expect(tab, "two", `info: TYPE:virtual: virtual is newer than INDEX: the source text answers; run "postmap TYPE:virtual" (table_autocompile)`)
		expect(tab, "two")
		w.build(-time.Second)
		expect(tab, "two", "info: TYPE:virtual: INDEX is up to date and answers again")
		os.Remove(w.path)
		expect(tab, "two")
		os.Remove(w.index())
		expect(tab, "two", "warning: open database INDEX: No such file or directory; the file opened before stays in use")
		expect(tab, "two")
		w.source("a@x.test three\n", 0)
		expect(tab, "three", `info: TYPE:virtual: open database INDEX: No such file or directory: the source text answers; run "postmap TYPE:virtual" (table_autocompile)`)
	})
}

// TestUnsettledText holds that a text which is being written does not answer.
func TestUnsettledText(t *testing.T) {
	w := newWorld(t, bdb.Hash())
	w.source("a@x.test one\n", time.Hour)
	w.build(30 * time.Minute)
	tab := w.open()
	w.now = w.now.Add(10 * time.Second)
	w.source("a@x.test tw", 0)
	if got := w.ask(tab, "a@x.test"); got != "one" {
		t.Errorf("while the text is written: %q, want that of the index", got)
	}
	w.now = w.now.Add(2 * time.Second)
	if got := w.ask(tab, "a@x.test"); got != "tw" {
		t.Errorf("after the text stood still: %q, want its value", got)
	}
}

// TestTextStays holds that a text that answers goes on to do so while it is
// edited again, and while it is away for a moment: the index is older.
func TestTextStays(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		for _, withIndex := range []bool{true, false} {
			w := newWorld(t, format)
			if withIndex {
				w.source("a@x.test old\n", time.Hour)
				w.build(30 * time.Minute)
			}
			w.source("a@x.test one\nnew@x.test yes\n", time.Minute)
			tab := w.open()
			for step := range 20 { // somebody appends a row every 400 ms
				w.now = w.now.Add(400 * time.Millisecond)
				w.source("a@x.test one\nnew@x.test yes\n"+strings.Repeat("b@x.test c\n", step), 0)
				if got := w.ask(tab, "new@x.test"); got != "yes" {
					t.Fatalf("index %v, step %d: new@x.test = %q", withIndex, step, got)
				}
			}
			os.Remove(w.path)
			if !withIndex {
				for range 3 {
					w.now = w.now.Add(2 * time.Second)
					if got := w.ask(tab, "new@x.test"); got != "yes" {
						t.Errorf("without any file: new@x.test = %q", got)
					}
				}
			}
		}
	})
}

// TestRestlessText holds that a text which is written all the time counts at
// last.
func TestRestlessText(t *testing.T) {
	w := newWorld(t, bdb.Hash())
	w.source("a@x.test old\n", time.Hour)
	w.build(30 * time.Minute)
	tab := w.open()
	got := ""
	for step := range 20 {
		w.now = w.now.Add(400 * time.Millisecond)
		w.source("a@x.test new\n"+strings.Repeat("b@x.test c\n", step), 0)
		got = w.ask(tab, "a@x.test")
	}
	if got != "new" {
		t.Errorf("after 8 seconds of writing: %q, want the text's value", got)
	}
}

func TestIndexOnly(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		w.opener.Autocompile = false
		w.source("a@x.test one\n", 10*time.Minute)
		w.build(20 * time.Minute)
		tab := w.open()
		w.now = w.now.Add(2 * time.Second)
		if got := w.ask(tab, "a@x.test"); got != "one" {
			t.Errorf("a@x.test = %q", got)
		}
		want := []string{"warning: database virtual" + format.Suffix + " is older than source file virtual"}
		if diff := cmp.Diff(want, w.take()); diff != "" {
			t.Errorf("log (-want +got)\n%s", diff)
		}
		w.source("a@x.test two\n", 50*time.Second) // less than 100 s ago: nothing is said
		w.now = w.now.Add(2 * time.Second)
		if got := w.ask(tab, "a@x.test"); got != "one" || len(w.take()) > 0 {
			t.Errorf("a@x.test = %q", got)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		index := "virtual" + format.Suffix
		tests := []struct {
			name        string
			autocompile bool
			prepare     func(w *world)
			want        string
			log         string
		}{
			{"nothing", true, func(*world) {}, "open database " + index + ": No such file or directory; there is no source text virtual either", ""},
			{"index only", false, func(w *world) { w.source("a b\n", 0) }, "open database " + index + ": No such file or directory",
				`warning: there is no index of virtual: run "postmap TYPE:virtual" (table_autocompile = no)`},
			{"empty", true, func(w *world) { os.WriteFile(w.index(), nil, 0o644) }, "open database " + index + ": the index file is damaged: it is empty", ""},
			{"directory", true, func(w *world) { os.Mkdir(w.index(), 0o755) }, "open database " + index + ": not a regular file", ""},
		}
		for _, tt := range tests {
			w := newWorld(t, format)
			w.opener.Autocompile = tt.autocompile
			tt.prepare(w)
			tab, err := w.opener.Open(t.Context(), format.Type+":"+w.path, table.Use{Fold: true})
			if err == nil {
				t.Errorf("%s: no error", tt.name)
				continue
			}
			got := strings.ReplaceAll(err.Error(), w.dir+"/", "")
			if want := format.Type + ":virtual is unavailable. " + tt.want; got != want {
				t.Errorf("%s: %s\nwant %s", tt.name, got, want)
			}
			if _, err := tab.Lookup(t.Context(), "a"); err == nil || err == table.ErrNotFound {
				t.Errorf("%s: Lookup: %v, want a failure", tt.name, err)
			}
			if log := strings.Join(w.take(), "\n"); log != strings.ReplaceAll(tt.log, "TYPE", format.Type) {
				t.Errorf("%s: log %q, want %q", tt.name, log, tt.log)
			}
		}
	})
}

// TestDamagedLater holds that an index which is overwritten with rubbish makes
// lookups fail, and that it answers again when it is well.
func TestDamagedLater(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		w.source("a@x.test one\n", time.Hour)
		w.build(0)
		good, err := os.ReadFile(w.index())
		if err != nil {
			t.Fatal(err)
		}
		tab := w.open()
		for _, rubbish := range []string{"", "short", strings.Repeat("rubbish ", 4096)} {
			if err := os.WriteFile(w.index(), []byte(rubbish), 0o644); err != nil {
				t.Fatal(err)
			}
			w.now = w.now.Add(2 * time.Second)
			for range 2 {
				if got := w.ask(tab, "a@x.test"); !strings.Contains(got, "virtual"+format.Suffix) {
					t.Errorf("with %.10q for an index: %q, want an error that names it", rubbish, got)
				}
			}
			if err := os.WriteFile(w.index(), good, 0o644); err != nil {
				t.Fatal(err)
			}
			w.now = w.now.Add(2 * time.Second)
			if got := w.ask(tab, "a@x.test"); got != "one" {
				t.Errorf("well again: %q", got)
			}
		}
	})
}

func TestLocate(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		w.opener.Locate = true
		w.source("# comment\na@x.test one\nb@x.test two\n", time.Hour)
		w.build(0)
		w.source("# comment\na@x.test one\nb@x.test changed\n", time.Hour)
		tab := w.open()
		for key, want := range map[string]string{"A@x.test": "virtual:2", "b@x.test": "virtual" + format.Suffix} {
			r, err := tab.Lookup(t.Context(), key)
			if err != nil || len(r.At) != 1 || filepath.Base(r.At[0].String()) != want {
				t.Errorf("%s is written at %v, %v, want %s", key, r.At, err, want)
			}
		}
	})
}

// TestBareKeys reads files without NUL bytes behind keys, and such with them.
func TestBareKeys(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		for _, null := range []bool{true, false} {
			w := newWorld(t, format)
			w.source("a@x.test one\nb@x.test two\n", time.Hour)
			b := w.builder()
			b.Null = &null
			if err := b.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			tab := w.open()
			for _, key := range []string{"none@x.test", "a@x.test", "B@x.test", "a@x.test"} {
				want := map[string]string{"a@x.test": "one", "B@x.test": "two"}[key]
				r, err := tab.Lookup(t.Context(), key)
				if r.Value != want || want == "" && err != table.ErrNotFound {
					t.Errorf("NUL %v: %s = %q, %v, want %q", null, key, r.Value, err, want)
				}
			}
			if _, err := tab.Lookup(t.Context(), "a@x.test\x00"); err != table.ErrNotFound {
				t.Errorf("NUL %v: a key with a NUL byte: %v, want ErrNotFound", null, err)
			}
		}
	})
}

// TestRewritten asks while the index is written again and again: by us, who
// rename, and as Debian's postmap does it, in place under a lock. Every answer
// is that of some generation, and they never go back.
func TestRewritten(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		generation := func(n int) string {
			var b strings.Builder
			for i := range 2000 {
				fmt.Fprintf(&b, "user%d@x.test %d\n", i, n)
			}
			return b.String()
		}
		w.source(generation(0), time.Hour)
		w.build(0)
		images := [][]byte{}
		for n := range 12 {
			os.WriteFile(w.path, []byte(generation(n)), 0o644)
			if err := w.builder().Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			image, err := os.ReadFile(w.index())
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, image)
		}
		os.Remove(w.path)
		overwrite(t, w, images[0])
		tab := w.open()
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		for reader := range 3 {
			wait.Go(func() {
				last := 0
				for i := reader; ctx.Err() == nil; i++ {
					r, err := tab.Lookup(t.Context(), fmt.Sprintf("user%d@x.test", i%2000))
					var n int
					if _, serr := fmt.Sscan(r.Value, &n); err != nil || serr != nil || n < last {
						t.Errorf("user%d = %q, %v after generation %d", i%2000, r.Value, err, last)
						return
					}
					last = n
				}
			})
		}
		for n := 1; n < len(images); n++ {
			if n%2 == 0 || format.Lock == index.NoLock {
				if err := os.WriteFile(w.index()+".new", images[n], 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(w.index()+".new", w.index()); err != nil {
					t.Fatal(err)
				}
			} else {
				overwrite(t, w, images[n])
			}
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
		wait.Wait()
		w.now = w.now.Add(2 * time.Second)
		if got := w.ask(tab, "user7@x.test"); got != "11" {
			t.Errorf("in the end user7@x.test = %q, want 11", got)
		}
	})
}

// overwrite writes the index in place, slowly and under the lock of its format.
func overwrite(t *testing.T, w *world, image []byte) {
	t.Helper()
	file, err := os.OpenFile(w.index(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := w.format.Lock.Acquire(t.Context(), int(file.Fd()), true); err != nil {
		t.Fatal(err)
	}
	defer w.format.Lock.Release(int(file.Fd()))
	if err := file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(image); at += 16 << 10 {
		if _, err := file.WriteAt(image[at:min(len(image), at+16<<10)], int64(at)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestLockedForLong holds that a look-up does not wait longer than its context
// for another process to finish.
func TestLockedForLong(t *testing.T) {
	w := newWorld(t, bdb.Hash())
	w.source("a@x.test one\n", time.Hour)
	w.build(0)
	os.Remove(w.path)
	tab := w.open()
	file, err := os.OpenFile(w.index(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := w.format.Lock.Acquire(t.Context(), int(file.Fd()), true); err != nil {
		t.Fatal(err)
	}
	w.date(w.index(), -time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r, err := tab.Lookup(ctx, "a@x.test"); err == nil || err == table.ErrNotFound {
		t.Errorf("Lookup of a locked file = %q, %v, want a failure", r.Value, err)
	}
	w.format.Lock.Release(int(file.Fd()))
	if got := w.ask(tab, "a@x.test"); got != "one" {
		t.Errorf("after the lock was released: %q", got)
	}
}

// TestTruncated holds that the process survives a file that loses its pages
// between the question and the answer.
func TestTruncated(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		w.source("a@x.test one\n"+strings.Repeat("x", 1)+"@x.test two\n", time.Hour)
		w.build(0)
		os.Remove(w.path)
		tab := w.open()
		if err := os.Truncate(w.index(), 0); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(2 * time.Second)
		if got := w.ask(tab, "a@x.test"); !strings.Contains(got, "damaged") {
			t.Errorf("a@x.test = %q, want an error", got)
		}
	})
}
