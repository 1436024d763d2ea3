package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"postern/internal/table/cf"
)

// expansion collects the values of one key.
type expansion struct {
	*ldapTable
	conn  *conn
	out   *cf.Collector
	path  []search // whose entries are being read, from the outermost
	asked int      // searches so far
}

// maxSearches is how many searches one key may cause.
const maxSearches = 100_000

// run asks, and adds what the entries hold.
func (e *expansion) run(ctx context.Context, s search) error {
	if slices.ContainsFunc(e.path, s.same) {
		return fmt.Errorf("%s leads back to itself: %q", paramSpecial, s.base)
	}
	if e.asked++; e.asked > maxSearches {
		return fmt.Errorf("%s leads to more than %d searches", paramSpecial, maxSearches)
	}
	entries, err := e.search(ctx, e.conn, s, 0)
	if err != nil {
		return err
	}
	e.path = append(e.path, s)
	for _, entry := range entries {
		if err := e.add(ctx, entry); err != nil {
			return err
		}
	}
	e.path = e.path[:len(e.path)-1]
	return nil
}

// search asks one question, and the servers to which the answer refers when
// chase_referrals says so. More than size_limit entries are an error.
func (e *expansion) search(ctx context.Context, c *conn, s search, hops int) ([]*goldap.Entry, error) {
	timeout := e.pool.timeout
	request := goldap.NewSearchRequest(s.base, s.scope, e.dereference, e.size, int(timeout/time.Second), false, s.filter, s.attrs, nil)
	var result *goldap.SearchResult
	err := c.within(ctx, timeout, func() (err error) {
		result, err = c.Search(request)
		return err
	})
	if result == nil {
		result = &goldap.SearchResult{}
	}
	if e.chase {
		err = e.follow(ctx, result, err, s, hops)
	}
	switch {
	case err == nil && (e.size == 0 || len(result.Entries) <= e.size):
		return result.Entries, nil
	case err == nil, goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded):
		return nil, e.tooMany(s, err)
	case isResult(err), errors.Is(err, errTimeout), errors.Is(err, errReferral), ctx.Err() != nil:
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", errLost, err)
}

// errLost is the error of a connection that was lost.
var errLost = errors.New("connection lost")

// tooMany says that a search finds too many entries, for us or for the server.
func (e *expansion) tooMany(s search, err error) error {
	if e.size == 0 {
		return fmt.Errorf("the server has a limit for the number of entries: %w: %s", err, s)
	}
	name := paramSize
	if _, _, ok := e.settings.Lookup(name); !ok {
		name = cf.ParamLimit
	}
	return e.settings.Wrong(name, fmt.Errorf("more than %d entries: %s", e.size, s))
}

// add adds the values of one entry. A terminal attribute in it silences all
// others; a special one silences leaf attributes.
func (e *expansion) add(ctx context.Context, entry *goldap.Entry) error {
	special := e.attrs[e.plain:]
	terminal := has(entry, e.attrs[:e.terminal])
	leaf := !has(entry, special)
	row := map[string]string{"dn": entry.DN}
	for _, attr := range entry.Attributes {
		i := slices.IndexFunc(e.attrs, func(name string) bool { return subtype(name, attr.Name) > 0 })
		switch {
		case i < 0, terminal && i >= e.terminal, !terminal && !leaf && i < e.terminal+e.leaf:
			continue
		case i >= e.plain:
			if err := e.recurse(ctx, attr); err != nil {
				return err
			}
			continue
		}
		for _, value := range attr.Values {
			added, err := e.out.Add(value)
			if err != nil {
				return err
			}
			if added {
				row[attr.Name] = strings.Join(attr.Values, ", ")
			}
		}
	}
	if len(row) > 1 {
		e.out.From(row)
	}
	return nil
}

// has reports whether an entry has a value of one of the attributes.
func has(entry *goldap.Entry, names []string) bool {
	return slices.ContainsFunc(entry.Attributes, func(a *goldap.EntryAttribute) bool {
		return len(a.Values) > 0 && slices.ContainsFunc(names, func(n string) bool { return subtype(n, a.Name) > 0 })
	})
}

// recurse adds the entries that the values of a special attribute name.
func (e *expansion) recurse(ctx context.Context, attr *goldap.EntryAttribute) error {
	for _, value := range attr.Values {
		if len(e.path) >= e.recursion {
			return fmt.Errorf("%s exceeded at %s: %s", paramRecursion, attr.Name, value)
		}
		s := search{value, goldap.ScopeBaseObject, allEntries, e.attrs}
		if _, _, ok := cutScheme(value); ok {
			var err error
			if _, s, err = parseURL(value); err != nil {
				return fmt.Errorf("%s: malformed URL %q: %w", attr.Name, value, err)
			}
			if s.attrs = wanted(s.attrs, e.attrs); s.attrs == nil {
				continue
			}
		}
		err := e.run(ctx, s)
		if goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) {
			e.pool.opener.Warn("%s: %s: there is no %q -- ignored", e.Table, attr.Name, value)
			continue
		}
		if goldap.IsErrorWithCode(err, goldap.LDAPResultInvalidDNSyntax) {
			return fmt.Errorf("%s: %q is neither a name nor an LDAP URL: %v", attr.Name, value, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
