package mtasts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/dns"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// Names of parameters.
const (
	paramDirectory = "cache_directory"
	paramTimeout   = "timeout"
	paramServers   = "dns_servers"
	paramCAfile    = "CAfile"
	paramAddress   = "https_address"
)

var known = []string{paramDirectory, paramTimeout, paramServers, paramCAfile, paramAddress}

// Open opens a mta-sts: table. name is "", or that of a .cf file; a wrong
// parameter in it is an error that names the line. Nothing is asked yet.
func Open(_ context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	t, err := open(o, name, use)
	if err != nil {
		return nil, cf.OpenFailure("mta-sts:"+name, use, err)
	}
	return t, nil
}

func open(o *table.Opener, name string, use table.Use) (*stsTable, error) {
	if use.NoRemote {
		return nil, fmt.Errorf("mta-sts:%s map is not allowed for security-sensitive data: other domains decide what is in it", name)
	}
	s := &cf.Settings{}
	if name != "" {
		var err error
		if s, err = cf.Load(o, name, known); err != nil {
			return nil, err
		}
	}
	seconds, err := s.NumberOr(paramTimeout, 10, 1)
	if err != nil {
		return nil, err
	}
	client, err := newClient(o, s)
	if err != nil {
		return nil, s.Wrong(paramServers, errors.Unwrap(err)) // it names the parameter already
	}
	roots, err := readRoots(o, s.Get(paramCAfile))
	if err != nil {
		return nil, s.Wrong(paramCAfile, err)
	}
	t := newTable(o, "mta-sts:"+name, newFetcher(client, roots, s.Get(paramAddress)), store{directory(o, s)})
	t.timeout = time.Duration(seconds) * time.Second
	return t, nil
}

// newClient makes the resolver, with the parameters of main.cf.
func newClient(o *table.Opener, s *cf.Settings) (*dns.Client, error) {
	servers := s.Get(paramServers)
	if servers == "" {
		servers = param(o, "dns_servers")
	}
	options := dns.Options{Servers: strings.FieldsFunc(servers, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }), Now: o.Clock}
	if protocols := param(o, "inet_protocols"); protocols != "" && !strings.Contains(protocols, "all") {
		options.NoIPv4 = !strings.Contains(protocols, "ipv4")
		options.NoIPv6 = !strings.Contains(protocols, "ipv6")
	}
	return dns.New(options)
}

// directory is where policies are kept, "": nowhere.
func directory(o *table.Opener, s *cf.Settings) string {
	if d := s.Get(paramDirectory); d != "" {
		return o.Path(d)
	}
	if d := param(o, "queue_directory"); d != "" {
		return filepath.Join(d, "postern", "mta-sts")
	}
	return ""
}

// param is the value of a main.cf parameter.
func param(o *table.Opener, name string) string {
	if o.Param == nil {
		return ""
	}
	value, _, _ := o.Param(name)
	return value
}

// readRoots reads a file of authorities; nil: those of the system.
func readRoots(o *table.Opener, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := o.ReadFile(file)
	if err != nil {
		return nil, table.OpenError(file, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("no certificates found")
	}
	return pool, nil
}
