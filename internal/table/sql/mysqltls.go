package sql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"postern/internal/table"
)

// tlsFile is the name of a file of the TLS set-up and the parameter that has it.
type tlsFile struct{ param, path string }

// tlsFile takes the name of a file from the .cf file, or else from the option
// file.
func (m *mysqlTable) tlsFile(param string, options map[string]string, option string) tlsFile {
	if path := m.settings.Get(param); path != "" {
		return tlsFile{param, m.opener.Path(path)}
	}
	return tlsFile{paramFile, options[option]}
}

// tls makes the configuration of TLS, nil when none of its parameters is set. A
// certificate authority makes the server's certificate be checked against it,
// tls_verify_cert its name as well.
func (m *mysqlTable) tls(options map[string]string) (*tls.Config, error) {
	ca, path := m.tlsFile(paramTLSCA, options, "ssl-ca"), m.tlsFile(paramTLSPath, options, "ssl-capath")
	cert, key := m.tlsFile(paramTLSCert, options, "ssl-cert"), m.tlsFile(paramTLSKey, options, "ssl-key")
	ciphers := firstOf(m.settings.Get(paramCiphers), options["ssl-cipher"])
	names, err := yesNo(m.settings, paramVerify, optionOn(options, "ssl-verify-server-cert"))
	if err != nil {
		return nil, err
	}
	if ca.path+path.path+cert.path+key.path+ciphers == "" && !names {
		return nil, nil
	}
	config := &tls.Config{InsecureSkipVerify: true, CipherSuites: m.suites(ciphers)} // dial sets the checks
	if cert.path+key.path != "" {
		if err := m.clientCertificate(config, cert, key); err != nil {
			return nil, err
		}
	}
	check := certificateCheck{names: names}
	switch {
	case ca.path != "":
		check.roots, err = m.roots(ca.param, []string{ca.path})
	case path.path != "":
		var files []string
		list, _ := m.opener.ReadDir(path.path) // without files nobody is trusted
		for _, e := range list {
			files = append(files, filepath.Join(path.path, e.Name()))
		}
		check.roots, err = m.roots(path.param, files)
	case !names:
		return config, nil
	}
	m.check = &check
	return config, err
}

// optionOn reports whether a boolean option is switched on.
func optionOn(options map[string]string, name string) bool {
	value, ok := options[name]
	switch strings.ToLower(value) {
	case "0", "off", "false":
		return false
	}
	return ok
}

// clientCertificate reads what the server may ask of us.
func (m *mysqlTable) clientCertificate(config *tls.Config, cert, key tlsFile) error {
	if cert.path == "" {
		return m.settings.Wrong(key.param, fmt.Errorf("%s has the key of a certificate, and %s is not set", key.path, paramTLSCert))
	}
	if key.path == "" {
		key = cert // one file may hold both
	}
	text, err := m.opener.ReadFile(cert.path)
	var secret []byte
	if err == nil {
		secret, err = m.opener.ReadFile(key.path)
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.X509KeyPair(text, secret)
	}
	if err != nil {
		return m.settings.Wrong(cert.param, fmt.Errorf("certificate %s with key %s: %w", cert.path, key.path, err))
	}
	config.Certificates = []tls.Certificate{pair}
	return nil
}

// roots reads certificate authorities. A single file must have one.
func (m *mysqlTable) roots(param string, files []string) (*x509.CertPool, error) {
	pool, found := x509.NewCertPool(), false
	for _, file := range files {
		text, err := m.opener.ReadFile(file)
		if err != nil && len(files) == 1 {
			return nil, m.settings.Wrong(param, table.OpenError(file, err))
		}
		found = pool.AppendCertsFromPEM(text) || found
	}
	if !found {
		return nil, m.settings.Wrong(param, errors.New("no certificate found there"))
	}
	return pool, nil
}

// suites are the cipher suites of a list of OpenSSL's names, such as
// ECDHE-RSA-AES128-GCM-SHA256. Other words are passed over with a warning.
func (m *mysqlTable) suites(list string) []uint16 {
	plain := strings.NewReplacer("TLS_", "", "WITH_", "", "_", "", "-", "")
	var ids []uint16
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(":, ", r) }) {
		before := len(ids)
		for _, s := range tls.CipherSuites() {
			if name := plain.Replace(s.Name); name == plain.Replace(word) || name == plain.Replace(word)+"SHA256" {
				ids = append(ids, s.ID)
			}
		}
		if len(ids) == before {
			m.opener.Warn("%s: %s: cipher %s is not known here and has no effect", m.settings.Source, paramCiphers, word)
		}
	}
	return ids
}

// certificateCheck says whether the certificate of a server is good.
type certificateCheck struct {
	roots *x509.CertPool // nil: those of the system
	names bool           // it must be for the host
}

// verify checks the certificate of a host.
func (c certificateCheck) verify(state tls.ConnectionState, host string) error {
	leaf := state.PeerCertificates[0]
	options := x509.VerifyOptions{Roots: c.roots, Intermediates: x509.NewCertPool()}
	for _, cert := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := leaf.Verify(options); err != nil {
		return err
	}
	hasNames := len(leaf.DNSNames)+len(leaf.IPAddresses) > 0
	if !c.names || !hasNames && strings.EqualFold(leaf.Subject.CommonName, host) {
		return nil
	}
	return leaf.VerifyHostname(host)
}

// serverName is what the certificate of a host must be for.
func serverName(h *host) string {
	if h.network == "unix" {
		return localhost
	}
	return h.host
}
