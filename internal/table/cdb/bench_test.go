package cdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"postern/internal/table/cdb"
	"postern/internal/table/index"
)

// million is table rows as they are found in mail servers, in random order.
func million() *index.Records {
	const n = 1_000_000
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	var r index.Records
	for _, i := range numbers {
		r.Add(fmt.Appendf(nil, "user%07d@example%03d.test", i, i%997), fmt.Appendf(nil, "example%03d/user%07d/", i%997, i))
	}
	return &r
}

func BenchmarkWrite(b *testing.B) {
	r := million()
	b.ReportAllocs()
	for b.Loop() {
		if err := cdb.Format().Write(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	r := million()
	var file bytes.Buffer
	if err := cdb.Format().Write(&file, r); err != nil {
		b.Fatal(err)
	}
	f, err := cdb.Format().Open(file.Bytes())
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
	b.Run("none", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			k := r.Key(i)
			k[0] = 't' // in the hash tables that are in use
			_, err := f.Get(k)
			k[0] = 'u'
			if !errors.Is(err, index.ErrNone) {
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
