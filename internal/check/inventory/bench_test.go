package inventory_test

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/route"
	"postern/internal/setup"
)

// large writes a configuration of 1 000 domains with 100 mailboxes and 50 aliases
// each, on text tables or on SQLite.
func large(t testing.TB, sqlite bool) string {
	dir := t.TempDir()
	var domains, users, aliases [][2]string
	for d := range 1000 {
		domain := fmt.Sprintf("domain%d.example", d)
		domains = append(domains, [2]string{domain, "1"})
		for u := range 100 {
			users = append(users, [2]string{fmt.Sprintf("user%d@%s", u, domain), fmt.Sprintf("%s/user%d/", domain, u)})
		}
		for a := range 50 {
			aliases = append(aliases, [2]string{fmt.Sprintf("alias%d@%s", a, domain), fmt.Sprintf("user%d@domain%d.example", a, (d+a)%1000)})
		}
	}
	main := "myhostname = mail.example.test\nmydestination = localhost\nvirtual_alias_domains =\nvirtual_mailbox_base = " + dir +
		"\nvirtual_uid_maps = static:5000\nvirtual_gid_maps = static:5000\nalias_maps =\n"
	for name, rows := range map[string][][2]string{"virtual_mailbox_domains": domains, "virtual_mailbox_maps": users, "virtual_alias_maps": aliases} {
		if sqlite {
			put(t, dir, name+".cf", "dbpath = "+dir+"/mail.db\nquery = SELECT v FROM "+name+" WHERE k='%s'\n")
			main += name + " = sqlite:" + dir + "/" + name + ".cf\n"
			fill(t, dir+"/mail.db", name, rows)
			continue
		}
		var b strings.Builder
		for _, r := range rows {
			fmt.Fprintf(&b, "%s\t%s\n", r[0], r[1])
		}
		put(t, dir, name, b.String())
		main += name + " = hash:" + dir + "/" + name + "\n"
	}
	put(t, dir, "main.cf", main)
	return dir
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fill makes a table of a database.
func fill(t testing.TB, path, name string, rows [][2]string) {
	t.Helper()
	db, err := stdsql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	run := func(statement string, values ...any) {
		if _, err := tx.Exec(statement, values...); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE TABLE " + name + " (k TEXT PRIMARY KEY, v TEXT)")
	for _, r := range rows {
		run("INSERT INTO "+name+" VALUES (?, ?)", r[0], r[1])
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkSnapshot reads a large configuration and asks for every address in it what
// a client would be told, and where its mail goes.
func BenchmarkSnapshot(b *testing.B) {
	for name, sqlite := range map[string]bool{"text": false, "sqlite": true} {
		b.Run(name, func(b *testing.B) {
			dir := large(b, sqlite)
			for b.Loop() {
				s, err := setup.Open(b.Context(), dir, setup.Options{})
				if err != nil {
					b.Fatal(err)
				}
				i := inventory.New(s)
				snapshot, err := i.Snapshot(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if n := askAll(b.Context(), snapshot.Router, i); n != 150000 {
					b.Fatalf("%d addresses are good, want 150000", n)
				}
				b.StopTimer()
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(m.HeapAlloc>>20), "MiB")
				runtime.KeepAlive(i)
				s.Close()
				b.StartTimer()
			}
		})
	}
}

// askAll asks a router for all addresses, and counts those that are good.
func askAll(ctx context.Context, r *route.Router, i *inventory.Inventory) int {
	jobs := make(chan []address.Address)
	var wait sync.WaitGroup
	var mu sync.Mutex
	good := 0
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			n := 0
			for job := range jobs {
				for _, a := range job {
					if v := r.CheckRecipient(ctx, address.Address{}, a, nil); v.Reply.Code == 0 {
						n++
					}
				}
			}
			mu.Lock()
			good += n
			mu.Unlock()
		})
	}
	var job []address.Address
	for a := range i.Addresses(ctx) {
		if job = append(job, address.Split(a.Text)); len(job) == 1000 {
			jobs <- job
			job = nil
		}
	}
	jobs <- job
	close(jobs)
	wait.Wait()
	return good
}

// database makes a database file of statements.
func database(t testing.TB, path, statements string) {
	t.Helper()
	db, err := stdsql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
}
