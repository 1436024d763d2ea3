package tlsconf

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Files reads the files that parameters name; a *table.Opener does it where the
// process may not. nil stands for the rights of the process.
type Files interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
}

// own are the files that the process may read.
type own struct{}

func (own) ReadFile(name string) ([]byte, error)       { return os.ReadFile(name) }
func (own) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Roots reads the trusted authorities: those of a file (PREFIXtls_CAfile, prefix
// smtp_ or lmtp_), of every file of a directory (PREFIXtls_CApath), and with
// system those of this system (tls_append_default_CA). With none of them nobody
// is trusted. Errors name the parameter and the file.
func Roots(files Files, prefix, file, directory string, system bool) (*x509.CertPool, error) {
	if files == nil {
		files = own{}
	}
	pool := x509.NewCertPool()
	if system {
		var err error
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("tls_append_default_CA: %w", err)
		}
	}
	if file != "" {
		text, err := files.ReadFile(file)
		if err != nil {
			return nil, fileError(prefix+"tls_CAfile", file, err)
		}
		if !pool.AppendCertsFromPEM(Plain(text)) {
			return nil, fileError(prefix+"tls_CAfile", file, errors.New("no certificates found"))
		}
	}
	if directory == "" {
		return pool, nil
	}
	entries, err := files.ReadDir(directory)
	if err != nil {
		return nil, fileError(prefix+"tls_CApath", directory, err)
	}
	for _, e := range entries {
		if text, err := files.ReadFile(filepath.Join(directory, e.Name())); err == nil {
			pool.AppendCertsFromPEM(Plain(text)) // other files may lie there
		}
	}
	return pool, nil
}

// Anchors are what smtp_tls_trust_anchor_file names: certificates, not only of
// root authorities, and bare public keys. Whatever leads to one of them is
// trusted, and nothing else is.
type Anchors struct {
	certs []*x509.Certificate
	keys  [][]byte // SubjectPublicKeyInfo
}

// ReadAnchors reads a file of "CERTIFICATE" and "PUBLIC KEY" blocks. parameter is
// for errors, which name the file too.
func ReadAnchors(files Files, parameter, file string) (*Anchors, error) {
	if files == nil {
		files = own{}
	}
	text, err := files.ReadFile(file)
	if err != nil {
		return nil, fileError(parameter, file, err)
	}
	a := &Anchors{}
	for block, rest := pem.Decode(Plain(text)); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fileError(parameter, file, err)
			}
			a.certs = append(a.certs, cert)
		case "PUBLIC KEY":
			if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
				return nil, fileError(parameter, file, err)
			}
			a.keys = append(a.keys, block.Bytes)
		}
	}
	if len(a.certs)+len(a.keys) == 0 {
		return nil, fileError(parameter, file, errors.New("no certificates or public keys found"))
	}
	return a, nil
}

// Join adds the anchors of another file.
func (a *Anchors) Join(b *Anchors) *Anchors {
	if a == nil {
		return b
	}
	return &Anchors{append(a.certs[:len(a.certs):len(a.certs)], b.certs...), append(a.keys[:len(a.keys):len(a.keys)], b.keys...)}
}

// pool are the certificates that are trusted when a server shows a chain.
func (a *Anchors) pool(chain []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range a.certs {
		pool.AddCert(c)
	}
	for _, key := range a.keys {
		for _, c := range SignedBy(key, chain) {
			pool.AddCert(c)
		}
	}
	return pool
}

// SignedBy returns the certificates of a chain that have a public key
// (SubjectPublicKeyInfo), or are signed by it: with a trusted key all of them can
// stand for it. The certificate of the server itself, the first one, only
// counts when it is signed by the key. A key that cannot be read has signed
// nothing.
func SignedBy(key []byte, chain []*x509.Certificate) []*x509.Certificate {
	public, err := x509.ParsePKIXPublicKey(key)
	if err != nil {
		return nil
	}
	signer := &x509.Certificate{PublicKey: public}
	var list []*x509.Certificate
	for i, c := range chain {
		if i > 0 && string(c.RawSubjectPublicKeyInfo) == string(key) ||
			signer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
			list = append(list, c)
		}
	}
	return list
}
