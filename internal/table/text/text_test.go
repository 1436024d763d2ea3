package text_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/table"
	"postern/internal/table/tabletest"
	"postern/internal/table/text"
)

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// opener knows the types of this package, and keeps warnings in log.
func opener(log *[]string) *table.Opener {
	return &table.Opener{
		Types: map[string]table.Constructor{"hash": text.Indexed("hash"), "texthash": text.TextHash},
		Log:   recorder{log},
	}
}

type recorder struct{ lines *[]string }

func (r recorder) Infof(string, ...any) {}

func (r recorder) Warningf(format string, args ...any) {
	if r.lines != nil {
		*r.lines = append(*r.lines, fmt.Sprintf(format, args...))
	}
}

func TestConformance(t *testing.T) {
	tabletest.Run(t, func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		path := filepath.Join(t.TempDir(), "rows")
		var b strings.Builder
		for _, row := range rows {
			fmt.Fprintf(&b, "%s %s\n", row.Key, row.Value)
		}
		write(t, path, b.String())
		tab, err := opener(nil).Open(t.Context(), "hash:"+path, use)
		if err != nil {
			t.Fatal(err)
		}
		return tab
	})
}

func TestConformanceAlias(t *testing.T) {
	suite := tabletest.Suite{Stored: []string{"postmaster", "two words", "owner-list", "x"}, Absent: []string{"post", "root", "two"}}
	suite.Open = func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		path := filepath.Join(t.TempDir(), "aliases")
		var b strings.Builder
		for _, row := range rows {
			fmt.Fprintf(&b, "%q: %s\n", row.Key, row.Value)
		}
		write(t, path, b.String())
		use.AliasSyntax = true
		tab, err := opener(nil).Open(t.Context(), "texthash:"+path, use)
		if err != nil {
			t.Fatal(err)
		}
		return tab
	}
	suite.Run(t)
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	tab, err := opener(nil).Open(t.Context(), "hash:"+dir+"/none", table.Use{})
	want := "hash:" + dir + "/none is unavailable. open " + dir + "/none: No such file or directory"
	if err == nil || err.Error() != want {
		t.Errorf("Open: %v, want %s", err, want)
	}
	if _, err := tab.Lookup(t.Context(), "a"); err == nil || err.Error() != want {
		t.Errorf("Lookup: %v, want %s", err, want)
	}
}

func TestRelativeNames(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "virtual"), "a@b.test x\n")
	o := opener(nil)
	o.Dir, o.RelativeNames = dir, true
	tab, err := o.Open(t.Context(), "hash:virtual", table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := tab.Lookup(t.Context(), "a@b.test")
	if err != nil || got.At[0].File != filepath.Join(dir, "virtual") || tab.Name() != "hash:virtual" {
		t.Errorf("Lookup = %+v, %v in %s", got, err, tab.Name())
	}
}

func TestStrictDuplicates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	write(t, path, "a one\n\nA two\n")
	var log []string
	o := opener(&log)
	for _, spec := range []string{"texthash:", "hash:"} {
		tab, err := o.Open(t.Context(), spec+path, table.Use{Fold: true})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tab.Lookup(t.Context(), "a"); err != nil || got.Value != "one" {
			t.Errorf("%s: Lookup(a) = %q, %v, want the first row", spec, got.Value, err)
		}
	}
	complaint := path + `, line 3: duplicate entry: "A"`
	if got := strings.Join(log, "\n"); got != complaint {
		t.Errorf("log %q, want %q once for both tables", got, complaint)
	}
	o = opener(&log)
	o.StrictDuplicates = true
	if _, err := o.Open(t.Context(), "texthash:"+path, table.Use{Fold: true}); err == nil || !strings.HasSuffix(err.Error(), complaint) {
		t.Errorf("texthash with strict duplicates: %v, want %s", err, complaint)
	}
	if _, err := o.Open(t.Context(), "texthash:"+path, table.Use{}); err != nil {
		t.Errorf("texthash without folding has no duplicate, but: %v", err)
	}
	if _, err := o.Open(t.Context(), "hash:"+path, table.Use{Fold: true}); err != nil {
		t.Errorf("hash with strict duplicates: %v", err)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	write(t, path, strings.Repeat("novalue\n", 1000))
	var log []string
	if _, err := opener(&log).Open(t.Context(), "hash:"+path, table.Use{}); err != nil {
		t.Fatal(err)
	}
	if last := log[len(log)-1]; len(log) != 51 || last != path+": 950 more warnings" {
		t.Errorf("%d lines of log, the last is %q", len(log), last)
	}
}

// A table in use follows its file, and many may ask it meanwhile.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	now := time.Unix(1700000000, 0)
	var mu sync.Mutex
	o := opener(nil)
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
	version := func(value string, age time.Duration) {
		t.Helper()
		write(t, path+".new", "a "+value+"\n")
		when := time.Unix(1600000000, 0).Add(age)
		if err := errors.Join(os.Chtimes(path+".new", when, when), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	version("0", 0)
	tab, err := o.Open(t.Context(), "hash:"+path, table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 200 {
				if _, err := tab.Lookup(t.Context(), "a"); err != nil {
					t.Errorf("Lookup: %v", err)
					return
				}
			}
		})
	}
	for i := 1; i <= 20; i++ {
		version(fmt.Sprint(i), time.Duration(i)*time.Minute)
	}
	wait.Wait()
	if got, err := tab.Lookup(t.Context(), "a"); err != nil || got.Value != "20" {
		t.Errorf("Lookup = %q, %v, want the last version", got.Value, err)
	}
}

// million is a table of a million rows.
func million() []byte {
	var b strings.Builder
	for i := range 1000000 {
		fmt.Fprintf(&b, "user%d@domain%d.example\tdomain%d.example/user%d/\n", i, i%1000, i%1000, i)
	}
	return []byte(b.String())
}

func BenchmarkParseMillion(b *testing.B) {
	data := million()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		c, err := text.Parse("rows", bytes.Clone(data), text.Options{Fold: true, UTF8: true})
		if err != nil || c.Len() != 1000000 {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	path := filepath.Join(b.TempDir(), "rows")
	if err := os.WriteFile(path, million(), 0o644); err != nil {
		b.Fatal(err)
	}
	tab, err := opener(nil).Open(b.Context(), "hash:"+path, table.Use{Fold: true})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tab.Lookup(b.Context(), "user500000@domain0.example"); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTextHashOfAliases: Postfix reads a texthash: in alias_maps like any other, so
// that its rows have no colon; a file in the form of aliases(5) works as well.
func TestTextHashOfAliases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aliases")
	write(t, path, "root john\nhelp: jack, jill\nspaced : x\n\"two words\": y\nweb \"|/bin/program -a:b\"\nstaff  :Include:/lists/staff\nclose:x\nrun:\"|/bin/p a\", bob\nkeep:/var/mail/box, bob\nin::include:/l, bob\n")
	tab, err := opener(nil).Open(t.Context(), "texthash:"+path, table.Use{Fold: true, AliasSyntax: true})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"root": "john", "help": "jack, jill", "spaced": "x", "two words": "y", "web": `"|/bin/program -a:b"`,
		"staff": ":Include:/lists/staff", "close": "x", "run": `"|/bin/p a", bob`, "keep": "/var/mail/box, bob", "in": ":include:/l, bob"} {
		if got, err := tab.Lookup(t.Context(), key); err != nil || strings.TrimSpace(got.Value) != want {
			t.Errorf("Lookup(%s) = %q, %v, want %q", key, got.Value, err, want)
		}
	}
}
