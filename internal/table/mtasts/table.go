package mtasts

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/idna"
	"golang.org/x/sync/singleflight"

	"postern/internal/dns"
	"postern/internal/origin"
	"postern/internal/table"
)

const (
	lookInterval = 5 * time.Minute // between looks for a new id, and after a failure
	renewAfter   = 24 * time.Hour  // a policy is read anew even with the same id
	maxDomains   = 10000           // in memory
)

// stsTable is the table of all policies of the world.
type stsTable struct {
	name    string
	opener  *table.Opener
	fetcher *fetcher
	store   store
	timeout time.Duration

	base   context.Context // ends with Close
	cancel context.CancelFunc
	flight singleflight.Group // discoveries under way, by domain

	mu      sync.Mutex        // guards what follows
	domains map[string]domain // by name; replaced as a whole
	closed  bool
	working sync.WaitGroup
}

var _ table.Table = (*stsTable)(nil)

// domain is what is known of one.
type domain struct {
	policy *kept     // nil: none
	next   time.Time // when to look for a new id
}

func newTable(o *table.Opener, name string, f *fetcher, s store) *stsTable {
	t := &stsTable{name: name, opener: o, fetcher: f, store: s, timeout: 10 * time.Second, domains: make(map[string]domain)}
	t.base, t.cancel = context.WithCancel(context.Background())
	return t
}

func (t *stsTable) Name() string { return t.name }

// Traits: a policy holds for the domain itself, never for those below it
// (RFC 8461, 3.4).
func (t *stsTable) Traits() table.Traits { return table.Traits{} }

func (t *stsTable) Lookup(ctx context.Context, key string) (table.Result, error) {
	name := strings.ToLower(key)
	if a, err := idna.Lookup.ToASCII(name); err == nil {
		name = a
	}
	if !validDomain(name) || len(name) > 253-len("mta-sts.") {
		if t.isClosed() {
			return table.Result{}, t.failure(key, errClosed)
		}
		return table.Result{}, table.ErrNotFound
	}
	k, err := t.policy(ctx, name)
	switch {
	case err != nil:
		return table.Result{}, t.failure(key, err)
	case k == nil || k.mode != modeEnforce:
		return table.Result{}, table.ErrNotFound
	}
	at := origin.At{Table: t.name, Key: name, Query: url(name), Row: map[string]string{"policy": k.text, "id": k.id}}
	return table.Result{Value: k.value(), At: []origin.At{at}}, nil
}

var errClosed = errors.New("the table is closed")

func (t *stsTable) failure(key string, err error) error {
	return &table.Error{Table: t.name, Key: key, Err: err}
}

func (t *stsTable) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// policy returns the policy of a domain that holds now, nil when it has none. The
// only errors are the end of ctx and that of the table.
func (t *stsTable) policy(ctx context.Context, name string) (*kept, error) {
	now := t.opener.Clock()
	t.mu.Lock()
	d, ok := t.domains[name]
	if t.closed {
		t.mu.Unlock()
		return nil, errClosed
	}
	if ok && now.Before(d.next) && (d.policy == nil || d.policy.holds(now)) {
		t.mu.Unlock()
		return d.policy, nil
	}
	done := make(chan *kept, 1)
	t.working.Go(func() {
		found, _, _ := t.flight.Do(name, func() (any, error) { return t.discover(name, d), nil })
		done <- found.(*kept)
	})
	t.mu.Unlock()
	select {
	case k := <-done:
		return k, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// discover looks for the policy of a domain and remembers what it found. It does
// not end with the one who asked: others may wait for it, or ask next.
func (t *stsTable) discover(name string, d domain) *kept {
	ctx, cancel := context.WithTimeout(t.base, t.timeout)
	defer cancel()
	now := t.opener.Clock()
	if d.policy == nil {
		d.policy = t.load(name)
	}
	if !d.policy.holds(now) {
		d.policy = nil
	}
	fresh, err := t.fetch(ctx, name, d.policy)
	switch {
	case err != nil && t.base.Err() == nil:
		t.opener.Troubles.Tell(t.opener, t.name+" "+name, "%s policy of %s: %v%s", t.name, name, err, consequence(d.policy))
	case fresh != nil:
		d.policy = fresh
		t.save(name, fresh)
	}
	d.next = now.Add(lookInterval)
	t.remember(name, d)
	return d.policy
}

// consequence says what comes of a failure, for the log.
func consequence(old *kept) string {
	if old == nil {
		return "; mail is sent without one"
	}
	return "; the one that was read before stays in force"
}

// fetch reads the policy of a domain if there is a new one, or old is from
// yesterday. nil without an error: there is nothing new.
func (t *stsTable) fetch(ctx context.Context, name string, old *kept) (*kept, error) {
	records, err := t.fetcher.resolver.LookupTXT(ctx, "_mta-sts."+name)
	if err != nil {
		if dns.IsNotFound(err) { // most domains have none
			err = nil
		}
		return nil, err
	}
	id, ok := parseRecords(records)
	now := t.opener.Clock()
	if !ok || old != nil && old.id == id && now.Sub(old.fetched) < renewAfter {
		return nil, nil
	}
	text, err := t.fetcher.get(ctx, name)
	if err != nil {
		return nil, err
	}
	p, err := parsePolicy(text)
	if err != nil {
		return nil, err
	}
	return &kept{policy: p, id: id, fetched: now, text: text}, nil
}

// load reads what an earlier process kept.
func (t *stsTable) load(name string) *kept {
	if t.store.directory == "" {
		return nil
	}
	k, err := t.store.load(name)
	if err != nil {
		t.opener.Troubles.Tell(t.opener, t.name+" load "+name, "%s %v; it is not used", t.name, err)
		return nil
	}
	return k
}

// save keeps a policy for later processes.
func (t *stsTable) save(name string, k *kept) {
	if t.store.directory == "" {
		return
	}
	if err := t.store.save(name, k); err != nil {
		t.opener.Troubles.Tell(t.opener, t.name+" save", "%s policies are not kept across a restart: %v", t.name, err)
	}
}

// remember notes what was found. When the memory is full, some other domains go;
// their policies are still in files.
func (t *stsTable) remember(name string, d domain) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other := range t.domains {
		if len(t.domains) < maxDomains {
			break
		}
		delete(t.domains, other)
	}
	t.domains[name] = d
}

// Close ends discoveries that are under way and waits for them.
func (t *stsTable) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.working.Wait()
	return nil
}
