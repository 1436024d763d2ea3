package bdb

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/table/index"
)

var update = flag.Bool("update", false, "make testdata anew with Debian's postmap and db5.3_load (as root)")

// golden is files that others wrote; beside each lies what postmap -s says of it.
var golden = []struct {
	name string
	make func(t *testing.T, dir, format string) // makes dir/x.db
}{
	{"empty", func(t *testing.T, dir, format string) { postmap(t, dir, format, nil) }},
	{"three", func(t *testing.T, dir, format string) { postmap(t, dir, format, numbered(3)) }},
	{"long", func(t *testing.T, dir, format string) {
		postmap(t, dir, format, []pair{
			{"three\x00", strings.Repeat("a", 3000) + "\x00"}, {"twenty\x00", strings.Repeat("b", 20000) + "\x00"},
			{strings.Repeat("k", 1500) + "\x00", "long key\x00"}, {"short\x00", "x\x00"},
		})
	}},
	{"many", func(t *testing.T, dir, format string) { postmap(t, dir, format, numbered(2000)) }},
	{"deleted", func(t *testing.T, dir, format string) {
		pairs := numbered(600)
		postmap(t, dir, format, pairs)
		run(t, keys(pairs[:450]), "postmap", "-c", dir, "-d", "-", format+":"+dir+"/x")
		run(t, lines(pairs[:20]), "postmap", "-c", dir, "-i", format+":"+dir+"/x")
	}},
	{"alias", func(t *testing.T, dir, format string) {
		text := "postmaster: root\nroot: john@example.test\nteam: a@example.test, b@example.test\n"
		if err := os.WriteFile(dir+"/x", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		// The name of the host becomes part of the file.
		run(t, "", "unshare", "--uts", "sh", "-c", "hostname mail.example.test; postalias -c "+dir+" "+format+":"+dir+"/x")
	}},
	{"big-endian", func(t *testing.T, dir, format string) {
		pairs := append(numbered(60), pair{"long\x00", strings.Repeat("c", 2000) + "\x00"}, pair{strings.Repeat("key", 100) + "\x00", "v\x00"})
		run(t, dump(format, pairs), "db5.3_load", "-c", "db_pagesize=512", "-c", "db_lorder=4321", dir+"/x.db")
	}},
}

func postmap(t *testing.T, dir, format string, pairs []pair) {
	t.Helper()
	if err := os.WriteFile(dir+"/x", []byte(lines(pairs)), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "", "postmap", "-c", dir, format+":"+dir+"/x")
}

func TestGolden(t *testing.T) {
	for _, format := range formats {
		for _, g := range golden {
			t.Run(format.Type+"/"+g.name, func(t *testing.T) {
				path := filepath.Join("testdata", g.name+"."+format.Type)
				if *update {
					dir := postfixDir(t)
					g.make(t, dir, format.Type)
					// postmap -s of a file without records fails.
					text, _ := exec.Command("postmap", "-c", dir, "-s", format.Type+":"+dir+"/x").Output()
					for name, data := range map[string][]byte{path: read(t, dir+"/x.db"), path + ".txt": text} {
						if err := os.WriteFile(name, data, 0o644); err != nil {
							t.Fatal(err)
						}
					}
				}
				r := opened(t, format, read(t, path))
				pairs := all(t, r)
				if got, want := shown(pairs), string(read(t, path+".txt")); got != want {
					t.Errorf("%s holds\n%.200s\nwant\n%.200s", path, got, want)
				}
				holds(t, r, pairs)
			})
		}
	}
}

// What postalias stores has its marks without NULs, and everything else with.
func TestGoldenAlias(t *testing.T) {
	for _, format := range formats {
		pairs := all(t, opened(t, format, read(t, "testdata/alias."+format.Type)))
		var names []string
		for _, p := range pairs {
			names = append(names, p.key)
		}
		slices.Sort(names)
		want := []string{"@\x00", "YP_LAST_MODIFIED", "YP_MASTER_NAME", "postmaster\x00", "root\x00", "team\x00"}
		if !slices.Equal(names, want) {
			t.Errorf("%s: %q, want %q", format.Type, names, want)
		}
	}
}

// The same key twice is an error, where it is not found by a glance too.
func TestTwice(t *testing.T) {
	for _, format := range formats {
		for _, key := range []string{"", "a\x00", "12345678", "a long key of many bytes\x00"} {
			pairs := append(numbered(500), pair{key, "v"}, pair{"zz", "v"}, pair{key, "v"})
			err := format.Write(&discard{}, recordsOf(pairs))
			if want := fmt.Sprintf("the key %q is there twice", key); err == nil || err.Error() != want {
				t.Errorf("%s: Write: %v, want %s", format.Type, err, want)
			}
		}
	}
}

// discard counts how often it is written to.
type discard struct{ writes, bytes int }

func (d *discard) Write(b []byte) (int, error) {
	d.writes++
	d.bytes += len(b)
	return len(b), nil
}

// An error of the writer is the error of Write, and there are few, large writes.
func TestWriteErrors(t *testing.T) {
	for _, format := range formats {
		var d discard
		if err := format.Write(&d, recordsOf(numbered(20000))); err != nil || d.writes > 10 || d.bytes%pageSize != 0 {
			t.Errorf("%s: %d bytes in %d writes, %v", format.Type, d.bytes, d.writes, err)
		}
		if err := format.Write(full{}, &index.Records{}); err != errFull {
			t.Errorf("%s: %v, want %v", format.Type, err, errFull)
		}
	}
}

type full struct{}

var errFull = fmt.Errorf("the disk is full")

func (full) Write([]byte) (int, error) { return 0, errFull }
