package tlsconf

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Server are the TLS parameters of a listener. Its certificate files may be
// those of a client too: see ClientCertificate.
type Server struct {
	ChainFiles []string // smtpd_tls_chain_files; with it the pairs below are not looked at
	ChainName  string   // the parameter of ChainFiles, for messages; "" is that one
	Pairs      []Pair   // smtpd_tls_cert_file, smtpd_tls_eccert_file, smtpd_tls_dcert_file
	Protocols  string   // smtpd_tls_protocols, or smtpd_tls_mandatory_protocols where TLS is required
	Ciphers    string   // smtpd_tls_ciphers, or smtpd_tls_mandatory_ciphers; "" is medium
	Exclude    string   // smtpd_tls_exclude_ciphers and smtpd_tls_mandatory_exclude_ciphers
	Log        Logger   // hears of changed files that are no good; nil: nobody

	Now      func() time.Time                  // nil: time.Now
	Stat     func(string) (os.FileInfo, error) // nil: os.Stat
	ReadFile func(string) ([]byte, error)      // nil: os.ReadFile
}

// Pair is a certificate file and its key file. An empty Cert is no pair; an
// empty Key means the file Cert.
type Pair struct {
	Parameter string // of Cert, "smtpd_tls_cert_file", for messages
	Cert, Key string
}

// ErrNoCertificates is the error of a Server that names no files.
var ErrNoCertificates = errors.New("no server certs available")

// Config reads the certificates and returns the configuration of a listener,
// which reads them again when their files change. Errors name the parameter and
// the file; one for a Server without files wraps ErrNoCertificates.
func (s Server) Config() (*tls.Config, error) {
	if s.Ciphers == "" {
		s.Ciphers = "medium"
	}
	lowest, highest, err := ParseProtocols(s.Protocols)
	if err != nil {
		return nil, fmt.Errorf("smtpd_tls_protocols: %w", err)
	}
	suites, err := Suites(s.Ciphers, s.Exclude)
	if err != nil {
		return nil, fmt.Errorf("smtpd_tls_ciphers: %w", err)
	}
	k, err := s.keep()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     lowest,
		MaxVersion:     highest,
		CipherSuites:   suites,
		GetCertificate: k.get,
	}, nil
}

// ClientCertificate reads the certificates and returns what chooses among them
// when a server asks for one: the first that the server can use, or none. The
// files are read again when they change. Errors are those of Config.
func (s Server) ClientCertificate() (func(*tls.CertificateRequestInfo) (*tls.Certificate, error), error) {
	k, err := s.keep()
	if err != nil {
		return nil, err
	}
	return k.choose, nil
}

// Certificates reads the files once and returns what is in them. Errors are those
// of Config.
func (s Server) Certificates() ([]tls.Certificate, error) {
	k, err := s.keep()
	if err != nil {
		return nil, err
	}
	return k.certs, nil
}

// keep reads the certificates for the first time.
func (s Server) keep() (*keeper, error) {
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Stat == nil {
		s.Stat = os.Stat
	}
	if s.ReadFile == nil {
		s.ReadFile = os.ReadFile
	}
	if s.ChainName == "" {
		s.ChainName = "smtpd_tls_chain_files"
	}
	k := &keeper{Server: s}
	k.stamps = k.look()
	var err error
	if k.certs, err = k.load(); err != nil {
		return nil, err
	}
	k.checked = s.Now()
	return k, nil
}

// keeper holds the certificates and knows when they were read.
type keeper struct {
	Server

	mu      sync.Mutex
	checked time.Time
	stamps  []stamp
	certs   []tls.Certificate // replaced as a whole
}

// stamp is what is compared to see whether a file changed.
type stamp struct {
	modified time.Time
	size     int64
}

// files are all files that are read.
func (k *keeper) files() []string {
	if len(k.ChainFiles) > 0 {
		return k.ChainFiles
	}
	var list []string
	for _, p := range k.Pairs {
		if p.Cert != "" {
			list = append(list, p.Cert, p.keyFile())
		}
	}
	return list
}

func (p Pair) keyFile() string {
	if p.Key == "" {
		return p.Cert
	}
	return p.Key
}

// look notes how the files are now. One that cannot be looked at has the zero
// stamp.
func (k *keeper) look() []stamp {
	files := k.files()
	stamps := make([]stamp, len(files))
	for i, f := range files {
		if info, err := k.Stat(f); err == nil {
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

// get chooses the certificate for a client, after a look at the files.
func (k *keeper) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certs := k.current()
	for i := range certs {
		if hello.SupportsCertificate(&certs[i]) == nil {
			return &certs[i], nil
		}
	}
	return &certs[0], nil // the client decides
}

// choose chooses our certificate for a server. The authorities that the server
// names are a hint: one that no certificate heeds is overlooked, as a server that
// only compares fingerprints may name any.
func (k *keeper) choose(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	certs := k.current()
	unhinted := *request
	unhinted.AcceptableCAs = nil
	for _, r := range []*tls.CertificateRequestInfo{request, &unhinted} {
		for i := range certs {
			if r.SupportsCertificate(&certs[i]) == nil {
				return &certs[i], nil
			}
		}
	}
	return &tls.Certificate{}, nil // none
}

// current returns the certificates, read again if their files changed.
func (k *keeper) current() []tls.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.Now()
	if now.Sub(k.checked) < time.Second && !now.Before(k.checked) {
		return k.certs
	}
	k.checked = now
	stamps := k.look()
	if same(stamps, k.stamps) {
		return k.certs
	}
	k.stamps = stamps
	certs, err := k.load()
	if err == nil {
		k.certs = certs
	} else if k.Log != nil {
		k.Log.Warningf("%v; the certificates that were read before stay in use", err)
	}
	return k.certs
}

func same(a, b []stamp) bool {
	for i := range a {
		if !a[i].modified.Equal(b[i].modified) || a[i].size != b[i].size {
			return false
		}
	}
	return true
}

// load reads all certificates.
func (k *keeper) load() ([]tls.Certificate, error) {
	if len(k.ChainFiles) > 0 {
		return k.loadChain()
	}
	var certs []tls.Certificate
	for _, p := range k.Pairs {
		if p.Cert == "" {
			continue
		}
		cert, err := k.loadPair(p)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, ErrNoCertificates
	}
	return certs, nil
}

func (k *keeper) loadPair(p Pair) (tls.Certificate, error) {
	cert, err := k.ReadFile(p.Cert)
	if err != nil {
		return tls.Certificate{}, fileError(p.Parameter, p.Cert, err)
	}
	key, err := k.ReadFile(p.keyFile())
	if err != nil {
		return tls.Certificate{}, fileError("key of "+p.Parameter, p.keyFile(), err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fileError(p.Parameter, p.Cert, err)
	}
	return pair, nil
}

// fileError names the parameter and the file, the latter once.
func fileError(parameter, file string, err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s: %s: %w", parameter, file, err)
}

// loadChain reads the files of smtpd_tls_chain_files as if they were one: keys, each
// followed by its certificate and the chain of that. A key may be in one file and its
// certificate in the next.
func (k *keeper) loadChain() ([]tls.Certificate, error) {
	var c chain
	for _, file := range k.ChainFiles {
		text, err := k.ReadFile(file)
		if err != nil {
			return nil, fileError(k.ChainName, file, err)
		}
		if err := c.read(file, text); err != nil {
			return nil, fileError(k.ChainName, c.file, err)
		}
	}
	if err := c.finish(); err != nil {
		return nil, fileError(k.ChainName, c.file, err)
	}
	return c.certs, nil
}

// chain is what was read of smtpd_tls_chain_files.
type chain struct {
	certs       []tls.Certificate // the finished ones
	key, behind bytes.Buffer      // of the one that is being read, in PEM
	file        string            // to blame: that of its certificate, or of its key, or the one that is no good
}

// read reads one more file.
func (c *chain) read(file string, text []byte) error {
	found := false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE":
			if c.key.Len() == 0 {
				c.file = file
				return errors.New("a certificate without a key in front of it")
			}
			if c.behind.Len() == 0 {
				c.file = file
			}
			_ = pem.Encode(&c.behind, block) // a Buffer takes everything
		case isKey(block):
			if err := c.finish(); err != nil {
				return err
			}
			c.file = file
			_ = pem.Encode(&c.key, block)
		default:
			continue
		}
		found = true
	}
	if !found {
		c.file = file
		return errors.New("no key and certificate found")
	}
	return nil
}

// finish ends the certificate that is being read, if there is one.
func (c *chain) finish() error {
	if c.key.Len() == 0 {
		return nil
	}
	if c.behind.Len() == 0 {
		return errors.New("a key without a certificate behind it")
	}
	cert, err := tls.X509KeyPair(c.behind.Bytes(), c.key.Bytes())
	if err != nil {
		return err
	}
	c.certs = append(c.certs, cert)
	c.key.Reset()
	c.behind.Reset()
	return nil
}

// isKey reports whether a PEM block holds a private key: EC PARAMETERS and
// other blocks are passed over.
func isKey(block *pem.Block) bool {
	return block.Type == "PRIVATE KEY" || block.Type == "RSA PRIVATE KEY" || block.Type == "EC PRIVATE KEY"
}
