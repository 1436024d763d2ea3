package lmdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"postern/internal/table/index"
	"postern/internal/table/lmdb"
)

// million is table rows as they are found in mail servers, in random order.
func million(sorted bool) *index.Records {
	const n = 1_000_000
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	if !sorted {
		rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	}
	var r index.Records
	for _, i := range numbers {
		r.Add(fmt.Appendf(nil, "user%07d@example%03d.test\x00", i, i%1000), fmt.Appendf(nil, "example%03d/user%07d/\x00", i%1000, i))
	}
	return &r
}

func BenchmarkWrite(b *testing.B) {
	for _, name := range []string{"sorted", "random"} {
		b.Run(name, func(b *testing.B) {
			r := million(name == "sorted")
			b.ReportAllocs()
			for b.Loop() {
				if err := lmdb.Format().Write(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	r := million(false)
	ordered := million(true)
	var file bytes.Buffer
	if err := lmdb.Format().Write(&file, r); err != nil {
		b.Fatal(err)
	}
	f, err := lmdb.Format().Open(file.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("found", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if v, err := f.Get(r.Key(i)); err != nil || len(v) != len(r.Value(i)) {
				b.Fatal(err)
			}
			if i++; i == r.Len() {
				i = 0
			}
		}
	})
	b.Run("sorted", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if v, err := f.Get(ordered.Key(i)); err != nil || len(v) != len(r.Value(i)) {
				b.Fatal(err)
			}
			if i++; i == r.Len() {
				i = 0
			}
		}
	})
	b.Run("none", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			k := r.Key(i)
			if _, err := f.Get(k[:len(k)-1]); !errors.Is(err, index.ErrNone) {
				b.Fatal(err)
			}
			if i++; i == r.Len() {
				i = 0
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for _, err := range f.All() {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != r.Len() {
				b.Fatal(n)
			}
		}
	})
}
