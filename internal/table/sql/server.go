package sql

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"postern/internal/table"
	"postern/internal/table/cache"
	"postern/internal/table/cf"
)

// Names of parameters (mysql_table(5), pgsql_table(5)).
const (
	paramHosts    = "hosts"
	paramUser     = "user"
	paramPassword = "password"
	paramDatabase = "dbname"
	paramIdle     = "idle_interval"
	paramRetry    = "retry_interval"
)

// serverParameters are those that mysql: and pgsql: have in common.
func serverParameters() []string {
	return append([]string{paramHosts, paramUser, paramPassword, paramDatabase, paramIdle, paramRetry}, commonParameters()...)
}

// serverTable is a lookup in a database that servers hold.
type serverTable struct {
	*lookup
	opener *table.Opener
	pool   *pool
	keys   keyRule
	closed atomic.Bool
}

var (
	_ table.Table      = (*serverTable)(nil)
	_ table.Enumerable = (*serverTable)(nil)
	_ table.Concealing = (*serverTable)(nil)
	_ table.Memorable  = (*serverTable)(nil)
)

// keyRule says which keys cannot be in a database, because it cannot store them.
type keyRule struct {
	utf8  bool // only valid UTF-8
	noNUL bool
}

func (r keyRule) allows(key string) bool {
	return !(r.noNUL && strings.IndexByte(key, 0) >= 0 || r.utf8 && !utf8.ValidString(key))
}

// newServerTable reads what mysql: and pgsql: have in common. The pool has no
// servers yet.
func newServerTable(ctx context.Context, o *table.Opener, kind, name string, s *cf.Settings, use table.Use, f form) (*serverTable, error) {
	l, err := newLookup(ctx, o, kind+":"+name, s, use, f)
	if err != nil {
		return nil, err
	}
	t := &serverTable{lookup: l, opener: o}
	t.pool = &pool{opener: o, kind: kind, places: make(chan struct{}, maxSessions)}
	if t.pool.idleTime, err = interval(s, paramIdle, idleInterval); err != nil {
		return nil, err
	}
	t.warnReadable()
	return t, nil
}

// serve sets the servers.
func (t *serverTable) serve(hosts []host, dial dialer) error {
	retry := retryInterval
	if len(hosts) == 1 {
		retry = singleRetry
	}
	var err error
	if t.pool.retryTime, err = interval(t.settings, paramRetry, retry); err != nil {
		return err
	}
	t.pool.dial = dial
	for _, h := range hosts {
		t.pool.servers = append(t.pool.servers, &server{host: h})
	}
	return nil
}

// interval is a parameter that counts seconds.
func interval(s *cf.Settings, name string, unset time.Duration) (time.Duration, error) {
	if _, _, ok := s.Lookup(name); !ok {
		return unset, nil
	}
	n, err := s.Number(name)
	if err == nil && n == 0 {
		err = s.Wrong(name, errors.New("must be at least 1 second"))
	}
	return time.Duration(n) * time.Second, err
}

// warnReadable warns of a password that everybody on this machine can read.
func (t *serverTable) warnReadable() {
	_, at, ok := t.settings.Lookup(paramPassword)
	if !ok || t.settings.Get(paramPassword) == "" || at.File == "" {
		return
	}
	if info, err := os.Stat(at.File); err == nil && info.Mode()&0o004 != 0 {
		t.opener.Warn("%s, line %d: the password can be read by every user of this machine (mode %04o): chmod 640 %s, with the mail server's group as its group",
			at.File, at.Line, info.Mode().Perm(), at.File)
	}
}

// cached puts the cache of answers in front of a table, when there is to be one.
func cached(o *table.Opener, t table.Table) table.Table {
	return cache.New(t, o.CacheTTL, o.CacheSize)
}

func (t *serverTable) Name() string { return t.Table }

// Traits: the database is asked for every form of a key.
func (t *serverTable) Traits() table.Traits { return table.Traits{} }

func (t *serverTable) Close() error {
	t.closed.Store(true)
	t.pool.close()
	return nil
}

// All lists the rows of a query of a plain shape (package comment).
func (t *serverTable) All(ctx context.Context) iter.Seq2[table.Entry, error] { return t.rows(ctx, t) }

// Hidden lists the rows that a query of a plain shape leaves out.
func (t *serverTable) Hidden(ctx context.Context) iter.Seq2[table.Hidden, error] {
	return t.concealed(ctx, t)
}

// list runs a statement within a transaction that may only read.
func (t *serverTable) list(ctx context.Context, statement string, add func(row) error) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	if t.closed.Load() {
		return t.failure("", errClosed)
	}
	l, err := t.pool.get(ctx, true)
	if err != nil {
		if ctx.Err() != nil {
			err = t.settings.Wrong(paramHosts, fmt.Errorf("connect to %s server %s: no answer within %v", t.pool.kind, t.pool.names(), listTime))
		}
		return t.failure("", err)
	}
	var refused error // by add
	err = l.list(ctx, statement, func(r row) error {
		refused = add(r)
		return refused
	})
	t.pool.put(l, err)
	if err != nil && refused == nil {
		return t.unlisted(ctx, t)
	}
	return refused
}

func (t *serverTable) Lookup(ctx context.Context, key string) (table.Result, error) {
	result, err := t.find(ctx, key)
	if err != nil && !errors.Is(err, table.ErrNotFound) {
		return table.Result{}, t.failure(key, err)
	}
	return result, err
}

func (t *serverTable) find(ctx context.Context, key string) (table.Result, error) {
	if err := ctx.Err(); err != nil {
		return table.Result{}, err
	}
	if t.closed.Load() {
		return table.Result{}, errClosed
	}
	p, ok, err := t.Prepare(ctx, key)
	if err != nil {
		return table.Result{}, err
	}
	if !ok || !t.keys.allows(key) {
		return table.Result{}, table.ErrNotFound
	}
	return t.ask(ctx, &p)
}

// ask asks one of the servers. When the connection turns out to be dead, it
// does so once more on a new one.
func (t *serverTable) ask(ctx context.Context, key *cf.Parts) (table.Result, error) {
	values := t.query.bind(key)
	for again := false; ; again = true {
		l, err := t.pool.get(ctx, again)
		if err != nil {
			return table.Result{}, err
		}
		c := t.collect(key)
		err = l.ask(ctx, values, c.add)
		t.pool.put(l, err)
		if !isLost(err) {
			t.pool.well(l.server)
			if err != nil {
				return table.Result{}, t.refused(l.server, err)
			}
			return c.Finish()
		}
		if ctx.Err() != nil {
			return table.Result{}, ctx.Err()
		}
		t.pool.drop(l.server)
		if again || errors.Is(err, errNoAnswer) {
			err = t.settings.Wrong(paramHosts, fmt.Errorf("%s server %s: %w", t.pool.kind, l.server.name, err))
			t.pool.fail(l.server, err)
		}
		if again {
			return table.Result{}, &cf.ToldError{Err: err}
		}
	}
}

// refused blames the line of the query for what the server said.
func (t *serverTable) refused(s *server, err error) error {
	var refusal *refusedError
	if !errors.As(err, &refusal) {
		return err
	}
	return &cf.PlacedError{At: t.queryAt, Err: fmt.Errorf("query failed on %s: %w", s.name, err)}
}

// unreachable is the error of a server that could not be connected to. param is
// the parameter to blame, "" for hosts.
func (t *serverTable) unreachable(h *host, param string, err error) error {
	if param == "" {
		param = paramHosts
	}
	return t.settings.Wrong(param, fmt.Errorf("connect to %s server %s: %w", t.pool.kind, h.name, err))
}
