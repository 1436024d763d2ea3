package settings

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/tlsconf"
)

// soon is how long before its end a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

// certificates reports what is wrong with the certificates that main.cf and
// master.cf name (VD509), also where TLS is off: who writes one means it.
func (x *examination) certificates(ctx context.Context) {
	x.certificatesOf(x.settings, "smtpd_tls_", x.settings.String("myhostname"))
	for _, m := range x.services {
		switch m.Command {
		case "smtpd":
			x.certificatesOf(m.settings, "smtpd_tls_", m.settings.String("myhostname"))
		case "smtp", "lmtp":
			x.certificatesOf(m.settings, m.Command+"_tls_", "")
		}
	}
	x.namedCertificates(ctx)
}

// certificatesOf looks at the files of one set of parameters. name is the server's
// own name, "" for a client, whose name does not matter.
func (x *examination) certificatesOf(s *config.Settings, prefix, name string) {
	if v := s.Value(prefix + "chain_files"); v.Text != "" && v.Text != "none" {
		files := syntax.Split(v.Text, syntax.Separators)
		x.certificate(certificate{parameter: prefix + "chain_files", at: v.At, name: name, files: files,
			server: tlsconf.Server{ChainFiles: files, ChainName: prefix + "chain_files"},
			form:   fmt.Sprintf("let %s name readable PEM files, each key in front of its certificate and the chain of that: %s", prefix+"chain_files", strings.Join(files, ", "))})
		return
	}
	for _, kind := range []string{"", "ec", "d"} {
		parameter := prefix + kind + "cert_file"
		v, key := s.Value(parameter), s.Value(prefix+kind+"key_file")
		if v.Text == "" || v.Text == "none" {
			continue
		}
		pair := tlsconf.Pair{Parameter: parameter, Cert: v.Text, Key: key.Text}
		files := []string{v.Text}
		if key.Text != "" && key.Text != v.Text {
			files = append(files, key.Text)
		}
		x.certificate(certificate{parameter: parameter, at: v.At, name: name, files: files, server: tlsconf.Server{Pairs: []tlsconf.Pair{pair}},
			form: fmt.Sprintf("let %s and its key name readable PEM files that belong together: %s", parameter, strings.Join(files, ", "))})
	}
}

// certificate is one that parameters name.
type certificate struct {
	parameter string
	at        origin.At
	name      string // that must be covered, "": any will do
	row       string // the key of a row of tls_server_sni_maps
	server    tlsconf.Server
	files     []string
	form      string // what to do when it cannot be used
	again     string // what to do when the files of the row have changed
}

// certificate reads one and judges it.
func (x *examination) certificate(c certificate) {
	c.server.ReadFile = x.readFile
	certs, err := c.server.Certificates()
	if x.mayNotRead(err) {
		certs, err = x.withoutKey(c)
		if x.mayNotRead(err) {
			return // root can, and we cannot tell
		}
	}
	if err != nil {
		x.report(finding.Finding{Code: "VD509", Severity: finding.Error, At: []origin.At{c.at},
			Message: fmt.Sprintf("the certificate cannot be used: %v", err),
			Fix:     c.form})
		return
	}
	for _, cert := range certs {
		x.judge(c, cert)
	}
}

// readFile reads a file, or what stands in its place.
func (x *examination) readFile(name string) ([]byte, error) {
	f, err := x.Setup.Opener.OpenFile(x.Setup.Opener.Path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a file")}
	}
	return io.ReadAll(f)
}

// mayNotRead reports an error that an ordinary user has with a key of somebody else:
// the server reads it as root.
func (x *examination) mayNotRead(err error) bool {
	return errors.Is(err, syscall.EACCES) && os.Geteuid() != 0
}

// withoutKey reads the certificates alone, whose key is not for us to read.
func (x *examination) withoutKey(c certificate) ([]tls.Certificate, error) {
	if len(c.server.Pairs) == 0 {
		return nil, nil
	}
	text, err := x.readFile(c.server.Pairs[0].Cert)
	if err != nil {
		return nil, err
	}
	chain := blocks(text)
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: %s: no certificate found", c.parameter, c.server.Pairs[0].Cert)
	}
	return []tls.Certificate{{Certificate: chain}}, nil
}

// blocks are the certificates of a PEM file.
func blocks(text []byte) (chain [][]byte) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	return chain
}

// judge looks at the dates and the names of a certificate.
func (x *examination) judge(c certificate, cert tls.Certificate) {
	var texts []string
	severity := finding.Warning
	for n, der := range cert.Certificate {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			texts, severity = append(texts, fmt.Sprintf("cannot be read: %v", err)), finding.Error
			continue
		}
		text, s := x.dates(one, n)
		if text == "" && n == 0 && c.name != "" && !covers(one, c.name) {
			text, s = fmt.Sprintf("is for %s and does not cover %s", names(one), c.wanted()), finding.Warning
		}
		if text == "" {
			continue
		}
		if s == finding.Error {
			severity = s
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return
	}
	what, fix := x.naming(c, cert.Certificate[0])
	x.report(finding.Finding{Code: "VD509", Severity: severity, At: []origin.At{c.at},
		Message: fmt.Sprintf("%s (%s) %s", what, c.parameter, strings.Join(texts, " and ")),
		Fix:     fix})
}

// wanted is the name that a certificate must have, and whose it is.
func (c certificate) wanted() string {
	if c.row != "" {
		return c.row
	}
	return c.name + " (myhostname)"
}

// naming is what a certificate is called, and how to renew it. One of a row is called
// by the key: its value may be a private key.
func (x *examination) naming(c certificate, leaf []byte) (what, fix string) {
	if c.row != "" {
		fix = "renew the certificate for " + c.row
		if len(c.files) > 0 {
			fix += " in " + c.files[0]
		}
		return "the certificate for " + c.row, fix + c.again
	}
	file := x.holder(c.files, leaf)
	what, fix = "the certificate in "+file, "renew the certificate in "+file
	if c.name != "" {
		fix += " for the name " + c.name
	}
	return what, fix
}

// holder is the file that has a certificate.
func (x *examination) holder(files []string, leaf []byte) string {
	for _, file := range files {
		text, err := x.readFile(file)
		if err == nil && slices.ContainsFunc(blocks(text), func(der []byte) bool { return bytes.Equal(der, leaf) }) {
			return file
		}
	}
	return files[0]
}

// dates judges the dates of the nth certificate of a chain.
func (x *examination) dates(c *x509.Certificate, n int) (string, finding.Severity) {
	now := x.now()
	which := ""
	if n > 0 {
		which = "has an authority in its chain that "
	}
	switch day := c.NotAfter.UTC().Format(time.DateOnly); {
	case now.After(c.NotAfter):
		return which + "expired on " + day, finding.Error
	case now.Before(c.NotBefore):
		return which + "is not valid before " + c.NotBefore.UTC().Format(time.DateOnly), finding.Error
	case n == 0 && c.NotAfter.Sub(now) < soon:
		return "expires on " + day, finding.Warning
	}
	return "", ""
}

// covers reports whether a certificate has a name; one without alternative names is
// taken at its common name.
func covers(c *x509.Certificate, name string) bool {
	if len(c.DNSNames) == 0 && len(c.IPAddresses) == 0 {
		common := *c
		common.DNSNames = []string{c.Subject.CommonName}
		return common.VerifyHostname(name) == nil || strings.EqualFold(c.Subject.CommonName, name)
	}
	return c.VerifyHostname(name) == nil
}

// names are those of a certificate.
func names(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 3:
		return strings.Join(c.DNSNames[:3], ", ") + " and others"
	case len(c.DNSNames) > 0:
		return strings.Join(c.DNSNames, ", ")
	case c.Subject.CommonName != "":
		return c.Subject.CommonName
	}
	return "no name"
}
