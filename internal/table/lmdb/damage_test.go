package lmdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"postern/internal/table/index"
	"postern/internal/table/lmdb"
)

// small is a file with three levels and a long value in 512-byte pages.
func small(t testing.TB) (rows, []byte) {
	want := rows{"long" + strings.Repeat("-", 60) + "\x00": strings.Repeat("long value ", 60) + "\x00"}
	for i := range 40 {
		want[fmt.Sprintf("user%02d%s@example.test\x00", i*37%100, strings.Repeat(".", 40))] = fmt.Sprintf("value %d\x00", i)
	}
	data := build(t, want.records(rand.New(rand.NewPCG(1, 1))), 512)
	compare(t, open(t, data), want)
	return want, data
}

// ask examines what a damaged file says. It may give errors, or what is right;
// hit says that the damage lies in the record with this key.
func ask(t *testing.T, data []byte, want rows, keys []string, hit func(key string) bool) (errs int) {
	t.Helper()
	f, err := lmdb.Format().Open(data)
	if err != nil {
		if !errors.Is(err, index.ErrDamaged) {
			t.Errorf("Open: %v", err)
		}
		return 1
	}
	for _, key := range keys {
		value, stored := want[key]
		got, err := f.Get([]byte(key))
		switch {
		case errors.Is(err, index.ErrDamaged):
			errs++
		case hit(key):
		case stored && (err != nil || string(got) != value):
			t.Errorf("Get(%q) = %q, %v, want %q", key, got, err, value)
		case !stored && !errors.Is(err, index.ErrNone):
			t.Errorf("Get(%q) = %q, %v, want none", key, got, err)
		}
	}
	seen := 0
	for r, err := range f.All() {
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) {
				t.Errorf("All: %v", err)
			}
			return errs + 1
		}
		if want[string(r.Key)] == string(r.Value) {
			seen++
		}
	}
	if lost := len(want) - seen; lost > 1 || lost == 1 && !slices.ContainsFunc(slices.Collect(maps.Keys(want)), hit) {
		t.Errorf("All: %d records of %d", seen, len(want))
	}
	return errs
}

// One changed byte leads to right answers and errors, except for the record
// whose key or value it belongs to: the format has no checksums.
func TestOneByteChanged(t *testing.T) {
	want, data := small(t)
	keys := slices.Sorted(maps.Keys(want))
	for _, k := range keys[:len(keys):len(keys)] {
		keys = append(keys, k[:len(k)-1]+"~~") // more than one byte away
	}
	keys = append(keys, "A", "zzz")
	rnd := rand.New(rand.NewPCG(9, 9))
	errs := 0
	for at := range data {
		changes := []byte{byte(1 + rnd.IntN(255))}
		if os.Getenv("POSTERN_SOAK") == "1" {
			changes = nil
			for change := 255; change > 0; change-- {
				changes = append(changes, byte(change))
			}
		}
		for _, change := range changes {
			var asked []string // some of the keys each time
			for i := (at + int(change)) % 5; i < len(keys); i += 5 {
				asked = append(asked, keys[i])
			}
			data[at] ^= change
			errs += ask(t, data, want, asked, func(key string) bool {
				return within(data, at, key, want[key], change)
			})
			data[at] ^= change
			if t.Failed() {
				t.Fatalf("byte %d of page %d changed by %#x", at%512, at/512, change)
			}
		}
	}
	if errs < len(data)/4 {
		t.Errorf("only %d errors", errs)
	}
}

// within says whether a byte belongs to a record: its lengths, its key, its value.
func within(data []byte, at int, key, value string, change byte) bool {
	data[at] ^= change
	defer func() { data[at] ^= change }()
	if value == "" {
		return false
	}
	for from := 0; ; {
		i := bytes.Index(data[from:], []byte(key))
		if i < 0 {
			break
		}
		i += from
		if page := i / 512 * 512; data[page+10] == 2 && i-8 <= at && at < i+len(key) {
			return true
		}
		from = i + 1
	}
	i := bytes.Index(data, []byte(value))
	return i >= 0 && i <= at && at < i+len(value)
}

// A file that ends too early.
func TestTruncated(t *testing.T) {
	want, data := small(t)
	keys := append(slices.Sorted(maps.Keys(want)), "A", "user50", "zzz")
	for n := range data {
		if ask(t, data[:n:n], want, keys, func(string) bool { return false }) == 0 {
			t.Errorf("cut after %d bytes of %d: no error", n, len(data))
		}
	}
}

// Much damage: no panic, and an end.
func TestNoise(t *testing.T) {
	_, data := small(t)
	for _, name := range golden {
		if g := read(t, name); len(g) < 50_000 {
			data = append(data, g...)
		}
	}
	rnd := rand.New(rand.NewPCG(2, 9))
	for range 3000 {
		begin := rnd.IntN(2) * 512 * 13
		b := bytes.Clone(data[begin:])
		for range 1 + rnd.IntN(20) {
			at := rnd.IntN(len(b)) &^ 1
			if rnd.IntN(2) == 0 {
				binary.LittleEndian.PutUint16(b[at:], uint16(rnd.IntN(4096)))
			} else {
				b[at] = byte(rnd.Uint32())
			}
		}
		exercise(t, b, []byte("user17"))
	}
}

// exercise asks a file that may be anything.
func exercise(t *testing.T, data, key []byte) {
	f, err := lmdb.Format().Open(data)
	if err != nil {
		if !errors.Is(err, index.ErrDamaged) {
			t.Errorf("Open: %v", err)
		}
		return
	}
	_, err = f.Get(key)
	if err != nil && !errors.Is(err, index.ErrDamaged) && !errors.Is(err, index.ErrNone) {
		t.Errorf("Get: %v", err)
	}
	var last []byte
	n := 0
	for r, err := range f.All() {
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) {
				t.Errorf("All: %v", err)
			}
			break
		}
		if n > 0 && bytes.Compare(last, r.Key) >= 0 {
			t.Errorf("All: %q after %q", r.Key, last)
		}
		last = r.Key
		if n++; n > len(data) {
			t.Fatal("All: more records than bytes")
		}
	}
}

// Files that are not damaged and not for us.
func TestAlien(t *testing.T) {
	_, data := small(t)
	both := func(at int, b ...byte) []byte {
		d := bytes.Clone(data)
		copy(d[at:], b)
		copy(d[512+at:], b)
		return d
	}
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "the index file is damaged: page 0: the file ends here"},
		{"text", bytes.Repeat([]byte("user@example.test x\n"), 50), "not an lmdb file: page 0 has the magic number 0xa782074, not 0xbeefc0de"},
		{"byte order", both(16, 0xbe, 0xef, 0xc0, 0xde), "this lmdb file is from a machine of the other byte order: make it again with postmap"},
		{"version", both(20, 2), "version 2 of the lmdb format, only 1 is known"},
		{"page size", both(40, 1, 2), "the index file is damaged: page 0: a page size of 513"},
		{"sorted duplicates", both(92, 4), "an lmdb database with several values to a key (MDB_DUPSORT), which Postfix does not use"},
		{"other flags", both(92, 2), "an lmdb database with the flags 0x2, which Postfix does not use"},
	}
	for _, tt := range tests {
		_, err := lmdb.Format().Open(tt.data)
		if err == nil || err.Error() != tt.want || !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%s: error %q, want %q", tt.name, err, tt.want)
		}
	}
	var r index.Records
	r.Add([]byte("k"), []byte("value"))
	data = build(t, &r, 4096)
	for flag, want := range map[byte]string{2: "named databases", 4: "several values", 8: "unknown flags"} {
		data[bytes.LastIndex(data, []byte("kvalue"))-4] = flag
		if _, err := open(t, data).Get([]byte("k")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("node with flag %d: error %v, want %q", flag, err, want)
		}
	}
}

func FuzzLMDB(f *testing.F) {
	_, data := small(f)
	f.Add(data, []byte("user17"))
	for _, name := range golden {
		if data := read(f, name); len(data) < 50_000 {
			f.Add(data, []byte("long\x00"))
		}
	}
	f.Fuzz(func(t *testing.T, data, key []byte) { exercise(t, data, key) })
}

// FuzzWrite takes its input for records: a length, that many bytes of key, a
// length, that many bytes of value.
func FuzzWrite(f *testing.F) {
	f.Add([]byte("\x01a\x01b\x02aa\x00\x03abc\x04long"))
	f.Add(bytes.Repeat([]byte("\x05abcde\xff"), 200))
	f.Fuzz(func(t *testing.T, data []byte) {
		want := rows{}
		var r index.Records
		take := func(unit int) string {
			n := min(int(data[0])*unit, len(data)-1)
			part := data[1 : 1+n]
			data = data[1+n:]
			return string(part)
		}
		for len(data) > 1 {
			key := take(1)
			value := ""
			if len(data) > 0 {
				value = take(16)
			}
			if _, ok := want[key]; !ok && key != "" {
				want[key] = value
				r.Add([]byte(key), []byte(value))
			}
		}
		compare(t, open(t, build(t, &r, 4096)), want)
	})
}
