package sql

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"modernc.org/libc"
	_ "modernc.org/sqlite" // sets up the library
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteConn is a connection to a database file with the query prepared, for
// one user at a time. It calls SQLite's own functions, as Postfix does: so
// every value has the text that SQLite makes of it, dates and fractions too,
// and a lookup costs little.
type sqliteConn struct {
	tls     *libc.TLS
	db      uintptr
	stmt    uintptr
	args    []uintptr // the values, as C strings
	columns []string

	running atomic.Bool   // a query runs
	stopped chan struct{} // the one who interrupted it is done
}

// openSQLiteConn opens a file for reading and prepares the query, which has so
// many values. Errors are those of SQLite.
func openSQLiteConn(path, query string, values int) (*sqliteConn, error) {
	c := &sqliteConn{tls: libc.NewTLS(), stopped: make(chan struct{})}
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "mode=ro"}
	if err := c.open(uri.String(), query, values); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *sqliteConn) open(uri, query string, values int) error {
	texts, err := cStrings(uri, query)
	defer free(c.tls, texts)
	if err != nil {
		return err
	}
	const flags = sqlite3.SQLITE_OPEN_READONLY | sqlite3.SQLITE_OPEN_NOMUTEX | sqlite3.SQLITE_OPEN_URI
	// The fields of c lie on the heap, where they do not move.
	if rc := sqlite3.Xsqlite3_open_v2(c.tls, texts[0], uintptr(unsafe.Pointer(&c.db)), flags, 0); rc != sqlite3.SQLITE_OK {
		return c.failure(rc)
	}
	sqlite3.Xsqlite3_busy_timeout(c.tls, c.db, int32(busyTimeout.Milliseconds()))
	if rc := sqlite3.Xsqlite3_prepare_v2(c.tls, c.db, texts[1], -1, uintptr(unsafe.Pointer(&c.stmt)), 0); rc != sqlite3.SQLITE_OK {
		return c.failure(rc)
	}
	if n := sqlite3.Xsqlite3_bind_parameter_count(c.tls, c.stmt); int(n) != values {
		return fmt.Errorf("the query has %d parameters of its own (?, :name, @name, $name): quote them, or write '%%s'", int(n)-values)
	}
	runtime.KeepAlive(c)
	return nil
}

// cStrings copies texts to where SQLite can read them, until free.
func cStrings(texts ...string) (out []uintptr, err error) {
	for _, t := range texts {
		p, err := libc.CString(t)
		if err != nil {
			return out, err
		}
		out = append(out, p)
	}
	return out, nil
}

func free(tls *libc.TLS, texts []uintptr) {
	for _, p := range texts {
		libc.Xfree(tls, p)
	}
}

func (c *sqliteConn) close() {
	sqlite3.Xsqlite3_finalize(c.tls, c.stmt)
	sqlite3.Xsqlite3_close_v2(c.tls, c.db)
	c.tls.Close()
}

// failure is the error of a result code, in SQLite's words.
func (c *sqliteConn) failure(rc int32) error {
	general := libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 {
		if text := libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db)); text != general {
			return &sqliteError{rc, general + ": " + text}
		}
	}
	return &sqliteError{rc, general}
}

// sqliteError is what SQLite says.
type sqliteError struct {
	code int32
	text string
}

func (e *sqliteError) Error() string { return fmt.Sprintf("%s (%d)", e.text, e.code) }

// isNoDatabase reports a file that SQLite cannot read at all.
func isNoDatabase(err error) bool {
	var e *sqliteError
	return errors.As(err, &e) && (e.code&0xff == sqlite3.SQLITE_NOTADB || e.code&0xff == sqlite3.SQLITE_CANTOPEN)
}

// ask sends the values and hands over the rows. When ctx ends it is
// interrupted, and the error is that of ctx.
func (c *sqliteConn) ask(ctx context.Context, values []string, add func(row) error) error {
	c.running.Store(true)
	stop := context.AfterFunc(ctx, c.interrupt)
	err := c.run(values, add)
	c.running.Store(false)
	if !stop() {
		<-c.stopped
		return ctx.Err()
	}
	return err
}

// interrupt ends the running query. SQLite forgets an interrupt that comes
// before the query has begun, so it is repeated.
func (c *sqliteConn) interrupt() {
	tls := libc.NewTLS() // the other one is in use
	defer tls.Close()
	for c.running.Load() {
		sqlite3.Xsqlite3_interrupt(tls, c.db)
		time.Sleep(time.Millisecond)
	}
	c.stopped <- struct{}{}
}

func (c *sqliteConn) run(values []string, add func(row) error) (err error) {
	c.args = c.args[:0]
	defer func() {
		sqlite3.Xsqlite3_reset(c.tls, c.stmt)
		sqlite3.Xsqlite3_clear_bindings(c.tls, c.stmt)
		free(c.tls, c.args)
	}()
	for i, v := range values {
		p, err := libc.CString(v)
		if err != nil {
			return err
		}
		c.args = append(c.args, p)
		if rc := sqlite3.Xsqlite3_bind_text(c.tls, c.stmt, int32(i+1), p, int32(len(v)), 0); rc != sqlite3.SQLITE_OK {
			return c.failure(rc)
		}
	}
	for {
		switch rc := sqlite3.Xsqlite3_step(c.tls, c.stmt); rc {
		case sqlite3.SQLITE_DONE:
			return nil
		case sqlite3.SQLITE_ROW:
			if err := add(c.row()); err != nil {
				return err
			}
		default:
			return c.failure(rc)
		}
	}
}

// row is the row that the statement is at.
func (c *sqliteConn) row() row {
	n := int(sqlite3.Xsqlite3_column_count(c.tls, c.stmt))
	r := row{c.names(n), make([]cell, n)}
	for i := range r.values {
		if p := sqlite3.Xsqlite3_column_text(c.tls, c.stmt, int32(i)); p != 0 {
			r.values[i].text = libc.GoString(p)
		} else {
			r.values[i].null = true
		}
	}
	return r
}

// names are the names of the columns. They change when the database does, and
// "SELECT *" is prepared anew.
func (c *sqliteConn) names(n int) []string {
	if len(c.columns) == n {
		return c.columns
	}
	c.columns = make([]string, n)
	for i := range c.columns {
		c.columns[i] = libc.GoString(sqlite3.Xsqlite3_column_name(c.tls, c.stmt, int32(i)))
	}
	return c.columns
}
