package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Client are the TLS parameters for one server.
type Client struct {
	Level Level
	// Host is the name that is asked for (SNI), unless it is an address or "".
	Host string
	// Names are what the certificate has to have at levels Verify
	// (smtp_tls_verify_cert_match) and Secure (smtp_tls_secure_cert_match), one of
	// them: a host name, or one with a dot in front, which stands for any name
	// below it.
	Names   []string
	Match   Matching       // how names are compared
	Roots   *x509.CertPool // see Roots; nil: the authorities of this system
	Anchors *Anchors       // smtp_tls_trust_anchor_file: with it, Roots are not looked at
	// Check is called at the levels Dane, DaneOnly and Fingerprint, which need one,
	// and says whether the server is who it should be.
	Check func(tls.ConnectionState) error

	Protocols string // smtp_tls_protocols, or smtp_tls_mandatory_protocols
	Ciphers   string // smtp_tls_ciphers, or smtp_tls_mandatory_ciphers; "" is medium
	Exclude   string // smtp_tls_exclude_ciphers
	Cache     tls.ClientSessionCache
	// Certificate chooses our own certificate: see Server.ClientCertificate. nil:
	// there is none.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
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
		InsecureSkipVerify:   true,
		ClientSessionCache:   c.Cache,
		GetClientCertificate: c.Certificate,
	}
	switch c.Level {
	case May, Encrypt:
	case Dane, DaneOnly, Fingerprint:
		if c.Check == nil {
			return nil, fmt.Errorf("nothing to check a certificate with at security level %s", c.Level)
		}
		config.VerifyConnection = c.Check
	default:
		config.VerifyConnection = c.verify
	}
	return config, nil
}

// verify checks the chain of a server, and that its certificate has one of the
// names. An error is a *tls.CertificateVerificationError.
func (c Client) verify(state tls.ConnectionState) error {
	err := c.VerifyChain(state)
	if err == nil {
		err = c.Match.Verify(state.PeerCertificates[0], c.Names)
	}
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// VerifyChain reports whether the certificate of a server, which may have any
// name, leads to one that is trusted.
func (c Client) VerifyChain(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	roots := c.Roots
	if c.Anchors != nil {
		roots = c.Anchors.pool(state.PeerCertificates)
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, cert := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(options)
	return err
}
