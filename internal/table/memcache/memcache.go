package memcache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// Names of parameters.
const (
	paramServer = "memcache"
	paramBackup = "backup"
	paramFormat = "key_format"
	paramData   = "data_size_limit"
)

// known are all parameters.
var known = []string{
	paramServer, paramFormat, paramBackup, cf.ParamDomain, "ttl", "flags", "timeout", "max_try", "retry_pause", "line_size_limit", paramData,
}

// Parameters are the names that the .cf file of a table may have.
func Parameters() []string { return known }

const (
	defaultServer = "inet:localhost:11211"
	maxKey        = 250 // bytes of a key that memcached takes
)

// Open opens a memcache: table (memcache_table(5), package comment). A missing
// or wrong parameter is an error, of type *table.Error, that names the line. The
// server is asked at the first lookup only: opening succeeds when it is down. A
// table whose backup cannot be opened comes with the error of the backup.
func Open(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	t, err := open(ctx, o, name, use)
	if err != nil {
		return nil, cf.OpenFailure("memcache:"+name, use, err)
	}
	err = t.openBackup(ctx, o, name, use)
	switch {
	case err == nil:
		return t, nil
	case t.backup == nil:
		return nil, cf.OpenFailure(t.Table, use, err)
	}
	return t, cf.OpenFailure(t.Table, use, err)
}

func open(ctx context.Context, o *table.Opener, name string, use table.Use) (*memcacheTable, error) {
	if use.NoRemote {
		return nil, fmt.Errorf("memcache:%s map is not allowed for security-sensitive data: whoever reaches the server could change it", name)
	}
	s, err := cf.Load(o, name, known)
	if err != nil {
		return nil, err
	}
	common, err := cf.NewCommon(ctx, o, "memcache:"+name, s, use)
	if err != nil {
		return nil, err
	}
	t := &memcacheTable{Common: common, settings: s, opener: o}
	if err := t.readFormat(s); err != nil {
		return nil, err
	}
	return t, t.readServer(s)
}

// memcacheTable is a lookup in one server, or in its backup.
type memcacheTable struct {
	*cf.Common
	settings *cf.Settings
	opener   *table.Opener
	format   cf.Template
	formatAt origin.At
	client   *client
	ttl      int
	flags    int
	backup   table.Table // nil: none; it belongs to the opener
}

var _ table.Table = (*memcacheTable)(nil)

func (t *memcacheTable) readFormat(s *cf.Settings) error {
	format, at, ok := s.Lookup(paramFormat)
	if !ok {
		format, at = "%s", origin.At{File: s.Source}
	}
	var err error
	if t.format, err = cf.ParseTemplate(format); err != nil {
		return s.Wrong(paramFormat, err)
	}
	if !strings.Contains(strings.ReplaceAll(format, "%%", ""), "%") {
		t.opener.Warn("%v", s.Wrong(paramFormat, fmt.Errorf("%q is the same for every key: put %%s where the key belongs", format)))
	}
	t.formatAt = at
	t.Ask(t.format)
	return nil
}

func (t *memcacheTable) readServer(s *cf.Settings) error {
	c := &client{now: t.opener.Clock, slots: make(chan struct{}, maxConnections)}
	t.client = c
	server, _, ok := s.Lookup(paramServer)
	if !ok {
		server = defaultServer
	}
	var err error
	if c.network, c.address, err = parseServer(server); err != nil {
		return s.Wrong(paramServer, err)
	}
	var timeout, pause int
	for _, p := range []struct {
		name            string
		to              *int
		fallback, least int
	}{
		{"ttl", &t.ttl, 3600, 0}, {"flags", &t.flags, 0, 0}, {"timeout", &timeout, 2, 1}, {"retry_pause", &pause, 1, 1},
		{"max_try", &c.tries, 2, 1}, {"line_size_limit", &c.limits.line, 1024, 1}, {paramData, &c.limits.data, 10240, 1},
	} {
		if *p.to, err = s.NumberOr(p.name, p.fallback, p.least); err != nil {
			return err
		}
	}
	c.timeout, c.pause = time.Duration(timeout)*time.Second, time.Duration(pause)*time.Second
	return nil
}

// parseServer reads inet:host:port, inet:port and unix:path.
func parseServer(text string) (network, address string, err error) {
	transport, rest, ok := strings.Cut(text, ":")
	switch {
	case !ok || rest == "":
	case transport == "unix" || transport == "local":
		return "unix", rest, nil
	case transport == "inet":
		if !strings.Contains(rest, ":") {
			rest = ":" + rest
		}
		host, port, err := net.SplitHostPort(rest)
		if host == "" {
			host = "localhost"
		}
		if err == nil && port != "" {
			return "tcp", net.JoinHostPort(host, port), nil
		}
	}
	return "", "", fmt.Errorf("%q: expected inet:host:port, inet:[address]:port or unix:/path", text)
}

// openBackup opens the backup table, if there is one.
func (t *memcacheTable) openBackup(ctx context.Context, o *table.Opener, name string, use table.Use) (err error) {
	backup := t.settings.Get(paramBackup)
	if backup == "" {
		return nil
	}
	if isCircle(o, name) {
		return t.settings.Wrong(paramBackup, errors.New("the backups lead back to this table"))
	}
	if t.backup, err = o.Open(ctx, backup, use); err != nil {
		return t.settings.Wrong(paramBackup, err)
	}
	return nil
}

// isCircle reports whether the backups of a table do not end.
func isCircle(o *table.Opener, name string) bool {
	quiet := &table.Opener{Dir: o.Dir, RelativeNames: o.RelativeNames, Param: o.Param}
	for range 10 {
		s, err := cf.Load(quiet, name, known)
		if err != nil {
			return false
		}
		var ok bool
		if name, ok = strings.CutPrefix(strings.TrimPrefix(s.Get(paramBackup), "proxy:"), "memcache:"); !ok {
			return false
		}
	}
	return true
}

func (t *memcacheTable) Name() string { return t.Table }

// Traits: the server is asked for every form of a key.
func (t *memcacheTable) Traits() table.Traits { return table.Traits{} }

func (t *memcacheTable) Close() error {
	t.client.close()
	return nil
}

func (t *memcacheTable) Lookup(ctx context.Context, key string) (table.Result, error) {
	err := ctx.Err()
	if err == nil {
		err = t.client.usable()
	}
	if err != nil {
		return table.Result{}, t.Failure(key, t.formatAt, err)
	}
	p, ok, err := t.Prepare(ctx, key)
	if err != nil {
		return table.Result{}, t.Failure(key, t.formatAt, err)
	}
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	name := t.format.Expand(&p, &p)
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return table.Result{}, table.ErrNotFound
	}
	if len(name) > maxKey {
		return t.askBackup(ctx, key)
	}
	return t.ask(ctx, key, name)
}

// ask asks for a key that is name in memcached.
func (t *memcacheTable) ask(ctx context.Context, key, name string) (table.Result, error) {
	value, err := t.client.get(ctx, name)
	if err == nil || errors.Is(err, errMiss) {
		t.opener.Troubles.Over(t.opener, t.server(), "%s answers again", t.server())
	}
	if err == nil {
		at := origin.At{Table: t.Table, Key: key, Query: "get " + name, Row: map[string]string{"value": value}}
		return table.Result{Value: value, At: []origin.At{at}}, nil
	}
	if !errors.Is(err, errMiss) {
		told := t.told(ctx, t.server(), err)
		if ctx.Err() != nil || t.backup == nil {
			return table.Result{}, t.Failure(key, t.formatAt, told)
		}
	}
	result, failure := t.askBackup(ctx, key)
	if failure == nil && isAnswer(err) {
		t.store(ctx, name, result.Value)
	}
	return result, failure
}

// askBackup asks for a key that memcached does not have. Without a backup it is
// not found.
func (t *memcacheTable) askBackup(ctx context.Context, key string) (table.Result, error) {
	if t.backup == nil {
		return table.Result{}, table.ErrNotFound
	}
	return t.backup.Lookup(ctx, key)
}

// store keeps what the backup said.
func (t *memcacheTable) store(ctx context.Context, name, value string) {
	if limit := t.client.limits.data; len(value) > limit {
		t.opener.Troubles.Tell(t.opener, t.Table+" store", "%s: the value of %q is not stored, it has %d bytes: %s = %d", t.Table, name, len(value), paramData, limit)
		return
	}
	if err := t.client.set(ctx, name, value, t.flags, t.ttl); err != nil {
		t.told(ctx, t.server()+" store", err) // it has just answered
	}
}

// server is the name under which it is told what is wrong with the server.
// Tables that ask the same server share it.
func (t *memcacheTable) server() string { return "memcached server " + t.client.address }

// told logs what is wrong with the server, or with what it holds, and says which
// line is to blame. It is silent when the caller went away.
func (t *memcacheTable) told(ctx context.Context, about string, err error) error {
	var large *tooLargeError
	switch {
	case ctx.Err() != nil:
		return err
	case errors.As(err, &large):
		about = t.Table + " " + paramData
		err = t.settings.Wrong(paramData, fmt.Errorf("%w, the limit is %d", err, t.client.limits.data))
	default:
		err = t.settings.Wrong(paramServer, fmt.Errorf("%s: %w", t.client.address, err))
	}
	t.opener.Troubles.Tell(t.opener, about, "%s: %v", t.Table, err)
	return &cf.ToldError{Err: err}
}
