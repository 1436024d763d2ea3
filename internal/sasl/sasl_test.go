package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"postern/internal/address"
	"postern/internal/smtpc"
	"postern/internal/table"
	"postern/internal/table/compose"
)

// steps plays an exchange: what we say at first, then challenges and answers.
// Missing initial responses are "-".
func steps(m smtpc.Mechanism, challenges ...string) (said []string, err error) {
	name, initial, err := m.Start()
	said = append(said, name)
	if err != nil {
		return said, err
	}
	if initial == nil {
		said = append(said, "-")
	} else {
		said = append(said, string(initial))
	}
	for _, c := range challenges {
		answer, err := m.Next([]byte(c))
		if err != nil {
			return said, err
		}
		said = append(said, string(answer))
	}
	return said, m.Done()
}

func TestMechanisms(t *testing.T) {
	s := smtpc.Server{Name: "mx.test"}
	for _, test := range []struct {
		name       string
		m          smtpc.Mechanism
		challenges []string
		want       string // joined with |
		err        string // part of it
	}{
		{"PLAIN", newPlain("user", "secret", s, ""), nil, "PLAIN|\x00user\x00secret", ""},
		{"PLAIN with NUL", newPlain("user", "sec\x00ret", s, ""), nil, "PLAIN", "NUL octet"},
		{"PLAIN asked for more", newPlain("u", "p", s, ""), []string{""}, "PLAIN|\x00u\x00p", "asks for more"},
		{"LOGIN", newLogin("user", "secret", s, ""), []string{"Username:", "Password:"}, "LOGIN|-|user|secret", ""},
		{"LOGIN in other words", newLogin("user", "secret", s, ""), []string{"User Name\x00", "?"}, "LOGIN|-|user|secret", ""},
		{"LOGIN asked for more", newLogin("u", "p", s, ""), []string{"", "", ""}, "LOGIN|-|u|p", "asks for more"},
		{"EXTERNAL", newExternal("", "", s, ""), nil, "EXTERNAL|", ""},
		{"EXTERNAL as user", newExternal("user", "", s, ""), nil, "EXTERNAL|user", ""},
		// RFC 2195, 3
		{"CRAM-MD5", newCramMD5("tim", "tanstaaftanstaaf", s, ""), []string{"<1896.697170952@postoffice.reston.mci.net>"},
			"CRAM-MD5|-|tim b913a602c7eda7a495b4e6e7334d3890", ""},
		{"CRAM-MD5 twice", newCramMD5("u", "p", s, ""), []string{"<1@x>", "<2@x>"}, "CRAM-MD5|-|u 91145a1877b0ee1d5c048465707b7146", "asks for more"},
		{"CRAM-MD5 not asked", newCramMD5("u", "p", s, ""), nil, "CRAM-MD5|-", "did not ask"},
		{"CRAM-MD5 empty", newCramMD5("u", "p", s, ""), []string{""}, "CRAM-MD5|-", "asks for more"},
		{"OAUTHBEARER", newOAuthBearer("a,b@x.test", "tok", s, ""), nil, "OAUTHBEARER|n,a=a=2Cb@x.test,\x01auth=Bearer tok\x01\x01", ""},
		{"OAUTHBEARER refused", newOAuthBearer("u", "tok", s, ""), []string{`{"status":"invalid_token"}`}, "OAUTHBEARER|n,a=u,\x01auth=Bearer tok\x01\x01|\x01", ""},
		{"XOAUTH2", newXOAuth2("u@x.test", "tok", s, ""), nil, "XOAUTH2|user=u@x.test\x01auth=Bearer tok\x01\x01", ""},
		{"XOAUTH2 refused", newXOAuth2("u", "tok", s, ""), []string{"{}"}, "XOAUTH2|user=u\x01auth=Bearer tok\x01\x01|", ""},
		{"XOAUTH2 with a separator", newXOAuth2("u", "to\x01k", s, ""), nil, "XOAUTH2", "control character"},
	} {
		said, err := steps(test.m, test.challenges...)
		if got := strings.Join(said, "|"); got != test.want {
			t.Errorf("%s: said %q, want %q", test.name, got, test.want)
		}
		if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.err)
		}
	}
}

func TestChoose(t *testing.T) {
	all := []string{"LOGIN", "PLAIN", "XOAUTH2", "CRAM-MD5", "OAUTHBEARER", "SCRAM-SHA-1", "SCRAM-SHA-256", "EXTERNAL", "GSSAPI"}
	verified := &tls.ConnectionState{}
	for _, test := range []struct {
		name     string
		options  string // in clear | with TLS | verified
		filter   string
		offered  []string
		tls      *tls.ConnectionState
		trust    smtpc.Trust
		password string
		want     string // "" is none
	}{
		{"the best", "||", "", all, nil, 0, "p", "SCRAM-SHA-256"},
		{"what is offered", "||", "", []string{"LOGIN", "PLAIN"}, nil, 0, "p", "PLAIN"},
		{"passwords rather than tokens", "||", "", []string{"XOAUTH2", "LOGIN"}, nil, 0, "p", "LOGIN"},
		{"tokens where they are listed", "||", "xoauth2", all, nil, 0, "p", "XOAUTH2"},
		{"in any case", "||", "XOAuth2", all, nil, 0, "p", "XOAUTH2"},
		{"negated", "||", "!scram-sha-256, !scram-sha-1, !cram-md5, static:rest", all, nil, 0, "p", "PLAIN"},
		{"nothing listed", "||", "gssapi", all, nil, 0, "p", ""},
		{"default, in clear", "noplaintext noanonymous||", "", []string{"PLAIN", "LOGIN", "XOAUTH2"}, nil, 0, "p", ""},
		{"default, in clear, with CRAM", "noplaintext noanonymous||", "", []string{"PLAIN", "CRAM-MD5"}, nil, 0, "p", "CRAM-MD5"},
		{"noactive", "noactive||", "", []string{"PLAIN", "CRAM-MD5"}, nil, 0, "p", ""},
		{"noactive with SCRAM", "noactive||", "", []string{"CRAM-MD5", "SCRAM-SHA-1"}, nil, 0, "p", "SCRAM-SHA-1"},
		{"nodictionary", "nodictionary||", "", all, nil, 0, "p", ""},
		{"mutual_auth", "mutual_auth||", "", []string{"PLAIN", "CRAM-MD5"}, nil, 0, "p", ""},
		{"TLS", "noplaintext|noanonymous|noplaintext", "", []string{"PLAIN"}, verified, smtpc.Trusted, "p", "PLAIN"},
		{"TLS, stricter when verified", "||noplaintext", "", []string{"PLAIN"}, verified, smtpc.Verified, "p", ""},
		{"verified", "noplaintext|noplaintext|", "", []string{"PLAIN"}, verified, smtpc.Verified, "p", "PLAIN"},
		{"no password", "||", "", all, verified, smtpc.Verified, "", "EXTERNAL"},
		{"no password, no TLS", "||", "", all, nil, 0, "", ""},
		{"nothing offered", "||", "", nil, nil, 0, "p", ""},
	} {
		words := strings.Split(test.options, "|")
		var p [3]Properties
		for i := range p {
			var err error
			if p[i], err = ParseProperties(strings.Fields(words[i])); err != nil {
				t.Fatal(err)
			}
		}
		o := &table.Opener{Types: map[string]table.Constructor{"static": compose.Static}}
		filter, err := o.List(context.Background(), test.filter, table.StringList, false, table.Use{})
		if err != nil {
			t.Fatal(err)
		}
		c := &Chooser{Filter: filter, Clear: p[0], Encrypted: p[1], Verified: p[2], Certificate: true}
		m, err := c.Choose(context.Background(), "u", test.password, smtpc.Server{Offered: test.offered, TLS: test.tls, Trust: test.trust})
		got := ""
		if err == nil {
			got, _, _ = m.Start()
		} else if !errors.Is(err, ErrNoMechanism) {
			t.Errorf("%s: %v is not ErrNoMechanism", test.name, err)
		}
		if got != test.want {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
	if _, err := (&Chooser{}).Choose(context.Background(), "u", "", smtpc.Server{Offered: all, TLS: verified}); !errors.Is(err, ErrNoMechanism) {
		t.Errorf("EXTERNAL without a certificate: %v", err)
	}
	if _, err := ParseProperties([]string{"noplaintext", "nothing"}); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("an unknown property: %v", err)
	}
}

func TestChooseWithBrokenFilter(t *testing.T) {
	o := &table.Opener{Types: map[string]table.Constructor{"fail": compose.Fail}}
	filter, _ := o.List(context.Background(), "fail:x", table.StringList, false, table.Use{})
	_, err := (&Chooser{Filter: filter}).Choose(context.Background(), "u", "p", smtpc.Server{Offered: []string{"PLAIN"}})
	var e *table.Error
	if errors.Is(err, ErrNoMechanism) || !errors.As(err, &e) {
		t.Errorf("a filter that cannot be asked: %v, want a table's error", err)
	}
}

func TestPasswords(t *testing.T) {
	o := &table.Opener{Types: map[string]table.Constructor{"inline": compose.Inline, "fail": compose.Fail}}
	maps, err := o.Maps(context.Background(), `inline:{ {a@x.test=a:1} {@x.test=any:2} {mx.isp.test=host:3:4} {[mx.isp.test]:587=hop:5}
		{nobody.test=token} {bad.test=:6} }`, table.Use{Fold: true, Parameter: "smtp_sasl_password_maps"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		bySender              bool
		sender, nextHop, host string
		want                  string
	}{
		{true, "a@x.test", "[mx.isp.test]:587", "mx.isp.test", "a 1"},
		{true, "A+ext@X.test", "[mx.isp.test]:587", "mx.isp.test", "a 1"},
		{true, "b@x.test", "[mx.isp.test]:587", "mx.isp.test", "any 2"},
		{true, "b@y.test", "[mx.isp.test]:587", "mx.isp.test", "host 3:4"},
		{true, "", "[mx.isp.test]:587", "mx.isp.test", "host 3:4"},
		{false, "a@x.test", "[mx.isp.test]:587", "mx.isp.test", "host 3:4"},
		{false, "a@x.test", "[MX.isp.test]:587", "other.test", "hop 5"},
		{false, "a@x.test", "[mx.isp.test]", "other.test", "none"},
		{false, "", "nobody.test", "h.test", "token "},
		{false, "", "bad.test", "h.test", `smtp_sasl_password_maps, entry "bad.test": no user in front of the colon`},
	} {
		p := &Passwords{Maps: maps, BySender: test.bySender, Delimiter: address.Delimiter{Set: "+"}}
		user, password, ok, err := p.Lookup(context.Background(), test.sender, test.nextHop, test.host)
		got := user + " " + password
		switch {
		case err != nil:
			got = err.Error()
		case !ok:
			got = "none"
		}
		if got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
	maps, _ = o.Maps(context.Background(), "fail:x", table.Use{})
	if _, _, ok, err := (&Passwords{Maps: maps}).Lookup(context.Background(), "", "a.test", "b.test"); ok || err == nil {
		t.Errorf("a table that fails: %v, %v", ok, err)
	}
}
