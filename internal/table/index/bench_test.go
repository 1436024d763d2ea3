package index_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"postern/internal/table"
	"postern/internal/table/index"
)

// BenchmarkLookup asks a table of a hundred thousand rows.
func BenchmarkLookup(b *testing.B) {
	const rows = 100_000
	var text strings.Builder
	for i := range rows {
		fmt.Fprintf(&text, "user%d@x.test value%d\n", i, i)
	}
	for _, format := range formats() {
		path := b.TempDir() + "/rows"
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			b.Fatal(err)
		}
		builder := &index.Builder{Format: format, Name: format.Type + ":" + path, Path: path}
		if err := builder.Rebuild(b.Context()); err != nil {
			b.Fatal(err)
		}
		o := &table.Opener{Types: map[string]table.Constructor{format.Type: index.New(format)}, Autocompile: true}
		defer o.Close()
		tab, err := o.Open(b.Context(), format.Type+":"+path, table.Use{Fold: true})
		if err != nil {
			b.Fatal(err)
		}
		keys := make([]string, 1000)
		for i := range keys {
			keys[i] = fmt.Sprintf("user%d@x.test", i*7919%rows)
		}
		b.Run(format.Type, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := tab.Lookup(b.Context(), keys[i%len(keys)]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(format.Type+"/parallel", func(b *testing.B) {
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := tab.Lookup(b.Context(), keys[i%len(keys)]); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
