package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite"
)

// host is a large one.
type host struct{ domains, mailboxes, aliases int }

// changes is how many aliases the change redirects.
const changes = 100

// mainCF is the part of main.cf that both kinds share.
const mainCF = `compatibility_level = 3.6
myhostname = mail.host.example
mydestination = localhost
virtual_alias_domains =
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_domains = %[2]s
virtual_mailbox_maps = %[3]s
virtual_alias_maps = %[4]s
virtual_uid_maps = static:%[5]d
virtual_gid_maps = static:%[5]d
`

// writeMain writes the configuration. The mailboxes belong to whoever runs this, or
// to an ordinary user when that is root.
func writeMain(dir, domains, boxes, aliases string) error {
	uid := os.Getuid()
	if uid == 0 {
		uid = 5000
	}
	base := filepath.Join(dir, "mail")
	if err := os.Mkdir(base, 0o755); err != nil {
		return err
	}
	if err := os.Chown(base, uid, uid); os.Getuid() == 0 && err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "main.cf"), fmt.Appendf(nil, mainCF, dir, domains, boxes, aliases, uid), 0o644)
}

func (h host) domain(n int) string { return fmt.Sprintf("domain%04d.example", n) }

// eachBox yields all mailboxes.
func (h host) eachBox(f func(domain string, user string)) {
	for d := range h.domains {
		for u := range h.mailboxes {
			f(h.domain(d), fmt.Sprintf("user%03d", u))
		}
	}
}

// eachAlias yields all aliases. Those of the first changes have another target when
// changed is true; some lead to another alias.
func (h host) eachAlias(changed bool, f func(source, target string)) {
	n := 0
	for d := range h.domains {
		for a := range h.aliases {
			user := a % h.mailboxes
			if changed && n < changes {
				user = (a + 1) % h.mailboxes
			}
			target := fmt.Sprintf("user%03d@%s", user, h.domain(d))
			if a%10 == 9 && (!changed || n >= changes) {
				target = fmt.Sprintf("alias%03d@%s", a-1, h.domain(d))
			}
			f(fmt.Sprintf("alias%03d@%s", a, h.domain(d)), target)
			n++
		}
		for _, name := range []string{"postmaster", "abuse"} {
			f(name+"@"+h.domain(d), fmt.Sprintf("user000@%s", h.domain(d)))
		}
	}
}

// writeText writes text tables. The change is another file of aliases.
func writeText(dir string, h host) (with string, err error) {
	table := func(name string, write func(line func(key, value string))) {
		if err != nil {
			return
		}
		var f *os.File
		if f, err = os.Create(filepath.Join(dir, name)); err != nil {
			return
		}
		w := bufio.NewWriter(f)
		write(func(key, value string) { fmt.Fprintf(w, "%s\t%s\n", key, value) })
		if err = w.Flush(); err == nil {
			err = f.Close()
		}
	}
	table("domains", func(line func(k, v string)) {
		for d := range h.domains {
			line(h.domain(d), "OK")
		}
	})
	table("boxes", func(line func(k, v string)) {
		h.eachBox(func(d, u string) { line(u+"@"+d, d+"/"+u+"/") })
	})
	table("aliases", func(line func(k, v string)) { h.eachAlias(false, line) })
	table("aliases.new", func(line func(k, v string)) { h.eachAlias(true, line) })
	if err != nil {
		return "", err
	}
	spec := func(name string) string { return "texthash:" + filepath.Join(dir, name) }
	return "aliases=" + filepath.Join(dir, "aliases.new"), writeMain(dir, spec("domains"), spec("boxes"), spec("aliases"))
}

// writeSQLite writes a database with the three tables. The change is another
// database.
func writeSQLite(dir string, h host) (with string, err error) {
	for _, changed := range []bool{false, true} {
		name := "mail.db"
		if changed {
			name = "new.db"
		}
		if err := writeDatabase(filepath.Join(dir, name), h, changed); err != nil {
			return "", err
		}
	}
	for name, query := range map[string]string{
		"domains": "SELECT 1 FROM domains WHERE name = '%s'",
		"boxes":   "SELECT path FROM boxes WHERE email = '%s'",
		"aliases": "SELECT destination FROM aliases WHERE source = '%s'",
	} {
		file := filepath.Join(dir, name+".cf")
		if err := os.WriteFile(file, fmt.Appendf(nil, "dbpath = %s/mail.db\nquery = %s\n", dir, query), 0o644); err != nil {
			return "", err
		}
	}
	spec := func(name string) string { return "sqlite:" + filepath.Join(dir, name+".cf") }
	return "mail.db=" + filepath.Join(dir, "new.db"), writeMain(dir, spec("domains"), spec("boxes"), spec("aliases"))
}

func writeDatabase(file string, h host, changed bool) error {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE domains (name TEXT PRIMARY KEY);
		CREATE TABLE boxes (email TEXT PRIMARY KEY, path TEXT NOT NULL);
		CREATE TABLE aliases (source TEXT NOT NULL, destination TEXT NOT NULL);
		CREATE INDEX by_source ON aliases (source)`); err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	insert := func(table string, values ...any) {
		if err == nil {
			_, err = tx.Exec("INSERT INTO "+table+" VALUES (?"+strings.Repeat(", ?", len(values)-1)+")", values...)
		}
	}
	for d := range h.domains {
		insert("domains", h.domain(d))
	}
	h.eachBox(func(d, u string) { insert("boxes", u+"@"+d, d+"/"+u+"/") })
	h.eachAlias(changed, func(source, target string) { insert("aliases", source, target) })
	if err != nil {
		return err
	}
	return tx.Commit()
}
