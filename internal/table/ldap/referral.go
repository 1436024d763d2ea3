package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// maxHops is how often one server may refer to the next.
const maxHops = 5

// follow adds the entries to which a result refers. The other servers are asked
// without a login, as OpenLDAP does. What cannot be followed is an error: the
// answer is not known then.
func (e *expansion) follow(ctx context.Context, result *goldap.SearchResult, err error, s search, hops int) error {
	urls := result.Referrals
	if goldap.IsErrorWithCode(err, goldap.LDAPResultReferral) {
		if urls = referrals(err); len(urls) > 0 {
			urls, err = urls[:1], nil
		}
	}
	for _, url := range urls {
		if err != nil {
			break
		}
		var entries []*goldap.Entry
		entries, err = e.refer(ctx, url, s, hops+1)
		result.Entries = append(result.Entries, entries...)
	}
	return err
}

// refer asks the server of an LDAP URL for what the URL leaves open.
func (e *expansion) refer(ctx context.Context, url string, s search, hops int) ([]*goldap.Entry, error) {
	entries, err := e.elsewhere(ctx, url, s, hops)
	switch {
	case err == nil:
		return entries, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("%w to %s: %v", errReferral, url, err) // the rest is text: our own connection is well
}

var errReferral = errors.New("referral")

func (e *expansion) elsewhere(ctx context.Context, url string, s search, hops int) ([]*goldap.Entry, error) {
	if hops > maxHops {
		return nil, errors.New("one referral too many")
	}
	host, there, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	scheme, _, _ := cutScheme(url)
	next, err := parseServer(scheme+"://"+host, defaultPort)
	if err != nil {
		return nil, err
	}
	fields := append(strings.Split(url, "?"), "", "", "")
	if there.base != "" {
		s.base = there.base
	}
	if fields[2] != "" {
		s.scope = there.scope
	}
	if fields[3] != "" {
		s.filter = there.filter
	}
	anonymous := *e.pool.login
	anonymous.bind = false
	c, err := anonymous.dial(ctx, next)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return e.search(ctx, c, s, hops)
}

// referrals are the URLs of a result that is a referral (RFC 4511, 4.1.10), at
// least one of which helps.
func referrals(err error) []string {
	var e *goldap.Error
	if !errors.As(err, &e) || e.Packet == nil || len(e.Packet.Children) < 2 {
		return nil
	}
	const tag = 3 // [3] Referral
	var urls []string
	for _, field := range e.Packet.Children[1].Children {
		if field.ClassType != ber.ClassContext || field.Tag != tag {
			continue
		}
		for _, url := range field.Children {
			if text, ok := url.Value.(string); ok {
				urls = append(urls, text)
			}
		}
	}
	return urls
}
