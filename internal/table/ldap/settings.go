package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// Names of parameters.
const (
	paramHost      = "server_host"
	paramPort      = "server_port"
	paramBase      = "search_base"
	paramFilter    = "query_filter"
	paramResult    = "result_attribute"
	paramSpecial   = "special_result_attribute"
	paramTerminal  = "terminal_result_attribute"
	paramLeaf      = "leaf_result_attribute"
	paramTimeout   = "timeout"
	paramScope     = "scope"
	paramBind      = "bind"
	paramBindDN    = "bind_dn"
	paramBindPW    = "bind_pw"
	paramRecursion = "recursion_limit"
	paramSize      = "size_limit"
	paramDeref     = "dereference"
	paramChase     = "chase_referrals"
	paramMechs     = "sasl_mechs"
	paramAuthz     = "sasl_authz_id"
	paramVersion   = "version"
	paramStartTLS  = "start_tls"
	paramCAFile    = "tls_ca_cert_file"
	paramCADir     = "tls_ca_cert_dir"
	paramCert      = "tls_cert"
	paramKey       = "tls_key"
	paramRequire   = "tls_require_cert"
)

// ignored are the parameters that have no effect here, and a value with which
// they have none in Postfix either.
var ignored = map[string]string{
	"cache": "no", "cache_expiry": "", "cache_size": "", "debuglevel": "0", "sasl_realm": "",
	"sasl_minssf": "0", "tls_cipher_suite": "", "tls_random_file": "",
}

// Parameters are the names that the .cf file of a table may have.
func Parameters() []string { return known() }

// known are all parameters.
func known() []string {
	names := []string{
		paramHost, paramBase, paramFilter, paramResult, paramPort, paramSpecial, paramTerminal, paramLeaf,
		paramTimeout, paramScope, paramBind, paramBindDN, paramBindPW, paramRecursion, paramSize, paramDeref,
		paramChase, paramMechs, paramAuthz, paramVersion, paramStartTLS, paramCAFile, paramCADir, paramCert,
		paramKey, paramRequire, cf.ParamResult, "result_filter", cf.ParamDomain, cf.ParamLimit,
	}
	for name := range ignored {
		names = append(names, name)
	}
	slices.Sort(names[8:])
	return names
}

// question is what a table asks.
type question struct {
	base        cf.Template
	dynamic     bool // base depends on the key
	filter      filter
	filterAt    origin.At
	scope       int
	attrs       []string // terminal, leaf, ordinary and special ones, in this order
	terminal    int      // how many of attrs
	leaf        int      // how many behind these
	plain       int      // index of the first special one
	recursion   int      // recursion_limit
	size        int      // size_limit, 0: none
	dereference int
	chase       bool
}

// readQuestion reads the parameters of searches, except for those in Common.
func readQuestion(ctx context.Context, o *table.Opener, name string, s *cf.Settings, use table.Use) (*question, *cf.Common, error) {
	s.Former(cf.ParamResult, "result_filter")
	common, err := cf.NewCommon(ctx, o, "ldap:"+name, s, use)
	if err != nil {
		return nil, nil, err
	}
	q := &question{}
	if err := q.readTemplates(o, s, common); err != nil {
		return nil, nil, err
	}
	if q.recursion, err = s.NumberOr(paramRecursion, 1000, 1); err != nil {
		return nil, nil, err
	}
	if q.size, err = s.NumberOr(paramSize, common.Limit, 0); err != nil {
		return nil, nil, err
	}
	if q.chase, err = s.Bool(paramChase); err != nil {
		return nil, nil, err
	}
	if q.dereference, err = s.NumberOr(paramDeref, 0, 0); err != nil {
		return nil, nil, err
	}
	if q.dereference > goldap.DerefAlways {
		o.Warn("%v", s.Wrong(paramDeref, fmt.Errorf("%d is not a number from 0 to 3: 0 (never) is used", q.dereference)))
		q.dereference = goldap.NeverDerefAliases
	}
	q.scope = readScope(o, s)
	q.readAttributes(s)
	return q, common, nil
}

// readTemplates reads search_base and query_filter.
func (q *question) readTemplates(o *table.Opener, s *cf.Settings, common *cf.Common) error {
	base, _, ok := s.Lookup(paramBase)
	if !ok {
		_, err := s.Required(paramBase)
		return err
	}
	if base == "" { // the global catalogue of an Active Directory is asked like this
		o.Warn("%v", s.Wrong(paramBase, errors.New("empty: the search starts at the root of the directory, where most servers hold nothing")))
	}
	var err error
	if q.base, err = cf.ParseTemplate(base); err != nil {
		return s.Wrong(paramBase, err)
	}
	q.dynamic = hasLetter(base)
	text, at, ok := s.Lookup(paramFilter)
	if !ok {
		text, at = "(mailacceptinggeneralid=%s)", origin.At{File: s.Source}
	}
	if q.filter, err = parseFilter(text); err != nil {
		return s.Wrong(paramFilter, err)
	}
	q.filterAt = at
	if !hasLetter(text) {
		o.Warn("%v", s.Wrong(paramFilter, fmt.Errorf("%s is the same for every key: put %%s where the key belongs", text)))
	}
	common.Ask(q.base)
	common.Ask(q.filter.template)
	return nil
}

// hasLetter reports whether a template depends on the key.
func hasLetter(template string) bool {
	return strings.Contains(strings.ReplaceAll(template, "%%", ""), "%")
}

func readScope(o *table.Opener, s *cf.Settings) int {
	value, _, ok := s.Lookup(paramScope)
	scope, found := scopes[strings.ToLower(value)]
	switch {
	case !ok:
		return goldap.ScopeWholeSubtree
	case !found || len(value) > len("base"):
		o.Warn("%v", s.Wrong(paramScope, fmt.Errorf("%q is none of sub, one, base: sub is used", value)))
		return goldap.ScopeWholeSubtree
	}
	return scope
}

func (q *question) readAttributes(s *cf.Settings) {
	add := func(name string) int {
		q.attrs = append(q.attrs, syntax.Split(s.Get(name), syntax.Separators)...)
		return len(q.attrs)
	}
	q.terminal = add(paramTerminal)
	q.leaf = add(paramLeaf) - q.terminal
	if _, _, ok := s.Lookup(paramResult); !ok {
		q.attrs = append(q.attrs, "maildrop")
	}
	q.plain = add(paramResult)
	add(paramSpecial)
}

// login says how a connection is made and who one is then.
type login struct {
	servers  []*server
	timeout  time.Duration
	startTLS bool
	tls      *tls.Config // nil when no server needs it
	bind     bool
	external bool // bind with SASL EXTERNAL
	dn, pw   string
	wrong    func(name string, err error) error // blames a line
}

func readLogin(o *table.Opener, s *cf.Settings) (*login, error) {
	l := &login{dn: s.Get(paramBindDN), pw: s.Get(paramBindPW), wrong: s.Wrong}
	seconds, err := s.NumberOr(paramTimeout, 10, 1)
	if err != nil {
		return nil, err
	}
	l.timeout = time.Duration(seconds) * time.Second
	if err := l.readBind(s); err != nil {
		return nil, err
	}
	if l.startTLS, err = s.Bool(paramStartTLS); err != nil {
		return nil, err
	}
	if l.servers, err = readServers(s); err != nil {
		return nil, err
	}
	if err := readTLS(o, s, l); err != nil {
		return nil, err
	}
	warnIgnored(o, s)
	return l, nil
}

func (l *login) readBind(s *cf.Settings) error {
	switch value := s.Get(paramBind); strings.ToLower(value) {
	case "no", "none":
	case "", "yes", "simple":
		l.bind = true
	case "sasl":
		mechs := syntax.Split(strings.ToUpper(s.Get(paramMechs)), syntax.Separators)
		if len(mechs) > 0 && !slices.Contains(mechs, "EXTERNAL") {
			return s.Wrong(paramMechs, errors.New("EXTERNAL is the only mechanism that is supported: use it, or bind = simple"))
		}
		if s.Get(paramAuthz) != "" {
			return s.Wrong(paramAuthz, errors.New("is not supported: the server chooses the identity"))
		}
		l.bind, l.external = true, true
	default:
		return s.Wrong(paramBind, fmt.Errorf("%q is none of yes, no, none, simple, sasl", value))
	}
	return nil
}

// warnIgnored names the parameters that have no effect.
func warnIgnored(o *table.Opener, s *cf.Settings) {
	if s.Get(paramVersion) == "2" {
		o.Warn("%v", s.Wrong(paramVersion, errors.New("protocol version 2 is not spoken, version 3 is: remove the line")))
	}
	for _, name := range known() {
		if none, ok := ignored[name]; ok {
			if value := s.Get(name); value != "" && value != none {
				o.Warn("%v", s.Wrong(name, errors.New("has no effect here")))
			}
		}
	}
}
