package access_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/address"
)

// BenchmarkRefused is what an unknown recipient costs, with mailboxes and aliases in
// text tables: most of what a server on the network is asked.
func BenchmarkRefused(b *testing.B) {
	dir := b.TempDir()
	for _, name := range []string{"users", "lists"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("one@mbox.test x\n"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	w := newWorld(b, strings.ReplaceAll("virtual_mailbox_maps = hash:DIR/users\nvirtual_alias_maps = hash:DIR/lists\n"+
		"transport_maps = inline:{elsewhere.test=smtp:[127.0.0.1]:25}\n", "DIR", dir))
	r := request("nobody@mbox.test")
	b.ReportAllocs()
	for b.Loop() {
		r.Recipient = address.Split("nobody@mbox.test")
		if v := w.policy.Rcpt(b.Context(), r, nil); v.Reply.Code != 550 {
			b.Fatal(v)
		}
	}
}
