package bdb

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"postern/internal/table/index"
)

// million is a million records, sorted or not, and the files made of them.
var million = sync.OnceValue(func() (m struct {
	records map[string]*index.Records
	files   map[string][]byte
	keys    [][]byte
}) {
	m.records = map[string]*index.Records{"sorted": {}, "random": {}}
	m.files = make(map[string][]byte)
	random := rand.New(rand.NewPCG(5, 6)).Perm(1e6)
	for i := range 1000000 {
		for order, n := range map[string]int{"sorted": i, "random": random[i]} {
			key := fmt.Appendf(nil, "user%07d@example%02d.test\x00", n, n%97)
			m.records[order].Add(key, fmt.Appendf(nil, "user%07d/maildir-of-it/\x00", n))
			if order == "random" {
				m.keys = append(m.keys, key)
			}
		}
	}
	for _, format := range formats {
		var b bytes.Buffer
		if err := format.Write(&b, m.records["random"]); err != nil {
			panic(err)
		}
		m.files[format.Type] = b.Bytes()
	}
	return m
})

func BenchmarkGet(b *testing.B) {
	for _, format := range formats {
		r := opened(b, format, million().files[format.Type])
		keys := million().keys
		absent := make([][]byte, len(keys))
		for i, key := range keys {
			absent[i] = bytes.Replace(key, []byte("@"), []byte("+x@"), 1)
		}
		get := func(keys [][]byte, want error) func(b *testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, err := r.Get(keys[i%len(keys)]); err != want {
						b.Fatal(err)
					}
				}
			}
		}
		b.Run(format.Type+"/all", get(keys, nil))
		b.Run(format.Type+"/few", get(keys[:100], nil))
		b.Run(format.Type+"/absent", get(absent, index.ErrNone))
	}
}

func BenchmarkAll(b *testing.B) {
	for _, format := range formats {
		b.Run(format.Type, func(b *testing.B) {
			for b.Loop() {
				for _, err := range opened(b, format, million().files[format.Type]).All() {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, format := range formats {
		for _, order := range []string{"sorted", "random"} {
			b.Run(format.Type+"/"+order, func(b *testing.B) {
				records := million().records[order]
				b.SetBytes(int64(len(million().files[format.Type])))
				for b.Loop() {
					if err := format.Write(io.Discard, records); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
