package bdb

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"postern/internal/table/index"
)

// readAnything reads a file that may hold anything.
func readAnything(t *testing.T, format index.Format, data []byte) {
	r, err := format.Open(data)
	if err != nil {
		return
	}
	n := 0
	for record, err := range r.All() {
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) {
				t.Fatal(err)
			}
			break
		}
		if n++; n > len(data) {
			t.Fatal("more records than bytes")
		}
		key, value := bytes.Clone(record.Key), bytes.Clone(record.Value)
		if n > 100 {
			continue
		}
		if got, err := r.Get(key); !bytes.Equal(got, value) && !errors.Is(err, index.ErrDamaged) && err != index.ErrNone {
			t.Fatalf("Get(%q) = %q, %v; All has %q", key, got, err, value)
		}
	}
	for _, key := range []string{"", "a", "user0001@example1.test\x00", "long\x00", strings.Repeat("key", 50) + "\x00"} {
		if _, err := r.Get([]byte(key)); err != nil && err != index.ErrNone && !errors.Is(err, index.ErrDamaged) {
			t.Fatal(err)
		}
	}
}

// fuzz reads the data as a file if there is as much as a page of it, and otherwise as
// changes to a good one: two bytes say where, one says what.
func fuzz(f *testing.F, format index.Format) {
	for _, name := range []string{"empty", "three", "big-endian"} {
		data, err := os.ReadFile("testdata/" + name + "." + format.Type)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	good := writeSize(f, format.Type, small(), 512)
	f.Add(good)
	f.Add([]byte{0, 20, 4, 0, 72, 9})
	f.Add([]byte{2, 16, 3, 2, 26, 255, 4, 22, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= metaSize {
			readAnything(t, format, data)
			return
		}
		changed := bytes.Clone(good)
		for ; len(data) >= 3; data = data[3:] {
			changed[(int(data[0])<<8|int(data[1]))%len(changed)] = data[2]
		}
		readAnything(t, format, changed)
	})
}

func FuzzHash(f *testing.F) { fuzz(f, Hash()) }

func FuzzBtree(f *testing.F) { fuzz(f, Btree()) }

// What is written is what is read.
func FuzzWrite(f *testing.F) {
	f.Add("", byte(0))
	f.Add("key\nvalue\nother\nvalue\n\nempty", byte(1))
	f.Add(strings.Repeat("k", 600)+"\n"+strings.Repeat("v", 5000)+"\nk\n\n", byte(0))
	f.Add(shown(numbered(50)), byte(0))
	f.Fuzz(func(t *testing.T, text string, size byte) {
		texts := strings.FieldsFunc(text, func(r rune) bool { return r == '\t' || r == '\n' })
		want := make(map[string]bool)
		var pairs []pair
		for i := 0; i+1 < len(texts); i += 2 {
			if !want[texts[i]] {
				want[texts[i]] = true
				pairs = append(pairs, pair{texts[i], texts[i+1]})
			}
		}
		for _, format := range formats {
			data := writeSize(t, format.Type, pairs, 512<<(size%8))
			holds(t, opened(t, format, data), pairs)
		}
	})
}
