package tlsconf

import (
	"crypto/tls"
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
	Log        Logger   // hears of pairs that are left out, and of changed files that are no good; nil: nobody

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
// the file; one for a Server without files wraps ErrNoCertificates, one for files
// that have nothing but keys of an unknown kind an UnknownKeyError.
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

// Certificates reads the files once and returns those in them that can be used.
// Errors are those of Config.
func (s Server) Certificates() ([]tls.Certificate, error) {
	return (&keeper{Server: s.complete()}).load()
}

// Read reads the files once and returns all that is in them, also what is left out,
// and tells nobody. Errors are those of Config.
func (s Server) Read() ([]Loaded, error) {
	return s.complete().read()
}

// complete fills in what is left empty.
func (s Server) complete() Server {
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
	return s
}

// keep reads the certificates for the first time.
func (s Server) keep() (*keeper, error) {
	s = s.complete()
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

// load reads the certificates that can be used. What is left out is logged.
func (k *keeper) load() ([]tls.Certificate, error) {
	list, err := k.read()
	if err != nil {
		return nil, err
	}
	var certs []tls.Certificate
	for _, l := range list {
		if l.Err == nil {
			certs = append(certs, l.Certificate)
		} else if k.Log != nil {
			k.Log.Warningf("%v; this certificate is left out", l.Err)
		}
	}
	return certs, nil
}
