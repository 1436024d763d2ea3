package sql

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"sync"
	"time"

	"postern/internal/table"
	"postern/internal/table/cf"
)

const (
	paramPath = "dbpath"

	busyTimeout    = 2 * time.Second // how long a lookup waits for a writer
	maxConnections = 8               // to one database file
	checkInterval  = time.Second     // between looks for a replaced file
)

var errClosed = errors.New("table is closed")

// SQLite opens a sqlite: table (sqlite_table(5), package comment). A missing
// or wrong parameter, a database file that is not there and a query that the
// database refuses are errors, of type *table.Error, that name the line; so a
// table that opens was able to answer once.
func SQLite(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	t, err := openSQLite(ctx, o, name, use)
	if err != nil {
		return nil, cf.OpenFailure("sqlite:"+name, use, err)
	}
	return cached(o, t), nil
}

func openSQLite(ctx context.Context, o *table.Opener, name string, use table.Use) (*sqliteTable, error) {
	s, err := cf.Load(o, name, Parameters("sqlite"))
	if err != nil {
		return nil, err
	}
	path, err := s.Required(paramPath)
	if err != nil {
		return nil, err
	}
	l, err := newLookup(ctx, o, "sqlite:"+name, s, use, form{dialect: sqliteDialect})
	if err != nil {
		return nil, err
	}
	l.firstColumn = true
	t := &sqliteTable{lookup: l, opener: o, path: o.Path(path), statement: l.query.statement()}
	if t.current, err = t.connect(); err != nil {
		return nil, err
	}
	t.nextCheck = o.Clock().Add(checkInterval)
	return t, nil
}

// sqliteTable is a lookup in one database file.
type sqliteTable struct {
	*lookup
	opener    *table.Opener
	path      string
	statement string

	mu        sync.Mutex // guards what follows
	current   *handle    // nil when closed
	nextCheck time.Time
	complaint string // the last warning about the file
}

var (
	_ table.Table      = (*sqliteTable)(nil)
	_ table.Enumerable = (*sqliteTable)(nil)
	_ table.Concealing = (*sqliteTable)(nil)
	_ table.Memorable  = (*sqliteTable)(nil)
)

// handle is an open database. Its last user closes it when it is retired.
type handle struct {
	free    chan *sqliteConn
	unmade  chan struct{} // one for each connection that may still be made
	file    os.FileInfo   // which file it is
	users   int           // guarded by sqliteTable.mu
	retired bool          // guarded by sqliteTable.mu
}

// connect opens the file and prepares the query.
func (t *sqliteTable) connect() (*handle, error) {
	info, err := readable(t.path)
	if err != nil {
		return nil, t.settings.Wrong(paramPath, err)
	}
	c, err := openSQLiteConn(t.path, t.statement, len(t.query.values))
	if err != nil {
		return nil, t.queryError(err)
	}
	h := &handle{free: make(chan *sqliteConn, maxConnections), unmade: make(chan struct{}, maxConnections), file: info}
	h.free <- c
	for range maxConnections - 1 {
		h.unmade <- struct{}{}
	}
	return h, nil
}

// readable looks whether this process may read a database file. SQLite opens it
// by its name, and files beside it, so that nobody else can open it for us.
func readable(path string) (os.FileInfo, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: the server reads it as the user that it runs as (mail_owner): give that user the right to read the file and to enter its directory",
			table.OpenError(path, err))
	case err != nil:
		return nil, fmt.Errorf("%w: the database must exist and be readable, it is never created", table.OpenError(path, err))
	}
	defer f.Close()
	return f.Stat()
}

// take returns a connection, which goes back to h.free. When all are in use and
// there may be one more, it is opened; when that fails, because the file is gone
// by now, one of the others is waited for.
func (t *sqliteTable) take(ctx context.Context, h *handle) (*sqliteConn, error) {
	select {
	case c := <-h.free:
		return c, nil
	default:
	}
	select {
	case <-h.unmade:
		if c, err := openSQLiteConn(t.path, t.statement, len(t.query.values)); err == nil {
			return c, nil
		}
		h.unmade <- struct{}{}
	default:
	}
	select {
	case c := <-h.free:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// queryError names the line of the query that the database refused, or that of a file
// which is none.
func (t *sqliteTable) queryError(err error) error {
	if isNoDatabase(err) {
		return t.settings.Wrong(paramPath, fmt.Errorf("%s is no database that SQLite can read: %w", t.path, err))
	}
	return &cf.PlacedError{At: t.queryAt, Err: fmt.Errorf("query failed on %s: %w", t.path, err)}
}

// acquire returns the open database, which is a new one when the file was
// replaced.
func (t *sqliteTable) acquire() (*handle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		return nil, errClosed
	}
	if now := t.opener.Clock(); !now.Before(t.nextCheck) {
		t.nextCheck = now.Add(checkInterval)
		t.reopen()
	}
	t.current.users++
	return t.current, nil
}

// reopen changes to the file that is now at dbpath. When that cannot be done
// the old one stays in use.
func (t *sqliteTable) reopen() {
	info, err := os.Stat(t.path)
	if err == nil && os.SameFile(info, t.current.file) {
		t.complaint = ""
		return
	}
	next, err := t.connect()
	if err != nil {
		if text := err.Error(); text != t.complaint {
			t.complaint = text
			t.opener.Warn("%s: %s; the file opened before stays in use", t.Table, text)
		}
		return
	}
	t.complaint = ""
	t.retire(t.current)
	t.current = next
}

// retire closes a database after its last user.
func (t *sqliteTable) retire(h *handle) {
	h.retired = true
	if h.users == 0 {
		h.close()
	}
}

func (t *sqliteTable) release(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.users--; h.users == 0 && h.retired {
		h.close()
	}
}

// close closes the connections. Nobody uses them any more.
func (h *handle) close() {
	for len(h.free) > 0 {
		(<-h.free).close()
	}
}

func (t *sqliteTable) Name() string { return t.Table }

// Traits: the database is asked for every form of a key.
func (t *sqliteTable) Traits() table.Traits { return table.Traits{} }

func (t *sqliteTable) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		return nil
	}
	t.retire(t.current)
	t.current = nil
	return nil
}

// All lists the rows of a query of a plain shape (package comment).
func (t *sqliteTable) All(ctx context.Context) iter.Seq2[table.Entry, error] { return t.rows(ctx, t) }

// Hidden lists the rows that a query of a plain shape leaves out.
func (t *sqliteTable) Hidden(ctx context.Context) iter.Seq2[table.Hidden, error] {
	return t.concealed(ctx, t)
}

// list runs a statement on a connection of its own.
func (t *sqliteTable) list(ctx context.Context, statement string, add func(row) error) error {
	ctx, cancel := context.WithTimeout(ctx, fileListTime)
	defer cancel()
	h, err := t.acquire()
	if err != nil {
		return t.failure("", err)
	}
	defer t.release(h)
	conn, err := openSQLiteConn(t.path, statement, 0)
	if err != nil {
		return t.unlisted(ctx, t)
	}
	defer conn.close()
	var refused error // by add
	err = conn.ask(ctx, nil, func(r row) error {
		refused = add(r)
		return refused
	})
	if err != nil && refused == nil {
		return t.unlisted(ctx, t)
	}
	return err
}

func (t *sqliteTable) Lookup(ctx context.Context, key string) (table.Result, error) {
	if err := ctx.Err(); err != nil {
		return table.Result{}, t.failure(key, err)
	}
	h, err := t.acquire()
	if err != nil {
		return table.Result{}, t.failure(key, err)
	}
	defer t.release(h)
	p, ok, err := t.Prepare(ctx, key)
	if err != nil {
		return table.Result{}, t.failure(key, err)
	}
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	result, err := t.ask(ctx, h, &p)
	if err != nil && !errors.Is(err, table.ErrNotFound) {
		return table.Result{}, t.failure(key, err)
	}
	return result, err
}

// ask sends the query and reads the rows.
func (t *sqliteTable) ask(ctx context.Context, h *handle, key *cf.Parts) (table.Result, error) {
	conn, err := t.take(ctx, h)
	if err != nil {
		return table.Result{}, err
	}
	defer func() { h.free <- conn }()
	c := t.collect(key)
	var refused error // by the collector, not by the database
	err = conn.ask(ctx, t.query.bind(key), func(r row) error {
		refused = c.add(r)
		return refused
	})
	switch {
	case refused != nil:
		return table.Result{}, refused
	case err != nil:
		return table.Result{}, t.queryError(err)
	}
	return c.Finish()
}
