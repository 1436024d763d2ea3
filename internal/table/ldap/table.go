package ldap

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/cache"
	"postern/internal/table/cf"
)

// Open opens an ldap: table (ldap_table(5), package comment). A missing or
// wrong parameter is an error, of type *table.Error, that names the line. The
// server is asked at the first lookup only: opening succeeds when it is down.
func Open(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	t, err := open(ctx, o, name, use)
	if err != nil {
		return nil, cf.OpenFailure("ldap:"+name, use, err)
	}
	return cache.New(t, o.CacheTTL, o.CacheSize), nil
}

func open(ctx context.Context, o *table.Opener, name string, use table.Use) (*ldapTable, error) {
	s, err := cf.Load(o, name, known())
	if err != nil {
		return nil, err
	}
	q, common, err := readQuestion(ctx, o, name, s, use)
	if err != nil {
		return nil, err
	}
	l, err := readLogin(o, s)
	if err != nil {
		return nil, err
	}
	return &ldapTable{Common: common, question: q, pool: newPool(o, common.Table, l), settings: s}, nil
}

// ldapTable is a lookup in one directory.
type ldapTable struct {
	*cf.Common
	*question
	pool     *pool
	settings *cf.Settings
}

var _ table.Table = (*ldapTable)(nil)

func (t *ldapTable) Name() string { return t.Table }

// Traits: the directory is asked for every form of a key.
func (t *ldapTable) Traits() table.Traits { return table.Traits{} }

func (t *ldapTable) Close() error {
	t.pool.close()
	return nil
}

func (t *ldapTable) Lookup(ctx context.Context, key string) (table.Result, error) {
	result, err := t.lookup(ctx, key)
	if err != nil && !errors.Is(err, table.ErrNotFound) {
		return table.Result{}, t.Failure(key, t.blamed(err), err)
	}
	return result, err
}

// blamed is the line that a failure is about, where it does not say so itself: that of
// the servers when none of them can be used, else that of the filter.
func (t *ldapTable) blamed(err error) origin.At {
	var told *cf.ToldError
	if _, at, ok := t.settings.Lookup(paramHost); ok && errors.As(err, &told) {
		return at
	}
	return t.filterAt
}

func (t *ldapTable) lookup(ctx context.Context, key string) (table.Result, error) {
	if err := ctx.Err(); err != nil {
		return table.Result{}, err
	}
	if err := t.pool.usable(); err != nil {
		return table.Result{}, err
	}
	p, ok, err := t.Prepare(ctx, key)
	if err != nil {
		return table.Result{}, err
	}
	if !ok || !utf8.ValidString(key) { // RFC 4511, 4.1.2: strings are UTF-8
		return table.Result{}, table.ErrNotFound
	}
	if err := t.pool.enter(ctx); err != nil {
		return table.Result{}, err
	}
	defer t.pool.leave()
	return t.ask(ctx, &p)
}

// ask asks once, and once more when a connection that was used before turns out
// to be dead or says nothing; the others to that server are given up then. When
// a new one is of no use, its server counts as failed.
func (t *ldapTable) ask(ctx context.Context, key *cf.Parts) (table.Result, error) {
	if c := t.pool.take(); c != nil {
		result, err := t.expand(ctx, c, key)
		if !isUseless(err) || ctx.Err() != nil {
			return result, err
		}
		t.pool.drop(c.server)
	}
	c, err := t.pool.dial(ctx)
	if err != nil {
		return table.Result{}, err
	}
	result, err := t.expand(ctx, c, key)
	switch {
	case ctx.Err() != nil:
	case isUseless(err):
		t.pool.fails(c.server, err)
		err = &cf.ToldError{Err: err}
	default:
		t.pool.works(c.server)
	}
	return result, err
}

// isUseless reports whether err came from the connection, not from the server.
func isUseless(err error) bool { return errors.Is(err, errLost) || errors.Is(err, errTimeout) }

// expand makes the result of a key, and gives the connection back.
func (t *ldapTable) expand(ctx context.Context, c *conn, key *cf.Parts) (result table.Result, err error) {
	s := search{scope: t.scope, filter: t.filter.expand(key), attrs: t.attrs}
	name := quoted(key, quoteName)
	s.base = t.base.Expand(name, name)
	e := &expansion{ldapTable: t, conn: c, out: t.Collect(key, s.String)}
	if err = e.run(ctx, s); goldap.IsErrorWithCode(err, goldap.LDAPResultInvalidDNSyntax) {
		err = t.settings.Wrong(paramBase, fmt.Errorf("%s does not take %q for a name: %w", c.server.url, s.base, err))
	}
	t.pool.put(c, err)
	switch {
	case err == nil:
		return e.out.Finish()
	case !goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject):
		return table.Result{}, c.server.failure(err)
	case t.dynamic:
		return table.Result{}, table.ErrNotFound
	}
	return table.Result{}, t.settings.Wrong(paramBase, fmt.Errorf("%s has no entry %q, or does not show it to us: %w", c.server.url, s.base, err))
}
