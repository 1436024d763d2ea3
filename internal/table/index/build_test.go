package index_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/cdb"
	"postern/internal/table/index"
	"postern/internal/table/lmdb"
)

// rows are all records of the index, read anew.
func (w *world) rows() map[string]string {
	w.t.Helper()
	o := &table.Opener{Types: map[string]table.Constructor{w.format.Type: index.New(w.format)}}
	defer o.Close()
	tab, err := o.Open(w.t.Context(), w.format.Type+":"+w.path, table.Use{})
	if err != nil {
		w.t.Fatal(err)
	}
	rows := make(map[string]string)
	for entry, err := range tab.(table.Enumerable).All(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		rows[entry.Key] = entry.Value
	}
	return rows
}

func (w *world) want(rows map[string]string, log ...string) {
	w.t.Helper()
	if diff := cmp.Diff(rows, w.rows()); diff != "" {
		w.t.Errorf("rows (-want +got)\n%s", diff)
	}
	for i := range log {
		log[i] = strings.NewReplacer("INDEX", "virtual"+w.format.Suffix, "TABLE", w.format.Type+":virtual").Replace(log[i])
	}
	if diff := cmp.Diff(log, w.take()); diff != "" {
		w.t.Errorf("log (-want +got)\n%s", diff)
	}
	files, err := filepath.Glob(w.dir + "/.virtual*")
	if err != nil || len(files) > 0 {
		w.t.Errorf("left behind: %v, %v", files, err)
	}
}

// duplicate is the warning of a type.
func (w *world) duplicate() string {
	switch w.format.Type {
	case "cdb":
		return `warning: virtual: duplicate entry: "b"`
	case "lmdb":
		return `warning: TABLE: duplicate entry: "b"`
	}
	return `warning: INDEX: duplicate entry: "b"`
}

func TestRebuild(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		w.source("A one\nb two\nno-value\nB three\n\"a b\" quoted  value\nc: colon\n", 0)
		for _, tt := range []struct {
			duplicates index.Duplicates
			b          string
			log        []string
		}{
			{index.KeepWarn, "two", []string{w.duplicate()}},
			{index.Keep, "two", nil},
			{index.Replace, "three", nil},
		} {
			b := w.builder()
			b.Duplicates = tt.duplicates
			if err := b.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			log := []string{"warning: virtual, line 3: expected format: key whitespace value"}
			log = append(log, tt.log...)
			log = append(log, `warning: virtual, line 6: record is in "key: value" format; is this an alias file?`)
			w.want(map[string]string{"a": "one", "b": tt.b, `"a b"`: "quoted  value", "c:": "colon"}, log...)
		}
		w.source("A one\na two\n", 0)
		b := w.builder()
		b.Fold = false
		if err := b.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.want(map[string]string{"A": "one", "a": "two"})
	})
}

func TestRebuildAlias(t *testing.T) {
	w := newWorld(t, bdb.Hash())
	w.source("Postmaster: root\n\"two words\": |cmd arg\nbroken\n", 0)
	b := w.builder()
	b.Alias = true
	b.Now = func() time.Time { return time.Unix(1234567890, 0) }
	b.Hostname = func() (string, error) { return "host.example", nil }
	if err := b.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want(map[string]string{"postmaster": "root", "two words": "|cmd arg", "@": "@", "YP_LAST_MODIFIED": "1234567890", "YP_MASTER_NAME": "host.example"},
		"warning: virtual, line 3: need name:value pair")
}

func TestRebuildFiles(t *testing.T) {
	w := newWorld(t, bdb.Hash())
	for name, content := range map[string]string{"one": "1\n", "two": "2"} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.source(fmt.Sprintf("a %s/one, %[1]s/two\nb %[1]s/none\n", w.dir), 0)
	b := w.builder()
	b.Files = true
	if err := b.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want(map[string]string{"a": base64.StdEncoding.EncodeToString([]byte("1\n\n2"))},
		"warning: virtual, line 2: open none: No such file or directory: skipping this entry")
}

func TestInsertAndDelete(t *testing.T) {
	for _, format := range []index.Format{bdb.Hash(), bdb.Btree(), lmdb.Format()} {
		t.Run(format.Type, func(t *testing.T) {
			w := newWorld(t, format)
			insert := func(text string, d index.Duplicates) {
				t.Helper()
				b := w.builder()
				b.Duplicates = d
				if err := b.Insert(t.Context(), strings.NewReader(text), "stdin"); err != nil {
					t.Fatal(err)
				}
			}
			insert("a one\nB two\n", index.KeepWarn) // there is no index yet
			w.want(map[string]string{"a": "one", "b": "two"})
			insert("b three\nc four\nbad\n", index.KeepWarn)
			w.want(map[string]string{"a": "one", "b": "two", "c": "four"}, "warning: stdin, line 3: expected format: key whitespace value", w.duplicate())
			insert("b three\n", index.Keep)
			w.want(map[string]string{"a": "one", "b": "two", "c": "four"})
			insert("b three\n", index.Replace)
			w.want(map[string]string{"a": "one", "b": "three", "c": "four"})
			n, err := w.builder().Delete(t.Context(), slices.Values([]string{"A", "none", "b"}))
			if n != 2 || err != nil {
				t.Errorf("Delete = %d, %v, want 2", n, err)
			}
			w.want(map[string]string{"c": "four"})
			before, _ := os.Stat(w.index())
			if n, err := w.builder().Delete(t.Context(), slices.Values([]string{"none"})); n != 0 || err != nil {
				t.Errorf("Delete of nothing = %d, %v", n, err)
			}
			if after, _ := os.Stat(w.index()); !os.SameFile(before, after) {
				t.Error("Delete of nothing wrote the file")
			}
		})
	}
	w := newWorld(t, cdb.Format())
	if err := w.builder().Insert(t.Context(), strings.NewReader("a b\n"), "stdin"); err == nil {
		t.Error("Insert into cdb succeeds")
	}
	if _, err := w.builder().Delete(t.Context(), slices.Values([]string{"a"})); err == nil {
		t.Error("Delete from cdb succeeds")
	}
}

// TestInsertTogether holds that builders that work at the same time lose
// nothing of each other, also when there is no file at first.
func TestInsertTogether(t *testing.T) {
	for _, format := range []index.Format{bdb.Hash(), lmdb.Format()} {
		w := newWorld(t, format)
		want := make(map[string]string)
		var wait sync.WaitGroup
		for i := range 8 {
			key := fmt.Sprintf("key%d", i)
			want[key] = "value"
			wait.Go(func() {
				if err := w.builder().Insert(t.Context(), strings.NewReader(key+" value\n"), "stdin"); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		w.want(want)
	}
}

// TestAttributes holds that a new index has the mode of its source, that a
// replaced one keeps mode and owner, and that a symbolic link stays one.
func TestAttributes(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		defer syscall.Umask(syscall.Umask(0o022))
		w := newWorld(t, format)
		expect := func(want os.FileMode) {
			t.Helper()
			info, err := os.Stat(w.index())
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("mode %v, %v, want %v", info.Mode(), err, want)
			}
		}
		for source, want := range map[os.FileMode]os.FileMode{0o600: 0o600, 0o640: 0o640, 0o666: 0o644, 0o755: 0o644} {
			os.Remove(w.index())
			w.source("a b\n", 0)
			os.Chmod(w.path, source)
			w.build(0)
			expect(want)
		}
		os.Chmod(w.path, 0o600)
		os.Remove(w.index())
		b := w.builder()
		b.NoMode = true
		if err := b.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(0o644)
		os.Chmod(w.index(), 0o660)
		owner := -1
		if os.Geteuid() == 0 {
			owner = 12345
			os.Chown(w.index(), owner, owner)
		}
		w.build(0)
		expect(0o660)
		var st syscall.Stat_t
		if err := syscall.Stat(w.index(), &st); err != nil || owner >= 0 && (int(st.Uid) != owner || int(st.Gid) != owner) {
			t.Errorf("owner %d:%d, %v, want %d", st.Uid, st.Gid, err, owner)
		}
		target := filepath.Join(t.TempDir(), "elsewhere")
		os.Rename(w.index(), target)
		os.Symlink(target, w.index())
		w.build(0)
		if link, err := os.Readlink(w.index()); err != nil || link != target {
			t.Errorf("the symbolic link is %q, %v", link, err)
		}
		expect(0o660)
	})
}

// needRoot skips what only root can show; where everything has to run, it fails.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("only root can become somebody else")
	}
	t.Skip("only root can become somebody else")
}

// TestEditedMeanwhile holds that a text that is edited while its index is built
// counts as newer than that.
func TestEditedMeanwhile(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		w.source("a one\n", time.Hour)
		b := w.builder()
		write := b.Format.Write
		b.Format.Write = func(out io.Writer, records *index.Records) error {
			w.source("a two\n", time.Minute)
			return write(out, records)
		}
		if err := b.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.ask(w.open(), "a"); got != "two" {
			t.Errorf("a = %q, want that of the text", got)
		}
	})
}

// TestBuildersTakeTurns holds that of two builders the one that read the text
// last has the last word.
func TestBuildersTakeTurns(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		w.source("a zero\n", 0)
		w.build(0)
		w.source("a one\n", 0)
		slow, second := w.builder(), make(chan error, 1)
		write := slow.Format.Write
		slow.Format.Write = func(out io.Writer, records *index.Records) error {
			w.source("a two\n", 0)
			go func() { second <- w.builder().Rebuild(t.Context()) }()
			time.Sleep(50 * time.Millisecond)
			return write(out, records)
		}
		if err := slow.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		w.want(map[string]string{"a": "two"})
	})
}

// TestForeignGroup holds that an index keeps a group that its builder is not in.
func TestForeignGroup(t *testing.T) {
	needRoot(t)
	w := newWorld(t, bdb.Hash())
	for dir := w.dir; strings.HasPrefix(dir, filepath.Clean(os.TempDir())+"/"); dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o777)
	}
	w.source("a one\n", 0)
	w.build(0)
	os.Chown(w.index(), 12345, 54321)
	os.Chmod(w.index(), 0o640)
	w.source("a two\n", 0)
	w.as(12345, func() { w.build(0) })
	w.want(map[string]string{"a": "two"})
	var st syscall.Stat_t
	if err := syscall.Stat(w.index(), &st); err != nil || st.Uid != 12345 || st.Gid != 54321 || st.Mode&0o777 != 0o640 {
		t.Errorf("owner %d:%d, mode %o, %v", st.Uid, st.Gid, st.Mode, err)
	}
}

// TestDiskFullInPlace holds that the old content is there when a new one cannot
// be written over it.
func TestDiskFullInPlace(t *testing.T) {
	w := newWorld(t, bdb.Hash())
	w.source("a one\n", 0)
	w.build(0)
	file, err := os.OpenFile(w.index(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var limit, low syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	low.Cur, low.Max = 20<<10, limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low); err != nil {
		t.Fatal(err)
	}
	records := new(index.Records)
	for i := range 5000 {
		records.Add(fmt.Appendf(nil, "key%d\x00", i), []byte("value\x00"))
	}
	err = w.builder().Overwrite(t.Context(), w.index(), int(file.Fd()), records)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EFBIG) {
		t.Errorf("overwrite beyond the limit: %v, want EFBIG", err)
	}
	w.want(map[string]string{"a": "one"})
}

// TestLeftovers holds that what a killed builder left is removed.
func TestLeftovers(t *testing.T) {
	w := newWorld(t, bdb.Hash())
	w.source("a one\n", 0)
	for _, name := range []string{"/.virtual.db.123", "/.virtual.db.keep"} {
		os.WriteFile(w.dir+name, nil, 0o600)
	}
	w.build(0)
	if _, err := os.Stat(w.dir + "/.virtual.db.123"); err == nil {
		t.Error("the leftover is there")
	}
	if _, err := os.Stat(w.dir + "/.virtual.db.keep"); err != nil {
		t.Error("another file was removed")
	}
}

// TestForeignDirectory holds that an index can be rebuilt by its owner in a
// directory that belongs to somebody else.
func TestForeignDirectory(t *testing.T) {
	needRoot(t)
	for _, format := range []index.Format{bdb.Hash(), bdb.Btree(), lmdb.Format()} {
		w := newWorld(t, format)
		for dir := w.dir; strings.HasPrefix(dir, filepath.Clean(os.TempDir())+"/"); dir = filepath.Dir(dir) {
			os.Chmod(dir, 0o755)
		}
		w.source("a one\n", 0)
		w.build(0)
		os.Chown(w.path, 12345, 12345)
		os.Chown(w.index(), 12345, 12345)
		w.source("a two\nb three\n", 0)
		tab := w.open()
		w.as(12345, func() { w.build(0) })
		w.want(map[string]string{"a": "two", "b": "three"})
		if got := w.ask(tab, "b"); got != "three" {
			t.Errorf("b = %q, want three", got)
		}
	}
}

// as does something with the rights of another user.
func (w *world) as(uid int, do func()) {
	w.t.Helper()
	if err := syscall.Seteuid(uid); err != nil {
		w.t.Fatal(err)
	}
	defer syscall.Seteuid(0)
	do()
}

// TestGivenUp holds that a build that is interrupted or fails leaves the old
// index and nothing else.
func TestGivenUp(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		w.source("a one\n", 0)
		w.build(0)
		w.source("a two\n", 0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.builder().Rebuild(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Rebuild with an ended context: %v", err)
		}
		w.want(map[string]string{"a": "one"})
		broken := w.builder()
		broken.Format.Write = func(io.Writer, *index.Records) error { return syscall.ENOSPC }
		if err := broken.Rebuild(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Rebuild on a full disk: %v", err)
		}
		w.want(map[string]string{"a": "one"})
		os.Remove(w.path)
		if err := w.builder().Rebuild(t.Context()); err == nil || !strings.Contains(err.Error(), "open "+w.path+": No such file or directory") {
			t.Errorf("Rebuild without a source: %v", err)
		}
		w.want(map[string]string{"a": "one"})
	})
}

// TestDamagedIsKept holds that an incremental update refuses a file that it
// cannot read, and that a whole build replaces it.
func TestDamagedIsKept(t *testing.T) {
	w := newWorld(t, bdb.Hash())
	os.WriteFile(w.index(), []byte(strings.Repeat("rubbish ", 1024)), 0o644)
	if err := w.builder().Insert(t.Context(), strings.NewReader("a b\n"), "stdin"); err == nil {
		t.Error("Insert into a damaged file succeeds")
	}
	w.source("a one\n", 0)
	w.build(0)
	w.want(map[string]string{"a": "one"})
}

func TestLongKey(t *testing.T) {
	w := newWorld(t, lmdb.Format())
	w.source("a one\n"+strings.Repeat("x", 511)+" long\n", 0)
	if err := w.builder().Rebuild(t.Context()); err == nil || !strings.Contains(err.Error(), "longer than 510 bytes") {
		t.Errorf("a key of 511 bytes: %v", err)
	}
}

// TestManyBatches lists more rows than fit into one batch.
func TestManyBatches(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newWorld(t, format)
		want := make(map[string]string)
		for i := range 2500 {
			want[fmt.Sprint("key", i)] = "v"
		}
		var b strings.Builder
		for _, key := range slices.Sorted(maps.Keys(want)) {
			b.WriteString(key + " v\n")
		}
		w.source(b.String(), 0)
		w.build(0)
		w.want(want)
	})
}
