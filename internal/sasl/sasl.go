// Package sasl is the client side of SMTP authentication (RFC 4954): which
// mechanism is used with a server, how it works, and whose password it is.
//
// # Mechanisms
//
// From the best to the worst, those that a server may offer:
//
//	EXTERNAL       our certificate says who we are (RFC 4422, A); needs an empty password
//	SCRAM-SHA-256  RFC 7677; the server proves that it knows the password too
//	SCRAM-SHA-1    RFC 5802
//	CRAM-MD5       RFC 2195
//	PLAIN          RFC 4616
//	LOGIN          as PLAIN, in two steps
//	OAUTHBEARER    RFC 7628; the password is an access token
//	XOAUTH2        its forerunner
//
// The last two are used where smtp_sasl_mechanism_filter leaves nothing else: a
// server that takes tokens may take passwords as well.
//
// # Choice
//
// The first is taken that the server offers, that smtp_sasl_mechanism_filter
// lists (a match list: names, !name, /file, type:table), and that has all
// properties which are asked for:
//
//	noplaintext   the password is not sent (not: PLAIN, LOGIN, tokens)
//	noactive      safe from a man in the middle (SCRAM only)
//	nodictionary  no guessing from what was heard (EXTERNAL only)
//	noanonymous   somebody is named (all of them)
//	mutual_auth   the server proves who it is (SCRAM only)
//
// smtp_sasl_security_options asks for them in clear, smtp_sasl_tls_security_options
// with TLS, smtp_sasl_tls_verified_security_options with TLS and a verified
// certificate.
//
// # Passwords
//
// smtp_sasl_password_maps holds user:password under the sender address or its
// @domain (smtp_sender_dependent_authentication), under the name of the server,
// or under the next hop as it is written in main.cf, brackets, port and all; in
// this order.
//
// # Limits
//
// Channel binding (the -PLUS mechanisms), GSSAPI, NTLM and DIGEST-MD5 are not
// here. A mechanism is used once. Numbers and lengths that a server chooses are
// bounded.
//
// It imports address, smtpc, table, and golang.org/x/text/unicode/norm.
package sasl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/smtpc"
	"postern/internal/table"
)

// Properties are what is asked of a mechanism, and what it has.
type Properties uint8

// Properties, in the words of smtp_sasl_security_options.
const (
	NoPlaintext Properties = 1 << iota
	NoActive
	NoDictionary
	NoAnonymous
	MutualAuth
)

var properties = map[string]Properties{
	"noplaintext": NoPlaintext, "noactive": NoActive, "nodictionary": NoDictionary,
	"noanonymous": NoAnonymous, "mutual_auth": MutualAuth,
}

// ParseProperties reads the words of smtp_sasl_security_options, in any case.
func ParseProperties(words []string) (Properties, error) {
	var all Properties
	for _, w := range words {
		p, ok := properties[strings.ToLower(w)]
		if !ok {
			return 0, fmt.Errorf("unknown SASL security option %q", w)
		}
		all |= p
	}
	return all, nil
}

// Chooser chooses how to authenticate. It is safe for concurrent use.
type Chooser struct {
	Filter      *table.List // smtp_sasl_mechanism_filter; nil or empty: everything
	Clear       Properties  // smtp_sasl_security_options
	Encrypted   Properties  // smtp_sasl_tls_security_options
	Verified    Properties  // smtp_sasl_tls_verified_security_options
	Certificate bool        // there is a client certificate (smtp_tls_cert_file)
	// Nonce makes the nonces of SCRAM. nil: crypto/rand.
	Nonce func() string
}

// ErrNoMechanism is the error of Choose when nothing fits: the server offers
// nothing that we have, or the configuration does not allow it.
var ErrNoMechanism = errors.New("no mechanism available")

// kind is a mechanism that can be chosen.
type kind struct {
	name string
	has  Properties
	make func(user, password string, s smtpc.Server, nonce string) smtpc.Mechanism
}

const scramProperties = NoPlaintext | NoActive | NoAnonymous | MutualAuth

// kinds are all mechanisms but EXTERNAL, the best first.
var kinds = []kind{
	{"SCRAM-SHA-256", scramProperties, newScram256},
	{"SCRAM-SHA-1", scramProperties, newScram1},
	{"CRAM-MD5", NoPlaintext | NoAnonymous, newCramMD5},
	{"PLAIN", NoAnonymous, newPlain},
	{"LOGIN", NoAnonymous, newLogin},
	{"OAUTHBEARER", NoAnonymous, newOAuthBearer},
	{"XOAUTH2", NoAnonymous, newXOAuth2},
}

var external = kind{"EXTERNAL", NoPlaintext | NoDictionary | NoAnonymous, newExternal}

// Choose returns the mechanism to use with a server, for one exchange. An error
// wraps ErrNoMechanism, or is that of a filter that cannot be asked.
func (c *Chooser) Choose(ctx context.Context, user, password string, s smtpc.Server) (smtpc.Mechanism, error) {
	asked := c.Clear
	switch {
	case s.TLS != nil && s.Trust == smtpc.Verified:
		asked = c.Verified
	case s.TLS != nil:
		asked = c.Encrypted
	}
	usable := kinds
	if password == "" {
		usable = nil
		if c.Certificate && s.TLS != nil {
			usable = []kind{external}
		}
	}
	for _, k := range usable {
		if k.has&asked != asked || !slices.Contains(s.Offered, k.name) {
			continue
		}
		ok, err := c.listed(ctx, k.name)
		if err != nil {
			return nil, err
		}
		if ok {
			return k.make(user, password, s, c.nonce()), nil
		}
	}
	return nil, fmt.Errorf("%w: the server offers %s", ErrNoMechanism, offer(s.Offered))
}

// offer names what a server offers, for an error.
func offer(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names[:min(len(names), 20)], " ")
}

// listed asks the filter.
func (c *Chooser) listed(ctx context.Context, name string) (bool, error) {
	if c.Filter.Empty() {
		return true, nil
	}
	_, err := c.Filter.Match(ctx, strings.ToLower(name), nil)
	if errors.Is(err, table.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
