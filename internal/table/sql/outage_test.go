package sql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/table"
	"postern/internal/table/sql/sqltest"
)

// patience bounds every wait for something that has to happen.
const patience = 60 * time.Second

// own is an engine like e with a server that the test may end.
func (e *engine) own(t *testing.T, start func(t testing.TB) *sqltest.Server) *engine {
	t.Helper()
	other := *e
	other.Server = start(t)
	other.Exec(t, append(e.setup[:len(e.setup):len(e.setup)], serverTables...)...)
	return &other
}

const aliasQuery = "query = SELECT destination FROM aliases WHERE source = '%s'\n"

// becomes asks for o'neil until the answer is the wanted one.
func becomes(t *testing.T, tab table.Table, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got := ask(t, tab, "o'neil")
		if got == want {
			return
		}
		if got != "error" || time.Now().After(deadline) {
			_, err := tab.Lookup(t.Context(), "o'neil")
			t.Fatalf("answer %q, %v, want %q", got, err, want)
		}
	}
}

// TestOutage stops, kills and hangs the server of an open table.
func TestOutage(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			start := sqltest.NewMariaDB
			if e.name == "pgsql" {
				start = sqltest.NewPostgreSQL
			}
			e := e.own(t, start)
			log, now := new(recorder), new(fakeClock)
			tab := e.table(t, &table.Opener{Log: log, Now: now.time}, e.login()+aliasQuery, table.Use{})
			becomes(t, tab, "quote")
			// A restart between two lookups is not noticed.
			e.Stop()
			e.Start(t)
			if got := ask(t, tab, "o'neil"); got != "quote" {
				t.Errorf("after a restart: %q", got)
			}
			if got := log.take(""); len(got) > 0 {
				t.Errorf("a restart is logged: %q", got)
			}
			e.Kill()
			for range 3 {
				_, err := tab.Lookup(t.Context(), "o'neil")
				var failed *table.Error
				if !errors.As(err, &failed) || failed.Config || !failed.Told || failed.At.Line != 1 || !strings.Contains(err.Error(), "connection refused: is ") {
					t.Errorf("without a server: %#v, want an *Error that blames hosts", err)
				}
				now.add(2 * time.Second)
			}
			if got := log.take(""); len(got) != 1 || !strings.Contains(got[0], "connect to "+e.name+" server "+e.Addr+": connection refused") {
				t.Errorf("log %q, want one line with the host", got)
			}
			now.add(time.Minute)
			ask(t, tab, "o'neil")
			if got := log.take(""); len(got) != 1 || !strings.HasSuffix(got[0], "(and 2 times more since the last warning)") {
				t.Errorf("log %q, want one line a minute", got)
			}
			e.Start(t)
			if got := ask(t, tab, "o'neil"); got != "error" {
				t.Errorf("within the second in which it is not tried again: %q", got)
			}
			now.add(2 * time.Second)
			becomes(t, tab, "quote")
			e.hang(t, tab)
			e.crowd(t)
		})
	}
}

// hang holds that a lookup ends with its context when the server says nothing,
// and that the table is well afterwards.
func (e *engine) hang(t *testing.T, tab table.Table) {
	t.Helper()
	e.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := tab.Lookup(ctx, "o'neil")
	e.Thaw()
	var failed *table.Error
	if !errors.As(err, &failed) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that hangs: %v, want the end of the context", err)
	}
	becomes(t, tab, "quote")
}

// fakeClock is a clock that stands still unless it is moved.
type fakeClock struct{ passed atomic.Int64 }

func (c *fakeClock) time() time.Time     { return time.Unix(1e9, 0).Add(time.Duration(c.passed.Load())) }
func (c *fakeClock) add(d time.Duration) { c.passed.Add(int64(d)) }

// crowd restarts the server while many ask: every answer is right or a failure.
func (e *engine) crowd(t *testing.T) {
	t.Helper()
	tab := e.table(t, &table.Opener{}, e.login()+"retry_interval = 1\n"+aliasQuery, table.Use{})
	var stop atomic.Bool
	var good atomic.Int64
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for ; !stop.Load(); time.Sleep(time.Millisecond) {
				switch got := ask(t, tab, "o'neil"); got {
				case "quote":
					good.Add(1)
				case "error":
				default:
					t.Errorf("answer %q", got)
					return
				}
			}
		})
	}
	more := func() {
		before := good.Load()
		for deadline := time.Now().Add(patience); good.Load() < before+100; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Error("no answers")
				return
			}
		}
	}
	more()
	e.Kill()
	e.Start(t)
	more()
	stop.Store(true)
	wait.Wait()
}

// TestFailover has a server that is down, one that says no, and a good one.
func TestFailover(t *testing.T) {
	for _, e := range engines(t) {
		log, now := new(recorder), new(fakeClock)
		hosts := fmt.Sprintf("hosts = %s, %s\n", closedPort(t), e.Addr)
		first := func(n int) int { return 0 } // the first of those that may be tried
		tab := e.table(t, &table.Opener{Log: log, Now: now.time, Int: first}, e.login()+hosts+aliasQuery, table.Use{})
		log.take("") // that hosts is there twice
		for range 3 {
			if got := ask(t, tab, "o'neil"); got != "quote" {
				t.Errorf("%s: %q, want quote", e.name, got)
			}
		}
		if got := log.take(""); len(got) != 1 || !strings.Contains(got[0], "connection refused") {
			t.Errorf("%s: log %q, want one line about the server that is down", e.name, got)
		}
	}
}

// TestRefused holds that a query that fails does not make its server count as
// down.
func TestRefused(t *testing.T) {
	for _, e := range engines(t) {
		name := e.rowTable(t, nil)
		tab := e.table(t, &table.Opener{}, e.login()+"query = SELECT v FROM "+name+" WHERE k = '%s'\n", table.Use{})
		steps := []struct{ statement, want string }{
			{"SELECT 1", "-"},
			{"DROP TABLE " + name, "error"},
			{"CREATE TABLE " + name + " (v INT, k VARCHAR(20))", "-"},
			{"INSERT INTO " + name + " VALUES (5, 'x')", "5"},
			{"ALTER TABLE " + name + " DROP COLUMN v", "error"},
			{"ALTER TABLE " + name + " ADD COLUMN v VARCHAR(20)", "-"},
			{"UPDATE " + name + " SET v = 'six'", "six"},
		}
		for _, s := range steps {
			e.run(t, s.statement)
			if got := ask(t, tab, "x"); got != s.want {
				_, err := tab.Lookup(t.Context(), "x")
				t.Errorf("%s, after %s: %q, %v, want %q", e.name, s.statement, got, err, s.want)
			}
		}
	}
}

// TestPooler has the prepared statement vanish, as it does behind a pooler that
// gives each transaction another connection.
func TestPooler(t *testing.T) {
	e := pgsqlEngine(t)
	e.run(t, "CREATE OR REPLACE FUNCTION forget(v text) RETURNS text LANGUAGE plpgsql AS 'BEGIN DEALLOCATE ALL; RETURN v; END'")
	tab := e.table(t, &table.Opener{}, e.login()+"query = SELECT forget('%s')\n", table.Use{})
	for range 3 {
		if got := ask(t, tab, "x"); got != "x" {
			_, err := tab.Lookup(t.Context(), "x")
			t.Errorf("%q, %v, want x", got, err)
		}
	}
}

// TestIdle holds that connections are closed that nobody uses.
func TestIdle(t *testing.T) {
	e := mysqlEngine(t)
	e.Exec(t, "CREATE USER IF NOT EXISTS idle@'127.0.0.1'", "GRANT SELECT ON mail.* TO idle@'127.0.0.1'")
	o := &table.Opener{}
	idle := e.table(t, o, "hosts = "+e.Addr+"\nuser = idle\ndbname = mail\nidle_interval = 1\n"+aliasQuery, table.Use{})
	count := e.table(t, o, e.login()+"query = SELECT COUNT(*) FROM information_schema.processlist WHERE user = '%s'\n", table.Use{})
	e.Exec(t, "GRANT PROCESS ON *.* TO mail@'127.0.0.1'")
	becomes(t, idle, "quote")
	if got := ask(t, count, "idle"); got != "1" {
		t.Fatalf("%s connections, want 1", got)
	}
	for deadline := time.Now().Add(patience); ask(t, count, "idle") != "0"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection is not closed")
		}
	}
}
