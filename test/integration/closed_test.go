package integration

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestClosedConfiguration: a configuration directory that mail_owner may not enter
// works: main.cf, tables of all kinds of files with an index and without, also when
// they are edited and compiled while the server runs.
func TestClosedConfiguration(t *testing.T) {
	mailOwner(t)
	w := newWorld(t, "")
	kinds := []string{"hash", "btree", "cdb", "lmdb", "texthash", "indexed"}
	var maps []string
	for _, kind := range kinds {
		w.write("etc/"+kind, kind+"@example.org "+kind+"/\n")
		maps = append(maps, strings.Replace(kind, "indexed", "hash", 1)+":{dir}/etc/"+kind)
	}
	w.write("etc/pcre", "/^pattern@/ john@example.org\n")
	w.write("etc/domains", "example.org\n")
	main := "virtual_mailbox_domains = {dir}/etc/domains\nvirtual_alias_maps = pcre:{dir}/etc/pcre\nvirtual_mailbox_maps = texthash:{dir}/etc/users " +
		strings.Join(maps, " ") + "\n"
	w.main(main)
	index := func(specs ...string) {
		t.Helper()
		for _, spec := range specs {
			if out, err := w.postern("postmap", w.fill(spec)); err != nil {
				t.Fatalf("postmap %s: %v\n%s", spec, err, out)
			}
		}
	}
	index("btree:{dir}/etc/btree", "cdb:{dir}/etc/cdb", "lmdb:{dir}/etc/lmdb", "hash:{dir}/etc/indexed")
	must(t, os.Chmod(w.path("etc"), 0o700))
	w.start()
	w.send("", "john@example.org", "pattern@example.org")
	w.arrived("john", 2)
	for _, kind := range kinds {
		w.send("", kind+"@example.org")
		w.arrived(kind, 1)
	}

	// The texts count when they are saved, and an index when it is made.
	for _, kind := range kinds {
		w.write("etc/"+kind, "new-"+kind+"@example.org "+kind+"/\n")
	}
	index("hash:{dir}/etc/indexed")
	for _, kind := range kinds {
		w.becomes("new-"+kind+"@example.org", "250")
		w.becomes(kind+"@example.org", "550")
	}

	// A reload reads main.cf there, with a table that it did not name before.
	w.write("etc/late", "late@example.org late/\n")
	w.main(strings.TrimSuffix(main, "\n") + " cdb:{dir}/etc/late\n")
	w.signal(syscall.SIGHUP)
	w.logged(`reload -- version`)
	w.becomes("late@example.org", "250")
	w.notLogged("denied|not allowed|error")
}
