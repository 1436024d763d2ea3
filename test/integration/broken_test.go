package integration

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to make and to lock a database
)

// rcpt is what the server says to a recipient now.
func (w *world) rcpt(to string) string {
	w.t.Helper()
	c := w.hello()
	defer c.Close()
	c.want("MAIL FROM:<>\r\n", "250 ")
	reply := c.ask("RCPT TO:<" + to + ">\r\n")
	c.ask("QUIT\r\n")
	return reply
}

// becomes waits until the server says something else to a recipient.
func (w *world) becomes(to, prefix string) {
	w.t.Helper()
	last := ""
	deadline := time.Now().Add(patience)
	for ; !strings.HasPrefix(last, prefix); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("RCPT TO:<%s>: %q, want %q", to, last, prefix)
		}
		last = w.rcpt(to)
	}
}

const lookupFailure = "451 4.3.0 <john@example.org>: Temporary lookup failure"

// TestBaseMissing is a mail file system that is not mounted: it is not made.
func TestBaseMissing(t *testing.T) {
	w := newWorld(t, "virtual_mailbox_base = {dir}/unmounted\n")
	w.start()
	w.send("", "john@example.org")
	w.logged(`to=<john@example.org>, relay=virtual, .*dsn=4\.2\.0, status=deferred \(maildir delivery failed: .*unmounted.*: No such file or directory\)`)
	if _, err := os.Stat(w.path("unmounted")); err == nil {
		t.Error("virtual_mailbox_base was made")
	}
	must(t, os.Mkdir(w.path("unmounted"), 0o755))
	must(t, os.Chown(w.path("unmounted"), w.uid, w.gid))
	w.command("flush")
	w.eventually("the message", func() bool { return len(maildir(t, w.path("unmounted/john"))) == 1 })
}

// TestBaseUnreadable is a base that the owner of the mailboxes may not enter.
func TestBaseUnreadable(t *testing.T) {
	w := newWorld(t, "")
	w.start()
	must(t, os.Chmod(w.path("mail"), 0))
	if os.Getuid() == 0 {
		must(t, os.Chown(w.path("mail"), 0, 0))
	}
	w.send("", "john@example.org")
	w.logged(`to=<john@example.org>, relay=virtual, .*dsn=4\.2\.0, status=deferred \(maildir delivery failed: .*: Permission denied\)`)
	w.logged(`warning: maildir access problem for UID/GID=\d+/\d+: `)
	w.logged(`warning: perhaps you need to create the maildirs in advance`)
	must(t, os.Chown(w.path("mail"), w.uid, w.gid))
	must(t, os.Chmod(w.path("mail"), 0o755))
	w.command("flush")
	w.arrived("john", 1)
}

// TestTableMissing starts without a table, and gets it while it runs.
func TestTableMissing(t *testing.T) {
	w := newWorld(t, "")
	must(t, os.Rename(w.path("etc/users"), w.path("etc/away")))
	w.start()
	if got := w.rcpt("john@example.org"); got != lookupFailure {
		t.Errorf("RCPT: %q, want %q", got, lookupFailure)
	}
	w.logged(`warning: .*open .*/etc/users: No such file or directory`)
	must(t, os.Rename(w.path("etc/away"), w.path("etc/users")))
	w.becomes("john@example.org", "250 ")
}

// TestTableUnreadable runs as a user who may not read a table.
func TestTableUnreadable(t *testing.T) {
	w := newWorld(t, "")
	w.unprivileged()
	must(t, os.Chmod(w.path("etc/users"), 0))
	w.start()
	if got := w.rcpt("john@example.org"); got != lookupFailure {
		t.Errorf("RCPT: %q, want %q", got, lookupFailure)
	}
	w.logged(`warning: .*open .*/etc/users: Permission denied`)
	must(t, os.Chmod(w.path("etc/users"), 0o644))
	w.becomes("john@example.org", "250 ")
	// One that was read stays in use when it cannot be read any more.
	w.write("etc/users", "john@example.org john/\nnew@example.org new/\n")
	must(t, os.Chmod(w.path("etc/users"), 0))
	w.eventually("a warning", func() bool {
		if got := w.rcpt("john@example.org"); !strings.HasPrefix(got, "250 ") {
			t.Fatalf("RCPT: %q", got)
		}
		return strings.Contains(w.log(), "the content read before stays in use")
	})
	must(t, os.Chmod(w.path("etc/users"), 0o644))
	w.becomes("new@example.org", "250 ")
}

// TestTableReplaced changes tables while the server runs, without a reload.
func TestTableReplaced(t *testing.T) {
	w := newWorld(t, "virtual_alias_maps = hash:{dir}/etc/aliases\nvirtual_mailbox_domains = {dir}/etc/domains\n")
	w.write("etc/aliases", "info@example.org john@example.org\n")
	w.write("etc/domains", "example.org\n")
	w.start()
	if got := w.rcpt("new@example.org"); !strings.HasPrefix(got, "550 5.1.1 ") {
		t.Errorf("RCPT: %q", got)
	}
	w.write("etc/users", baseUsers+"new@example.org new/\n")
	w.becomes("new@example.org", "250 ")
	w.write("etc/aliases", "sales@example.org jack@example.org\n")
	w.becomes("sales@example.org", "250 ")
	w.becomes("info@example.org", "550 5.1.1 ")
	w.send("", "sales@example.org")
	w.arrived("jack", 1)
	// In place, as an editor may write it.
	must(t, os.WriteFile(w.path("etc/users"), []byte("@second.example second/\n"), 0o644))
	must(t, os.WriteFile(w.path("etc/domains"), []byte("second.example\n"), 0o644))
	w.command("reload") // a list in a file is part of the configuration
	w.becomes("x@second.example", "250 ")
	w.becomes("john@example.org", "454 4.7.1 ")
	// A file that goes away leaves what was read.
	must(t, os.Remove(w.path("etc/users")))
	w.eventually("a warning", func() bool {
		if got := w.rcpt("x@second.example"); !strings.HasPrefix(got, "250 ") {
			t.Fatalf("RCPT: %q", got)
		}
		return strings.Contains(w.log(), "the content read before stays in use")
	})
}

// database makes a sqlite table with one mailbox, under a name of its own.
func (w *world) database(name, user string) *sql.DB {
	w.t.Helper()
	db, err := sql.Open("sqlite", w.path(name))
	must(w.t, err)
	w.t.Cleanup(func() { db.Close() })
	_, err = db.Exec("CREATE TABLE users (email TEXT, path TEXT); INSERT INTO users VALUES (?, ?)", user+"@example.org", user+"/")
	must(w.t, err)
	must(w.t, os.Chmod(w.path(name), 0o644))
	return db
}

// TestSQLite locks, removes and replaces the database under the server.
func TestSQLite(t *testing.T) {
	w := newWorld(t, "virtual_mailbox_maps = sqlite:{dir}/etc/users.cf\n")
	w.write("etc/users.cf", "dbpath = {dir}/etc/users.db\nquery = SELECT path FROM users WHERE email = '%s'\n")
	db := w.database("etc/users.db", "john")
	w.start()
	w.send("", "john@example.org")
	w.arrived("john", 1)
	// New rows count at once.
	_, err := db.Exec("INSERT INTO users VALUES ('jack@example.org', 'jack/')")
	must(t, err)
	w.send("", "jack@example.org")
	w.arrived("jack", 1)
	w.lock(db, func() {
		if got := w.rcpt("john@example.org"); got != lookupFailure {
			t.Errorf("RCPT while the database is locked: %q, want %q", got, lookupFailure)
		}
		w.logged(`warning: .*database is locked`)
	})
	w.becomes("john@example.org", "250 ")
	must(t, db.Close())
	// Removed: nobody is unknown because of that.
	must(t, os.Rename(w.path("etc/users.db"), w.path("etc/away.db")))
	w.eventually("a warning", func() bool {
		if got := w.rcpt("john@example.org"); !strings.HasPrefix(got, "250 ") && got != lookupFailure {
			t.Fatalf("RCPT while the database is away: %q", got)
		}
		return strings.Contains(w.log(), "users.db: No such file or directory")
	})
	w.stop()
	w.start()
	if got := w.rcpt("john@example.org"); got != lookupFailure {
		t.Errorf("RCPT without a database: %q, want %q", got, lookupFailure)
	}
	if _, err := os.Stat(w.path("etc/users.db")); err == nil {
		t.Error("the database was made")
	}
	must(t, os.Rename(w.path("etc/away.db"), w.path("etc/users.db")))
	w.becomes("john@example.org", "250 ")
	// Replaced whole by another.
	w.database("etc/other.db", "carl").Close()
	must(t, os.Rename(w.path("etc/other.db"), w.path("etc/users.db")))
	w.becomes("carl@example.org", "250 ")
	w.becomes("john@example.org", "550 5.1.1 ")
}

// lock holds the database in an exclusive transaction while f runs.
func (w *world) lock(db *sql.DB, f func()) {
	w.t.Helper()
	ctx := context.Background()
	c, err := db.Conn(ctx)
	must(w.t, err)
	defer c.Close()
	_, err = c.ExecContext(ctx, "BEGIN EXCLUSIVE")
	must(w.t, err)
	defer func() {
		_, err := c.ExecContext(ctx, "ROLLBACK")
		must(w.t, err)
	}()
	f()
}
