package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// server is one of server_host.
type server struct {
	url     string // for messages
	network string // tcp or unix
	address string
	ldaps   bool

	// What follows is guarded by pool.mu.
	err   error     // why it failed the last time, nil when it did not
	until time.Time // not to be tried before
}

const defaultPort = 389

// defaultSocket is that of ldapi://, as in OpenLDAP.
const defaultSocket = "/var/run/slapd/ldapi"

func readServers(s *cf.Settings) ([]*server, error) {
	port, err := s.NumberOr(paramPort, defaultPort, 0)
	if err != nil {
		return nil, err
	}
	hosts, _, ok := s.Lookup(paramHost)
	if !ok {
		hosts = "localhost"
	}
	var all []*server
	for _, host := range syntax.Split(hosts, syntax.Separators) {
		server, err := parseServer(host, port)
		if err != nil {
			return nil, s.Wrong(paramHost, fmt.Errorf("%q: %w", host, err))
		}
		all = append(all, server)
	}
	if len(all) == 0 {
		return nil, s.Wrong(paramHost, errors.New("names no server"))
	}
	return all, nil
}

// parseServer reads host, host:port, [address]:port, or a URL. Without a port
// of its own a host has port, and a URL the port of its scheme.
func parseServer(text string, port int) (*server, error) {
	scheme, host, isURL := cutScheme(text)
	if !isURL {
		if strings.Contains(text, "://") {
			return nil, errors.New("a URL starts with ldap://, ldaps:// or ldapi://")
		}
		scheme, host = "ldap", text
	}
	host, _, _ = strings.Cut(host, "/")
	if scheme == "ldapi" {
		path, err := url.PathUnescape(host)
		if path == "" {
			path = defaultSocket
		}
		return &server{url: "ldapi://" + path, network: "unix", address: path}, err
	}
	if isURL {
		port = defaultPort
	}
	if scheme == "ldaps" {
		port = 636
	}
	u, err := url.Parse("//" + host)
	if err != nil || u.Hostname() == "" || u.Host != host || strings.Count(host, ":") > 1 && host[0] != '[' {
		return nil, errors.New("expected host, host:port, [address]:port or a URL")
	}
	address := net.JoinHostPort(u.Hostname(), fmt.Sprint(port))
	if u.Port() != "" {
		address = net.JoinHostPort(u.Hostname(), u.Port())
	}
	return &server{url: scheme + "://" + address, network: "tcp", address: address, ldaps: scheme == "ldaps"}, nil
}

// readTLS reads the TLS settings if they may be used. Otherwise their files need
// not exist.
func readTLS(o *table.Opener, s *cf.Settings, l *login) error {
	chase, err := s.Bool(paramChase)
	if err != nil {
		return err
	}
	if !chase && !l.startTLS && !slices.ContainsFunc(l.servers, func(s *server) bool { return s.ldaps }) {
		return nil
	}
	verify, err := s.Bool(paramRequire)
	if err != nil {
		return err
	}
	l.tls = &tls.Config{InsecureSkipVerify: !verify} // tls_require_cert = no: any certificate will do
	if l.tls.RootCAs, err = readCAs(o, s); err != nil {
		return err
	}
	if cert := s.Get(paramCert); cert != "" {
		key := s.Get(paramKey)
		if key == "" {
			return s.Wrong(paramCert, fmt.Errorf("%s must name the key of this certificate", paramKey))
		}
		pair, err := keyPair(o, o.Path(cert), o.Path(key))
		if err != nil {
			return s.Wrong(paramCert, err)
		}
		l.tls.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// keyPair reads a certificate and its key.
func keyPair(o *table.Opener, cert, key string) (tls.Certificate, error) {
	text, err := o.ReadFile(cert)
	if err != nil {
		return tls.Certificate{}, table.OpenError(cert, err)
	}
	secret, err := o.ReadFile(key)
	if err != nil {
		return tls.Certificate{}, table.OpenError(key, err)
	}
	return tls.X509KeyPair(text, secret)
}

// tlsFor are the TLS settings for a server.
func (l *login) tlsFor(s *server) *tls.Config {
	config := l.tls.Clone()
	config.ServerName, _, _ = net.SplitHostPort(s.address)
	return config
}

// hashed are the names that openssl rehash gives to certificates.
var hashed = regexp.MustCompile(`^[0-9a-f]{8}\.[0-9]+$`)

// readCAs reads tls_ca_cert_file and tls_ca_cert_dir. nil are those of the
// system.
func readCAs(o *table.Opener, s *cf.Settings) (*x509.CertPool, error) {
	file, dir := s.Get(paramCAFile), s.Get(paramCADir)
	if file == "" && dir == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if file != "" {
		path := o.Path(file)
		text, err := o.ReadFile(path)
		if err != nil {
			return nil, s.Wrong(paramCAFile, table.OpenError(path, err))
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, s.Wrong(paramCAFile, fmt.Errorf("%s has no PEM certificate", path))
		}
	}
	if dir == "" {
		return pool, nil
	}
	path, found := o.Path(dir), false
	entries, err := o.ReadDir(path)
	if err != nil {
		return nil, s.Wrong(paramCADir, table.OpenError(path, err))
	}
	for _, e := range entries {
		if !hashed.MatchString(e.Name()) {
			continue
		}
		text, err := o.ReadFile(filepath.Join(path, e.Name()))
		found = err == nil && pool.AppendCertsFromPEM(text) || found
	}
	if !found {
		return nil, s.Wrong(paramCADir, fmt.Errorf("%s has no certificates under hash names: run openssl rehash %s", path, path))
	}
	return pool, nil
}
