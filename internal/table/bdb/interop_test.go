package bdb

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/table/index"
)

// What we write is what libdb reads, in our order.
func TestWriteForLibdb(t *testing.T) {
	need(t, "db5.3_verify", "db5.3_dump")
	sets := map[string][]pair{
		"none": nil, "one": numbered(1), "two": numbered(2), "full leaf": numbered(70), "many": numbered(1000),
		"long": lengthy(), "binary": binaryPairs(1000), "separators": longCommon(),
	}
	for name, pairs := range sets {
		for _, format := range formats {
			for _, size := range []int{512, 4096, 65536} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, format.Type, size), func(t *testing.T) {
					t.Parallel()
					path := filepath.Join(t.TempDir(), "x.db")
					if err := os.WriteFile(path, writeSize(t, format.Type, pairs, size), 0o600); err != nil {
						t.Fatal(err)
					}
					run(t, "", "db5.3_verify", "-q", path)
					r := opened(t, format, read(t, path))
					holds(t, r, pairs)
					if got, want := all(t, r), dumped(t, path); !slices.Equal(got, want) {
						t.Errorf("All differs from db5.3_dump: %d records and %d", len(got), len(want))
					}
				})
			}
		}
	}
}

// longCommon is keys that differ in their last bytes only, so that whatever tells
// them apart is as long as they are.
func longCommon() []pair {
	var pairs []pair
	for i := range 100 {
		pairs = append(pairs, pair{strings.Repeat("common", 250) + fmt.Sprintf("%03d\x00", i), "v\x00"})
	}
	return pairs
}

// What libdb writes we read: pages of all sizes, in both byte orders.
func TestReadOfLibdb(t *testing.T) {
	need(t, "db5.3_load", "db5.3_dump")
	pairs := slices.Concat(lengthy(), numbered(300), binaryPairs(100)[1:])
	for _, format := range formats {
		for size := 512; size <= 65536; size *= 2 {
			for _, order := range []string{"1234", "4321"} {
				t.Run(fmt.Sprintf("%s/%d/%s", format.Type, size, order), func(t *testing.T) {
					t.Parallel()
					path := filepath.Join(t.TempDir(), "x.db")
					run(t, dump(format.Type, pairs), "db5.3_load", "-c", fmt.Sprintf("db_pagesize=%d", size), "-c", "db_lorder="+order, path)
					r := opened(t, format, read(t, path))
					holds(t, r, pairs)
					if got, want := all(t, r), dumped(t, path); !slices.Equal(got, want) {
						t.Errorf("All differs from db5.3_dump: %d records and %d", len(got), len(want))
					}
				})
			}
		}
	}
}

// shown is records as postmap -s shows them.
func shown(pairs []pair) string {
	var b strings.Builder
	for _, p := range pairs {
		fmt.Fprintf(&b, "%s\t%s\n", strings.TrimSuffix(p.key, "\x00"), strings.TrimSuffix(p.value, "\x00"))
	}
	return b.String()
}

// lines is records as postmap takes them from a text.
func lines(pairs []pair) string { return strings.ReplaceAll(shown(pairs), "\t", " ") }

// keys is keys as postmap takes them for -q - and -d -.
func keys(pairs []pair) string {
	var b strings.Builder
	for _, p := range pairs {
		b.WriteString(strings.TrimSuffix(p.key, "\x00") + "\n")
	}
	return b.String()
}

// Postfix reads our files, adds to them and deletes from them; libdb finds nothing wrong
// with the result, and so do we.
func TestWithPostmap(t *testing.T) {
	need(t, "postmap", "db5.3_verify", "db5.3_dump")
	for _, format := range formats {
		for _, n := range []int{0, 1, 1000} {
			t.Run(fmt.Sprintf("%s/%d", format.Type, n), func(t *testing.T) {
				t.Parallel()
				dir := postfixDir(t)
				name := format.Type + ":" + filepath.Join(dir, "x")
				path := filepath.Join(dir, "x.db")
				pairs := numbered(n + 1000)
				if err := os.WriteFile(path, writeSize(t, format.Type, pairs[:n], pageSize), 0o600); err != nil {
					t.Fatal(err)
				}
				content := make(map[string]string)
				add := func(pairs []pair) {
					for _, p := range pairs {
						content[p.key] = p.value
					}
				}
				check := func(what string) {
					t.Helper()
					run(t, "", "db5.3_verify", "-q", path)
					r := opened(t, format, read(t, path))
					var want []pair
					for key, value := range content {
						want = append(want, pair{key, value})
					}
					holds(t, r, want)
					if got, want := shown(all(t, r)), run(t, "", "postmap", "-c", dir, "-s", name); got != want {
						t.Errorf("%s: All differs from postmap -s", what)
					}
				}
				add(pairs[:n])
				check("written")
				if n > 0 {
					if got, want := run(t, keys(pairs[:n]), "postmap", "-c", dir, "-q", "-", name), shown(pairs[:n]); got != want {
						t.Errorf("postmap -q finds %d bytes, want %d", len(got), len(want))
					}
				}
				long := []pair{{"large\x00", strings.Repeat("x", 20000) + "\x00"}, {strings.Repeat("k", 1500) + "\x00", "v\x00"}}
				add(pairs[n:])
				add(long)
				run(t, lines(slices.Concat(pairs[n:], long)), "postmap", "-c", dir, "-i", name)
				check("added")
				gone := slices.Concat(pairs[:len(pairs)*3/4], long[:1])
				maps.DeleteFunc(content, func(key, _ string) bool {
					return slices.ContainsFunc(gone, func(p pair) bool { return p.key == key })
				})
				run(t, keys(gone), "postmap", "-c", dir, "-d", "-", name)
				check("deleted")
			})
		}
	}
}

// Files that are refused, and why.
func TestRefused(t *testing.T) {
	need(t, "db5.3_load")
	load := func(t *testing.T, format string, options ...string) []byte {
		path := filepath.Join(t.TempDir(), "x.db")
		var args []string
		for _, o := range options {
			args = append(args, "-c", o)
		}
		input := dump(format, []pair{{"k", "v"}})
		if format == "queue" { // of records of one length, without keys
			input = "VERSION=3\nformat=bytevalue\ntype=queue\nre_len=4\nHEADER=END\n 61626364\nDATA=END\n"
		}
		run(t, input, "db5.3_load", append(args, path)...)
		return read(t, path)
	}
	tests := []struct {
		name    string
		data    []byte
		format  index.Format
		want    string
		damaged bool
	}{
		{"btree as hash", load(t, "btree"), Hash(), "the file is a Berkeley DB btree, not a hash", false},
		{"hash as btree", load(t, "hash"), Btree(), "the file is a Berkeley DB hash, not a btree", false},
		{"duplicates", load(t, "hash", "duplicates=1"), Hash(), "duplicate keys", false},
		{"sorted duplicates", load(t, "btree", "duplicates=1", "dupsort=1"), Btree(), "duplicate keys", false},
		{"checksums", load(t, "hash", "chksum=1"), Hash(), "checksums", false},
		{"several", load(t, "btree", "subdatabase=a"), Btree(), "several databases", false},
		{"empty", nil, Hash(), "empty", true},
		{"short", []byte("short"), Btree(), "5 bytes", true},
		{"queue", load(t, "queue"), Hash(), "the file is a Berkeley DB queue, not a hash", false},
		{"1.85", append([]byte{0, 6, 0x15, 0x61}, make([]byte, 8192)...), Hash(), "1.85", false},
		{"text", []byte(strings.Repeat("user@example.test x\n", 100)), Hash(), "is not a Berkeley DB hash", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.format.Open(tt.data)
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, index.ErrDamaged) != tt.damaged {
				t.Errorf("Open: %v, want %q", err, tt.want)
			}
		})
	}
}
