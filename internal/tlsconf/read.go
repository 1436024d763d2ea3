package tlsconf

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Loaded is a key with its certificate and the chain of that, as files have them.
type Loaded struct {
	tls.Certificate        // of no use when there is an Err
	Kind            string // of the key, "RSA": a Postfix server has one certificate of each
	Parameter, File string // that has the certificate
	Err             error  // why it is left out: wraps an UnknownKeyError; nil: it is used
}

// read reads all that the files have, at least one certificate that can be used.
func (s Server) read() ([]Loaded, error) {
	var list []Loaded
	var err error
	if len(s.ChainFiles) > 0 {
		list, err = s.readChain()
	} else {
		list, err = s.readPairs()
	}
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		if l.Err == nil {
			return list, nil
		}
	}
	if len(list) == 0 {
		return nil, ErrNoCertificates
	}
	return nil, list[0].Err
}

// readPairs reads the certificates that have a parameter each.
func (s Server) readPairs() ([]Loaded, error) {
	var list []Loaded
	for _, p := range s.Pairs {
		if p.Cert == "" {
			continue
		}
		cert, err := s.ReadFile(p.Cert)
		if err != nil {
			return nil, fileError(p.Parameter, p.Cert, err)
		}
		key, err := s.ReadFile(p.keyFile())
		if err != nil {
			return nil, fileError("key of "+p.Parameter, p.keyFile(), err)
		}
		l, err := pair(p.Parameter, p.Cert, Plain(cert), Plain(key))
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

// pair puts a certificate and its key together, both in PEM.
func pair(parameter, file string, cert, key []byte) (Loaded, error) {
	k, known := kindOf(cert, key)
	l := Loaded{Kind: k.name, Parameter: parameter, File: file}
	var err error
	if l.Certificate, err = tls.X509KeyPair(cert, key); err == nil {
		return l, nil
	}
	if known {
		return Loaded{}, fileError(parameter, file, err)
	}
	l.Err = fileError(parameter, file, &UnknownKeyError{Kind: k.String()})
	return l, nil
}

// fileError names the parameter and the file, the latter once.
func fileError(parameter, file string, err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s: %s: %w", parameter, file, err)
}

// readChain reads the files of smtpd_tls_chain_files as if they were one: keys, each
// followed by its certificate and the chain of that. A key may be in one file and its
// certificate in the next, and files that have neither are passed over.
func (s Server) readChain() ([]Loaded, error) {
	c := chain{parameter: s.ChainName}
	for _, file := range s.ChainFiles {
		text, err := s.ReadFile(file)
		if err != nil {
			return nil, fileError(s.ChainName, file, err)
		}
		if err := c.read(file, Plain(text)); err != nil {
			return nil, err
		}
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	if len(c.list) == 0 {
		return nil, fileError(s.ChainName, strings.Join(s.ChainFiles, ", "), errors.New("no key and certificate found"))
	}
	return c.list, nil
}

// chain is what was read of smtpd_tls_chain_files.
type chain struct {
	parameter   string
	list        []Loaded     // the finished ones
	key, behind bytes.Buffer // of the one that is being read, in PEM
	file        string       // that of its certificate, or of its key
}

// read reads one more file.
func (c *chain) read(file string, text []byte) error {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE":
			if c.key.Len() == 0 {
				return fileError(c.parameter, file, errors.New("a certificate without a key in front of it"))
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
		}
	}
	return nil
}

// finish ends the certificate that is being read, if there is one.
func (c *chain) finish() error {
	if c.key.Len() == 0 {
		return nil
	}
	if c.behind.Len() == 0 {
		return fileError(c.parameter, c.file, errors.New("a key without a certificate behind it"))
	}
	l, err := pair(c.parameter, c.file, c.behind.Bytes(), c.key.Bytes())
	if err != nil {
		return err
	}
	c.list = append(c.list, l)
	c.key.Reset()
	c.behind.Reset()
	return nil
}

// isKey reports whether a PEM block holds a private key: EC PARAMETERS and other
// blocks are passed over, also a key with a password.
func isKey(block *pem.Block) bool {
	switch block.Type {
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY":
		return true
	}
	return false
}

// Plain is a PEM text without what OpenSSL overlooks and encoding/pem does not: a byte
// order mark in front of a block, and the old name of a certificate.
func Plain(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\ufeff-----BEGIN "), []byte("-----BEGIN "))
	return bytes.ReplaceAll(text, []byte(" X509 CERTIFICATE-----"), []byte(" CERTIFICATE-----"))
}
