package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"postern/internal/table"
	"postern/internal/table/cf"
)

const (
	paramPath = "dbpath"

	busyTimeout    = 2 * time.Second // how long a lookup waits for a writer
	maxConnections = 4               // to one database file
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
	return t, nil
}

func openSQLite(ctx context.Context, o *table.Opener, name string, use table.Use) (*sqliteTable, error) {
	s, err := cf.Load(o, name, append([]string{paramPath}, commonParameters()...))
	if err != nil {
		return nil, err
	}
	path, err := s.Required(paramPath)
	if err != nil {
		return nil, err
	}
	l, err := newLookup(ctx, o, "sqlite:"+name, s, use)
	if err != nil {
		return nil, err
	}
	l.firstColumn = true
	t := &sqliteTable{lookup: l, opener: o, path: o.Path(path), settings: s}
	if t.current, err = t.connect(ctx); err != nil {
		return nil, err
	}
	t.nextCheck = o.Clock().Add(checkInterval)
	return t, nil
}

// sqliteTable is a lookup in one database file.
type sqliteTable struct {
	*lookup
	opener   *table.Opener
	path     string
	settings *cf.Settings

	mu        sync.Mutex // guards what follows
	current   *handle    // nil when closed
	nextCheck time.Time
	complaint string // the last warning about the file
}

var _ table.Table = (*sqliteTable)(nil)

// handle is an open database. Its last user closes it when it is retired.
type handle struct {
	db      *sql.DB
	stmt    *sql.Stmt
	file    os.FileInfo // which file it is
	users   int         // guarded by sqliteTable.mu
	retired bool        // guarded by sqliteTable.mu
}

// connect opens the file and prepares the query.
func (t *sqliteTable) connect(ctx context.Context) (*handle, error) {
	info, err := os.Stat(t.path)
	if err != nil {
		return nil, t.settings.Wrong(paramPath, fmt.Errorf("%w: the database must exist and be readable, it is never created", table.OpenError(t.path, err)))
	}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: t.path}).EscapedPath()}
	dsn.RawQuery = fmt.Sprintf("mode=ro&_pragma=busy_timeout(%d)", busyTimeout.Milliseconds())
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, t.settings.Wrong(paramPath, err)
	}
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(maxConnections)
	stmt, err := db.PrepareContext(ctx, t.query.statement(func(int) string { return "?" }))
	if err != nil {
		db.Close()
		return nil, t.queryError(err)
	}
	return &handle{db: db, stmt: stmt, file: info}, nil
}

// queryError names the line of the query that the database refused.
func (t *sqliteTable) queryError(err error) error {
	return &cf.PlacedError{At: t.queryAt, Err: fmt.Errorf("query failed on %s: %w", t.path, err)}
}

// acquire returns the open database, which is a new one when the file was
// replaced.
func (t *sqliteTable) acquire(ctx context.Context) (*handle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		return nil, errClosed
	}
	if now := t.opener.Clock(); !now.Before(t.nextCheck) {
		t.nextCheck = now.Add(checkInterval)
		t.reopen(ctx)
	}
	t.current.users++
	return t.current, nil
}

// reopen changes to the file that is now at dbpath. When that cannot be done
// the old one stays in use.
func (t *sqliteTable) reopen(ctx context.Context) {
	info, err := os.Stat(t.path)
	if err == nil && os.SameFile(info, t.current.file) {
		t.complaint = ""
		return
	}
	next, err := t.connect(ctx)
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
func (t *sqliteTable) retire(h *handle) error {
	h.retired = true
	if h.users == 0 {
		return h.close()
	}
	return nil
}

func (t *sqliteTable) release(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.users--; h.users == 0 && h.retired {
		h.close()
	}
}

func (h *handle) close() error { return errors.Join(h.stmt.Close(), h.db.Close()) }

func (t *sqliteTable) Name() string { return t.Table }

// Traits: the database is asked for every form of a key.
func (t *sqliteTable) Traits() table.Traits { return table.Traits{} }

func (t *sqliteTable) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		return nil
	}
	h := t.current
	t.current = nil
	return t.retire(h)
}

func (t *sqliteTable) Lookup(ctx context.Context, key string) (table.Result, error) {
	if err := ctx.Err(); err != nil {
		return table.Result{}, t.failure(key, err)
	}
	h, err := t.acquire(ctx)
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
	rows, err := h.stmt.QueryContext(ctx, t.query.bind(key)...)
	if err != nil {
		return table.Result{}, t.queryError(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return table.Result{}, t.queryError(err)
	}
	c := t.collect(key)
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return table.Result{}, t.queryError(err)
		}
		r := row{columns, make([]cell, len(columns))}
		for i, v := range values {
			r.values[i] = cell{v.String, !v.Valid}
		}
		if err := c.add(r); err != nil {
			return table.Result{}, err
		}
	}
	if err := rows.Err(); err != nil {
		return table.Result{}, t.queryError(err)
	}
	return c.Finish()
}
