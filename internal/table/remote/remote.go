package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/reach"
)

// timeout is how long a lookup may take, with the waiting for a connection.
const timeout = 100 * time.Second

// retryPause is how long a server is left alone that let a lookup run into the
// timeout.
const retryPause = 10 * time.Second

// shown is how many bytes of a bad reply a message quotes.
const shown = 100

// protocol is how one type asks its question.
type protocol interface {
	// question is what is sent for a key, for reading.
	question(key string) string
	// exchange sends the question for key and reads the reply. The value is
	// only good when the reply says that there is one: otherwise err is
	// table.ErrNotFound, or says what is wrong.
	exchange(c *conn, key string) (value string, err error)
}

// client is a table that asks a server.
type client struct {
	protocol
	name   string // type:name
	server string // for messages
	use    table.Use
	opener *table.Opener
	pool   *pool
}

var _ table.Table = (*client)(nil)

func newClient(o *table.Opener, name string, use table.Use, p protocol, e endpoint) *client {
	return &client{protocol: p, name: name, server: e.address, use: use, opener: o, pool: newPool(e.dial)}
}

// Name is the table as configured.
func (t *client) Name() string { return t.name }

// Traits: the server is asked for whole keys.
func (t *client) Traits() table.Traits { return table.Traits{Pattern: true} }

// Close closes the connections. Lookups after it fail; those under way end.
func (t *client) Close() error {
	t.pool.close()
	return nil
}

// errTimeout is the cause of the end of a lookup that took too long.
var errTimeout = fmt.Errorf("no answer within %v", timeout)

// Lookup asks the server, unless that has just been in vain for too long.
func (t *client) Lookup(ctx context.Context, key string) (table.Result, error) {
	value, found := "", false
	limited, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	err := t.pool.do(limited, func(c *conn) error {
		v, err := t.exchange(c, key)
		if errors.Is(err, table.ErrNotFound) {
			return nil
		}
		value, found = v, err == nil
		return err
	})
	if err != nil {
		return table.Result{}, t.failure(ctx, key, err)
	}
	t.answers()
	if !found {
		return table.Result{}, table.ErrNotFound
	}
	at := origin.At{Table: t.name, Key: key, Query: t.question(key), Row: map[string]string{"value": value}}
	return table.Result{Value: value, At: []origin.At{at}}, nil
}

// failure is the answer to a lookup that failed. It is told to the log, unless
// the caller went away.
func (t *client) failure(ctx context.Context, key string, err error) error {
	e := &table.Error{Table: t.name, Key: key, At: t.use.At, Err: err}
	if errors.Is(err, errClosed) {
		return e
	}
	if ctx.Err() != nil {
		e.Err = fmt.Errorf("%s did not answer before the lookup was given up: %w", t.server, context.Cause(ctx))
		return e
	}
	var reply *badReply
	if errors.As(err, &reply) {
		t.answers()
		e.Config, e.Told = reply.config, true
		thing := t.name + " reply " + strings.ReplaceAll(reply.text, key, "") // no matter who was asked for
		t.opener.Troubles.Tell(t.opener, thing, "%s: asked for %q: %s: %v", t.name, key, t.server, err)
		return e
	}
	if errors.Is(err, errTimeout) {
		e.Err = fmt.Errorf("%s: %w: does the server hang, or does a firewall drop the packets?", t.server, err)
	}
	if hungUp(err) {
		e.Err = fmt.Errorf("%s has closed the connection before its reply was complete", t.server)
	}
	e.Told = true
	t.opener.Troubles.Tell(t.opener, t.trouble(), "%s: %v", t.name, e.Err)
	return e
}

// trouble is the name under which it is told that there is no reply. Tables that
// ask the same server share it.
func (t *client) trouble() string {
	typ, _, _ := strings.Cut(t.name, ":")
	return typ + " server " + t.server
}

// answers says that the server is well, whatever its reply is worth.
func (t *client) answers() {
	t.opener.Troubles.Over(t.opener, t.trouble(), "%s answers again", t.trouble())
}

// badReply is a reply that is no answer.
type badReply struct {
	text   string
	config bool // it will not pass by itself
}

func (e *badReply) Error() string { return e.text }

func bad(format string, args ...any) error { return &badReply{text: fmt.Sprintf(format, args...)} }

// quote shows some of a reply.
func quote(reply string) string {
	if len(reply) > shown {
		return fmt.Sprintf("%q...", reply[:shown])
	}
	return fmt.Sprintf("%q", reply)
}

// visible is text of a server in a form that is fit for a log: one line of
// ASCII, not too long.
func visible(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.TrimSpace(text))
	return clean[:min(len(clean), 2*shown)]
}

// beforeNUL is the part of a reply that counts.
func beforeNUL(text string) string {
	text, _, _ = strings.Cut(text, "\x00")
	return text
}

// forbidden is why a table of that name is refused for a use, or nil.
func forbidden(name string, use table.Use) error {
	if !use.NoRemote {
		return nil
	}
	return fmt.Errorf("%s map is not allowed for security sensitive data", name)
}

// endpoint is the address of a server.
type endpoint struct{ network, address string }

// parseEndpoint reads "inet:host:port", "unix:path" or "local:path".
func parseEndpoint(o *table.Opener, text string) (endpoint, error) {
	transport, address, _ := strings.Cut(text, ":")
	if transport == "" || address == "" {
		return endpoint{}, fmt.Errorf("need service transport:endpoint instead of %q", text)
	}
	switch transport {
	case "inet":
		return parseInet(address)
	case "unix", "local":
		if !filepath.IsAbs(address) && o.Param != nil {
			if dir, _, ok := o.Param("queue_directory"); ok {
				address = filepath.Join(dir, address)
			}
		}
		return endpoint{"unix", address}, nil
	}
	return endpoint{}, fmt.Errorf("invalid transport name: %s in service: %s", transport, text)
}

// parseInet reads "host:port", "[host]:port", ":port" or "port".
func parseInet(text string) (endpoint, error) {
	host, port := "", text
	if rest, ok := strings.CutPrefix(text, "["); ok {
		inside, after, ok := strings.Cut(rest, "]")
		switch {
		case !ok:
			return endpoint{}, fmt.Errorf(`%s: missing "]"`, text)
		case after != "" && after[0] != ':':
			return endpoint{}, fmt.Errorf(`%s: garbage after "]"`, text)
		}
		host, port = strings.TrimPrefix(inside, "ipv6:"), strings.TrimPrefix(after, ":")
	} else if i := strings.LastIndexByte(text, ':'); i >= 0 {
		host, port = text[:i], text[i+1:]
	}
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		return endpoint{}, fmt.Errorf("%s: missing service information", text)
	}
	return endpoint{"tcp", net.JoinHostPort(host, port)}, nil
}

func (e endpoint) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, e.network, e.address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", e.address, reach.Server{Wait: timeout}.Cause(err, e.network == "unix"))
	}
	return c, nil
}
