package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Level is how much TLS a client wants (postconf smtp_tls_security_level).
type Level uint8

// Levels. dane, dane-only and fingerprint are not among them.
const (
	None    Level = iota // in clear
	May                  // if the server has it, whoever it is
	Encrypt              // required, whoever it is
	Verify               // required, and the certificate names the server
	Secure               // required, and the certificate names the next hop
)

// ParseLevel reads a security level, in any case. "" is None.
func ParseLevel(name string) (Level, error) {
	switch strings.ToLower(name) {
	case "", "none":
		return None, nil
	case "may":
		return May, nil
	case "encrypt":
		return Encrypt, nil
	case "verify":
		return Verify, nil
	case "secure":
		return Secure, nil
	}
	return None, fmt.Errorf("unknown TLS security level %q", name)
}

// Required reports whether mail must not go out without TLS.
func (l Level) Required() bool { return l >= Encrypt }

// Client are the TLS parameters for one server.
type Client struct {
	Level Level
	// Host is the name of the server, sent as SNI unless it is an address.
	Host string
	// Names are what the certificate has to have at levels Verify
	// (smtp_tls_verify_cert_match) and Secure (smtp_tls_secure_cert_match), one of
	// them: a host name, or one with a dot in front, which stands for any name
	// below it.
	Names     []string
	Roots     *x509.CertPool // see Roots; nil: the authorities of this system
	Protocols string         // smtp_tls_protocols, or smtp_tls_mandatory_protocols
	Ciphers   string         // smtp_tls_ciphers, or smtp_tls_mandatory_ciphers; "" is medium
	Exclude   string         // smtp_tls_exclude_ciphers
	Cache     tls.ClientSessionCache
}

// Config returns the configuration, nil at level None. It reads no files, so it
// can be called for every connection. Errors name the parameter.
func (c Client) Config() (*tls.Config, error) {
	if c.Level == None {
		return nil, nil
	}
	if c.Ciphers == "" {
		c.Ciphers = "medium"
	}
	lowest, highest, err := ParseProtocols(c.Protocols)
	if err != nil {
		return nil, fmt.Errorf("smtp_tls_protocols: %w", err)
	}
	suites, err := Suites(c.Ciphers, c.Exclude)
	if err != nil {
		return nil, fmt.Errorf("smtp_tls_ciphers: %w", err)
	}
	config := &tls.Config{
		ServerName:   c.Host,
		MinVersion:   lowest,
		MaxVersion:   highest,
		CipherSuites: suites,
		// Whether the chain and the names are good is said below, where more
		// than one name can be.
		InsecureSkipVerify: true,
		ClientSessionCache: c.Cache,
	}
	if c.Level < Verify {
		return config, nil
	}
	config.VerifyConnection = func(state tls.ConnectionState) error { return verify(state, c.Roots, c.Names) }
	return config, nil
}

// Roots reads the trusted authorities: those of a file (smtp_tls_CAfile), of
// every file of a directory (smtp_tls_CApath), and with system those of this
// system (tls_append_default_CA). With none of them nobody is trusted. Errors
// name the parameter and the file.
func Roots(file, directory string, system bool) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if system {
		var err error
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("tls_append_default_CA: %w", err)
		}
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fileError("smtp_tls_CAfile", file, err)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fileError("smtp_tls_CAfile", file, errors.New("no certificates found"))
		}
	}
	if directory == "" {
		return pool, nil
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, fileError("smtp_tls_CApath", directory, err)
	}
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(directory, e.Name())); err == nil {
			pool.AppendCertsFromPEM(text) // other files may lie there
		}
	}
	return pool, nil
}

// verify checks the chain of a server, and that its certificate has one of the
// names.
func verify(state tls.ConnectionState, roots *x509.CertPool, names []string) error {
	if len(state.PeerCertificates) == 0 {
		return &tls.CertificateVerificationError{Err: errors.New("no certificate")}
	}
	leaf := state.PeerCertificates[0]
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, cert := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := leaf.Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	for _, name := range names {
		if matches(leaf, name) {
			return nil
		}
	}
	return &tls.CertificateVerificationError{
		UnverifiedCertificates: state.PeerCertificates,
		Err:                    fmt.Errorf("the certificate has none of the names %q", names),
	}
}

// matches reports whether a certificate has a name; ".example.test" stands for
// every name below example.test.
func matches(leaf *x509.Certificate, name string) bool {
	if !strings.HasPrefix(name, ".") {
		return leaf.VerifyHostname(name) == nil
	}
	for _, san := range leaf.DNSNames {
		if len(san) > len(name) && strings.EqualFold(san[len(san)-len(name):], name) {
			return true
		}
	}
	return false
}
