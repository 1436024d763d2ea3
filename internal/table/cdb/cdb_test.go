package cdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"postern/internal/table/cdb"
	"postern/internal/table/index"
)

// rows are records by key.
type rows map[string]string

// records puts rows in the order of their keys.
func (r rows) records() *index.Records {
	var out index.Records
	for _, k := range slices.Sorted(maps.Keys(r)) {
		out.Add([]byte(k), []byte(r[k]))
	}
	return &out
}

func build(t testing.TB, r *index.Records) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := cdb.Format().Write(&b, r); err != nil {
		t.Fatalf("writing %d records: %v", r.Len(), err)
	}
	return b.Bytes()
}

func open(t testing.TB, data []byte) index.Reader {
	t.Helper()
	f, err := cdb.Format().Open(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// compare asks a file for everything that is in it, and for neighbours of it.
func compare(t testing.TB, f index.Reader, want rows) {
	t.Helper()
	n := 0
	for r, err := range f.All() {
		if err != nil {
			t.Fatalf("All: %v", err)
		}
		if v, ok := want[string(r.Key)]; !ok || string(r.Value) != v {
			t.Fatalf("All: record %d is %.40q, %.40q", n, r.Key, r.Value)
		}
		n++
	}
	if n != len(want) {
		t.Fatalf("All: %d records, want %d", n, len(want))
	}
	for k, v := range want {
		if got, err := f.Get([]byte(k)); err != nil || string(got) != v {
			t.Fatalf("Get(%.40q) = %.40q, %v, want %.40q", k, got, err, v)
		}
		for _, other := range []string{k + "\x00", k + "~", "\x00" + k, k[:max(len(k)-1, 0)]} {
			if _, ok := want[other]; ok {
				continue
			}
			if got, err := f.Get([]byte(other)); !errors.Is(err, index.ErrNone) {
				t.Fatalf("Get(%.40q) = %.40q, %v, want none", other, got, err)
			}
		}
	}
}

// text is rows as postmap makes them.
func text(n int) rows {
	r := rows{}
	for i := range n {
		r[fmt.Sprintf("user%05d@example%d.test", i*7919%100000, i%10)] = fmt.Sprintf("mailbox%d/", i)
	}
	return r
}

// odd is rows that only programs make: any bytes, empty keys and values, NUL
// bytes, long keys and values, keys with the same hash.
func odd(rnd *rand.Rand, n int) rows {
	r := rows{"": "empty"}
	for range n {
		key, value := make([]byte, rnd.IntN(12)), make([]byte, rnd.IntN(30))
		switch rnd.IntN(40) {
		case 0:
			value = make([]byte, rnd.IntN(20_000))
		case 1:
			key = make([]byte, rnd.IntN(20_000))
		case 2:
			value = nil
		}
		for i := range key {
			key[i] = byte(rnd.Uint32()) & 0x83
		}
		for i := range value {
			value[i] = byte(rnd.Uint32())
		}
		r[string(key)] = string(value)
	}
	for _, pair := range sameHash {
		r[pair[0]] = "first"
		r[pair[1]] = "second"
	}
	return r
}

// sameHash are different keys with the same hash: 33·a ^ b of two bytes.
var sameHash = [][2]string{{"\x00\x21", "\x01\x00"}, {"x\x00\x21", "x\x01\x00"}, {"\x02\x00\x00", "\x02\x01\x21"}}

func TestFormat(t *testing.T) {
	f := cdb.Format()
	if f.Type != "cdb" || f.Suffix != ".cdb" || f.Null || f.Lock != index.NoLock || f.Incremental || f.MaxKey != 0 {
		t.Errorf("Format() = %+v", f)
	}
}

func TestRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 2, 50, 1000, 20_000} {
		t.Run(fmt.Sprint("text ", n), func(t *testing.T) {
			want := text(n)
			compare(t, open(t, build(t, want.records())), want)
		})
	}
	for _, n := range []int{0, 1, 10, 3000} {
		t.Run(fmt.Sprint("odd ", n), func(t *testing.T) {
			want := odd(rnd, n)
			compare(t, open(t, build(t, want.records())), want)
		})
	}
}

// All yields the records in the order in which they were added.
func TestOrder(t *testing.T) {
	var r index.Records
	keys := []string{"c", "a", "b", "", "aa"}
	for _, k := range keys {
		r.Add([]byte(k), nil)
	}
	var got []string
	for r := range open(t, build(t, &r)).All() {
		got = append(got, string(r.Key))
	}
	if !slices.Equal(got, keys) {
		t.Errorf("All: %q, want %q", got, keys)
	}
}

// A file of 4 GiB is not possible. What would be too long is known beforehand.
func TestFileSize(t *testing.T) {
	tests := []struct {
		records, bytes int
		want           uint64
	}{
		{0, 0, 2048},
		{1, 10, 2048 + 8 + 10 + 16},
		{1, 1<<32 - 1 - 2048 - 24, 1<<32 - 1},
		{1 << 28, 0, 2048 + 24<<28},
	}
	for _, tt := range tests {
		if got := cdb.FileSize(tt.records, tt.bytes); got != tt.want {
			t.Errorf("FileSize(%d, %d) = %d, want %d", tt.records, tt.bytes, got, tt.want)
		}
	}
	want := odd(rand.New(rand.NewPCG(1, 1)), 100)
	r := want.records()
	if got := uint64(len(build(t, r))); got != cdb.FileSize(r.Len(), r.Bytes()) {
		t.Errorf("a file of %d bytes, FileSize says %d", got, cdb.FileSize(r.Len(), r.Bytes()))
	}
}

// A full disk is reported, wherever it happens.
func TestWriteFails(t *testing.T) {
	r := text(40_000).records()
	for _, room := range []int{0, 1 << 20, 3 << 19} {
		w := limited(room)
		if err := cdb.Format().Write(&w, r); !errors.Is(err, errFull) {
			t.Errorf("room for %d bytes: error %v", room, err)
		}
	}
}

var errFull = errors.New("no space left on device")

type limited int

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > int(*l) {
		return 0, errFull
	}
	*l -= limited(len(b))
	return len(b), nil
}

func TestGetAllocatesNothing(t *testing.T) {
	f := open(t, build(t, text(1000).records()))
	for _, key := range []string{"user07919@example1.test", "nobody@example.test", "zzz"} {
		key := []byte(key)
		if n := testing.AllocsPerRun(100, func() { f.Get(key) }); n != 0 {
			t.Errorf("Get(%q): %v allocations", key, n)
		}
	}
}
