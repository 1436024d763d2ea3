package addresses_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/check/addresses"
	"postern/internal/check/inventory"
	"postern/internal/finding"
)

// large is a configuration with 100 mailboxes and 50 aliases in each domain, every
// tenth alias leading outside. With a catch-all, every mailbox has an alias to itself.
func large(t testing.TB, domains int, catchAll bool) *inventory.Inventory {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, lines func(w *bufio.Writer)) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w := bufio.NewWriter(f)
		lines(w)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	write("main.cf", func(w *bufio.Writer) {
		fmt.Fprintf(w, "virtual_mailbox_domains = texthash:%[1]s/domains\nvirtual_mailbox_maps = texthash:%[1]s/boxes\n"+
			"virtual_alias_maps = texthash:%[1]s/virtual\nrecipient_delimiter = +\n%[2]s", dir, tail)
	})
	write("domains", func(w *bufio.Writer) {
		for d := range domains {
			fmt.Fprintf(w, "d%d.example x\n", d)
		}
	})
	write("boxes", func(w *bufio.Writer) {
		for d := range domains {
			for u := range 100 {
				fmt.Fprintf(w, "user%d@d%d.example d%[2]d/user%[1]d/\n", u, d)
			}
		}
	})
	write("virtual", func(w *bufio.Writer) {
		for d := range domains {
			for a := range 50 {
				to := fmt.Sprintf("user%d@d%d.example", a, d)
				if a%10 == 0 {
					to = fmt.Sprintf("%s, x%d@elsewhere.test", to, a)
				}
				fmt.Fprintf(w, "alias%d@d%d.example %s\n", a, d, to)
			}
			if !catchAll {
				continue
			}
			fmt.Fprintf(w, "@d%d.example user0@d%[1]d.example\n", d)
			for u := range 100 {
				fmt.Fprintf(w, "user%d@d%d.example user%[1]d@d%[2]d.example\n", u, d)
			}
		}
	})
	return openDir(t, dir)
}

func BenchmarkExamine(b *testing.B) {
	for _, catchAll := range []bool{false, true} {
		b.Run(fmt.Sprintf("catchall=%v", catchAll), func(b *testing.B) {
			i := large(b, 1000, catchAll)
			for range i.Addresses(context.Background()) {
				break // what is read, is read once
			}
			b.ResetTimer()
			for b.Loop() {
				errors := 0
				addresses.Examine(context.Background(), i, func(f finding.Finding) {
					if f.Severity == finding.Error {
						errors++
					}
				})
				if errors > 0 {
					b.Fatal("there is nothing wrong")
				}
			}
		})
	}
}
