package cdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"postern/internal/table/cdb"
	"postern/internal/table/index"
)

// small is a small file in which some hash tables have several records.
func small(t testing.TB) (rows, []byte) {
	want := rows{}
	for i := range 40 {
		want[fmt.Sprintf("user%02d@example.test", i*37%40)] = fmt.Sprintf("value %d", i)
	}
	return want, build(t, want.records())
}

// ask examines what a damaged file says. It may give errors, or what is right;
// hit says that the damage lies in the value of this key or in its length.
func ask(t *testing.T, data []byte, want rows, keys []string, hit func(key string) bool) (errs int) {
	t.Helper()
	f, err := cdb.Format().Open(data)
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
		case hit(key) && err == nil:
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
	if lost := len(want) - seen; lost > 1 {
		t.Errorf("All: %d records of %d", seen, len(want))
	}
	return errs
}

// One changed byte leads to right answers and errors, except where it lies in a
// value or in the length of one: the format has no checksums.
func TestOneByteChanged(t *testing.T) {
	want, data := small(t)
	keys := slices.Sorted(maps.Keys(want))
	for _, k := range keys[:len(keys):len(keys)] {
		keys = append(keys, k+"~", strings.ToUpper(k))
	}
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
				i := bytes.Index(data, []byte(key))
				length, value := i-4, i+len(key)
				return i >= 0 && (length <= at && at < i || value <= at && at < value+len(want[key]))
			})
			data[at] ^= change
			if t.Failed() {
				t.Fatalf("byte %d changed by %#x", at, change)
			}
		}
	}
	if errs < len(data)/4 {
		t.Errorf("only %d errors", errs)
	}
}

// A file that ends too early, and one with something behind its end.
func TestWrongLength(t *testing.T) {
	_, data := small(t)
	for n := range data {
		if _, err := cdb.Format().Open(data[:n:n]); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("cut after %d bytes of %d: error %v", n, len(data), err)
		}
	}
	if _, err := cdb.Format().Open(append(data, 0)); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("one byte more: error %v", err)
	}
}

// Much damage: no panic, and an end.
func TestNoise(t *testing.T) {
	_, data := small(t)
	rnd := rand.New(rand.NewPCG(2, 9))
	for range 5000 {
		b := bytes.Clone(data)
		for range 1 + rnd.IntN(20) {
			at := 2048 + rnd.IntN(len(b)-2048)
			b[at] = byte(rnd.Uint32()) >> rnd.IntN(8)
		}
		exercise(t, b, []byte("user17@example.test"))
	}
}

// exercise asks a file that may be anything.
func exercise(t *testing.T, data, key []byte) {
	f, err := cdb.Format().Open(data)
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
	n := 0
	for r, err := range f.All() {
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) {
				t.Errorf("All: %v", err)
			}
			break
		}
		f.Get(r.Key)
		if n++; n > len(data) {
			t.Fatal("All: more records than bytes")
		}
	}
}

// A full hash table, whose search would never end.
func TestFullTable(t *testing.T) {
	want := rows{"a": "1"}
	data := build(t, want.records())
	slots := data[len(data)-16:]
	if bytes.Equal(slots[:8], make([]byte, 8)) {
		copy(slots, slots[8:])
	} else {
		copy(slots[8:], slots)
	}
	f := open(t, data)
	if v, err := f.Get([]byte("a")); err != nil || string(v) != "1" {
		t.Errorf("Get(a) = %q, %v", v, err)
	}
	key := []byte("a") // the other key is in the same table, h*33 ^ b a multiple of 256 away
	for b := range 1 << 16 {
		k := []byte{byte(b >> 8), byte(b), key[0]}
		if _, err := f.Get(k); errors.Is(err, index.ErrDamaged) {
			return
		}
	}
	t.Error("no key was found to be in a full table")
}

// A file of another kind.
func TestAlien(t *testing.T) {
	for _, data := range [][]byte{nil, []byte("text"), bytes.Repeat([]byte("user@example.test x\n"), 500), bytes.Repeat([]byte{0}, 5000)} {
		if _, err := cdb.Format().Open(data); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("Open(%.20q): %v", data, err)
		}
	}
}

func FuzzCDB(f *testing.F) {
	_, data := small(f)
	f.Add(data, []byte("user17@example.test"))
	f.Add(build(f, odd(rand.New(rand.NewPCG(1, 1)), 10).records()), []byte("\x00"))
	f.Add(read(f, "three"), []byte("john@example.test"))
	f.Add(read(f, "empty"), []byte("a"))
	f.Fuzz(func(t *testing.T, data, key []byte) { exercise(t, data, key) })
}

// FuzzWrite takes its input for records: a length, that many bytes of key, a
// length, that many bytes of value.
func FuzzWrite(f *testing.F) {
	f.Add([]byte("\x01a\x01b\x02aa\x00\x03abc\x04long\x00"))
	f.Add(bytes.Repeat([]byte("\x05abcde\xff"), 200))
	f.Fuzz(func(t *testing.T, data []byte) {
		want := rows{}
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
			want[key] = value
		}
		compare(t, open(t, build(t, want.records())), want)
	})
}
