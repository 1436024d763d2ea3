package lmdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postern/internal/table/index"
	"postern/internal/table/lmdb"
)

// rows are records by key, the NUL bytes included.
type rows map[string]string

// records puts rows in an order that has nothing to do with their keys.
func (r rows) records(rnd *rand.Rand) *index.Records {
	keys := slices.Sorted(maps.Keys(r))
	rnd.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	var out index.Records
	for _, k := range keys {
		out.Add([]byte(k), []byte(r[k]))
	}
	return &out
}

func build(t testing.TB, r *index.Records, pageSize int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := lmdb.WritePages(&b, r, pageSize); err != nil {
		t.Fatalf("writing %d records: %v", r.Len(), err)
	}
	return b.Bytes()
}

func open(t testing.TB, data []byte) index.Reader {
	t.Helper()
	f, err := lmdb.Format().Open(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// compare asks a file for everything that is in it, and for neighbours of it.
func compare(t testing.TB, f index.Reader, want rows) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	n := 0
	for r, err := range f.All() {
		if err != nil {
			t.Fatalf("All: %v", err)
		}
		if n == len(keys) || string(r.Key) != keys[n] || string(r.Value) != want[keys[n]] {
			t.Fatalf("All: record %d is %.40q, %.40q", n, r.Key, r.Value)
		}
		n++
	}
	if n != len(keys) {
		t.Fatalf("All: %d records, want %d", n, len(keys))
	}
	for _, k := range keys {
		if got, err := f.Get([]byte(k)); err != nil || string(got) != want[k] {
			t.Fatalf("Get(%.40q) = %.40q, %v, want %.40q", k, got, err, want[k])
		}
		for _, other := range []string{k + "\x00", k + "~", k[:len(k)-1], "\x00" + k, k[:len(k)-1] + "\xff"} {
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
		r[fmt.Sprintf("user%05d@example%d.test\x00", i*7919%100000, i%10)] = fmt.Sprintf("mailbox%d/\x00", i)
	}
	return r
}

// odd is rows that only programs make: any bytes, empty values, NUL bytes,
// values on pages of their own, keys of every length.
func odd(rnd *rand.Rand, n, maxKey, maxValue int) rows {
	r := rows{}
	for range n {
		key, value := make([]byte, 1+rnd.IntN(maxKey)), make([]byte, rnd.IntN(30))
		switch rnd.IntN(20) {
		case 0:
			value = make([]byte, rnd.IntN(maxValue))
		case 1:
			value = nil
		}
		for i := range key {
			key[i] = byte(rnd.Uint32() >> (rnd.IntN(4) * 8) & 3 * 85)
		}
		for i := range value {
			value[i] = byte(rnd.Uint32())
		}
		r[string(key)] = string(value)
	}
	return r
}

func TestFormat(t *testing.T) {
	f := lmdb.Format()
	if f.Type != "lmdb" || f.Suffix != ".lmdb" || !f.Null || f.Lock != index.FcntlLock || !f.Incremental || f.MaxKey != 511 {
		t.Errorf("Format() = %+v", f)
	}
}

func TestRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 2, 50, 1000, 5000} {
		t.Run(fmt.Sprint("text ", n), func(t *testing.T) {
			want := text(n)
			compare(t, open(t, build(t, want.records(rnd), 4096)), want)
		})
	}
	for _, n := range []int{1, 2, 3, 10, 300, 3000} {
		t.Run(fmt.Sprint("odd ", n), func(t *testing.T) {
			want := odd(rnd, n, 511, 20_000)
			compare(t, open(t, build(t, want.records(rnd), 4096)), want)
		})
	}
	for size := 512; size <= 32768; size *= 2 {
		t.Run(fmt.Sprint("pages of ", size), func(t *testing.T) {
			want := odd(rnd, 1000, min(size/5, 511), 20_000)
			compare(t, open(t, build(t, want.records(rnd), size)), want)
		})
	}
}

// Branches need two pages below them, whatever the number of leaves is.
func TestBranches(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for n := 1; n < 400; n += 1 + n/20 {
		want := rows{}
		for i := range n {
			want[fmt.Sprintf("%0100d\x00", i)] = "value\x00"
		}
		data := build(t, want.records(rnd), 512)
		compare(t, open(t, data), want)
		for at := 0; at < len(data); at += 512 {
			if kind, lower := data[at+10], data[at+12]; kind == 1 && lower < 16+2*2 {
				t.Errorf("%d records: a branch with one child", n)
			}
		}
	}
}

// The order of the sort is the order of the bytes, also where the first bytes
// of keys are the same, and where one key begins the other.
func TestOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		want := rows{}
		for prefix := strings.Repeat("x", rnd.IntN(20)); len(want) < 1+rnd.IntN(40); {
			key := make([]byte, 1+rnd.IntN(20))
			for i := range key {
				key[i] = byte(rnd.IntN(3)) * 127
			}
			want[prefix+string(key)] = ""
		}
		compare(t, open(t, build(t, want.records(rnd), 4096)), want)
	}
}

func TestWriteErrors(t *testing.T) {
	tests := []struct {
		name string
		keys []string
		want string
	}{
		{"empty key", []string{"a", ""}, "MDB_BAD_VALSIZE"},
		{"long key", []string{strings.Repeat("k", 512)}, "MDB_BAD_VALSIZE"},
		{"same key", []string{"b", "a", "b"}, "MDB_KEYEXIST"},
	}
	for _, tt := range tests {
		var r index.Records
		for _, k := range tt.keys {
			r.Add([]byte(k), nil)
		}
		err := lmdb.Format().Write(&bytes.Buffer{}, &r)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %s", tt.name, err, tt.want)
		}
	}
}

// A full disk is reported, wherever it happens.
func TestWriteFails(t *testing.T) {
	r := text(30_000).records(rand.New(rand.NewPCG(1, 1)))
	for _, room := range []int{0, 1 << 20} {
		w := limited(room)
		if err := lmdb.Format().Write(&w, r); !errors.Is(err, errFull) {
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
	f := open(t, build(t, text(1000).records(rand.New(rand.NewPCG(1, 1))), 4096))
	for _, key := range []string{"user07919@example1.test\x00", "nobody@example.test\x00", "zzz"} {
		key := []byte(key)
		if n := testing.AllocsPerRun(100, func() { f.Get(key) }); n != 0 {
			t.Errorf("Get(%q): %v allocations", key, n)
		}
	}
}
