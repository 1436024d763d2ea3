package sql_test

import (
	"fmt"
	"syscall"
	"testing"

	"postern/internal/table"
	"postern/internal/table/tabletest"
)

func BenchmarkMySQL(b *testing.B) { benchmarkServer(b, mysqlEngine(b)) }

func BenchmarkPgSQL(b *testing.B) { benchmarkServer(b, pgsqlEngine(b)) }

// benchmarkServer looks up keys of a table with 1000 rows, by one client and by
// eight, and with answers from the cache.
func benchmarkServer(b *testing.B, e *engine) {
	var rows []tabletest.Row
	for i := range 1000 {
		rows = append(rows, tabletest.Row{Key: fmt.Sprintf("user%d@example.test", i), Value: fmt.Sprintf("box%d/", i)})
	}
	name := e.rowTable(b, rows)
	e.run(b, "CREATE INDEX by_k_"+name+" ON "+name+" (k)")
	for _, hosts := range []string{e.Addr, e.socket()} {
		cf := fmt.Sprintf("hosts = %s\nuser = %s\npassword = %s\ndbname = mail\nquery = SELECT v FROM %s WHERE k='%%s'\n", hosts, testUser, testPassword, name)
		network := "tcp"
		if hosts != e.Addr {
			network = "unix"
		}
		tab := e.table(b, &table.Opener{}, cf, table.Use{Fold: true})
		b.Run(network+"/1", func(b *testing.B) {
			b.ReportAllocs()
			defer cpuTime(b, syscall.RUSAGE_SELF)()
			for i := 0; b.Loop(); i++ {
				ask(b, tab, rows[i%len(rows)].Key)
			}
		})
		b.Run(network+"/8", func(b *testing.B) {
			defer cpuTime(b, syscall.RUSAGE_SELF)()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					ask(b, tab, rows[i%len(rows)].Key)
				}
			})
		})
	}
}

// BenchmarkPostmap is the rate of Postfix's postmap -q - for the same query.
func BenchmarkPostmap(b *testing.B) {
	for _, e := range engines(b) {
		program := peer(b, e.name)
		name := e.rowTable(b, []tabletest.Row{{Key: "user1@example.test", Value: "box1/"}})
		e.run(b, "CREATE INDEX by_k_"+name+" ON "+name+" (k)")
		for network, hosts := range map[string]string{"tcp": e.Addr, "unix": e.socket()} {
			if network == "unix" && e.name == "pgsql" {
				continue // Postfix knows sockets of the usual port only
			}
			cf := e.file(b, fmt.Sprintf("hosts = %s\nuser = %s\npassword = %s\ndbname = mail\nquery = SELECT v FROM %s WHERE k='%%s'\n", hosts, testUser, testPassword, name))
			b.Run(e.name+"/"+network, func(b *testing.B) {
				keys := make([]string, b.N)
				for i := range keys {
					keys[i] = "user1@example.test"
				}
				defer cpuTime(b, syscall.RUSAGE_CHILDREN)()
				if found := postmap(b, program, e.name, cf, keys); len(found) != 1 {
					b.Fatal("nothing found")
				}
			})
		}
	}
}

// cpuTime measures what a benchmark costs the client, which a busy machine
// does not change.
func cpuTime(b *testing.B, who int) func() {
	total := func() int64 {
		var u syscall.Rusage
		_ = syscall.Getrusage(who, &u)
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := total()
	return func() { b.ReportMetric(float64(total()-before)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkPostmapSQLite is the rate of Postfix's postmap -q - for the query of
// BenchmarkSQLite.
func BenchmarkPostmapSQLite(b *testing.B) {
	program := peer(b, "sqlite")
	dir := write(b, byAlias)
	database(b, dir+"/mail.db", "CREATE INDEX by_source ON aliases (source)")
	b.Run("hit", func(b *testing.B) {
		keys := make([]string, b.N)
		for i := range keys {
			keys[i] = "jeff@a.b.example"
		}
		defer cpuTime(b, syscall.RUSAGE_CHILDREN)()
		if found := postmap(b, program, "sqlite", dir+"/t.cf", keys); len(found) != 1 {
			b.Fatal("nothing found")
		}
	})
}
