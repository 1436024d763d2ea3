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
	named := certificatesIn(s, prefix, name)
	readings := make([]reading, len(named))
	for i, c := range named {
		readings[i] = x.read(c)
	}
	usable := slices.ContainsFunc(readings, func(r reading) bool { return r.err == nil || x.mayNotRead(r.err) })
	for i, r := range readings {
		x.tell(r.certificate, append(x.judgeReading(r, usable), replaced(r, readings[:i])...))
	}
}

// certificatesIn are those that a set of parameters names, in the order in which Postfix
// reads them.
func certificatesIn(s *config.Settings, prefix, name string) (list []certificate) {
	if v := s.Value(prefix + "chain_files"); v.Text != "" && v.Text != "none" {
		files := syntax.Split(v.Text, syntax.Separators)
		return []certificate{{parameter: prefix + "chain_files", at: v.At, name: name, files: files,
			server: tlsconf.Server{ChainFiles: files, ChainName: prefix + "chain_files"},
			form:   fmt.Sprintf("let %s name readable PEM files, each key in front of its certificate and the chain of that: %s", prefix+"chain_files", strings.Join(files, ", "))}}
	}
	for _, kind := range []string{"", "d", "ec"} {
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
		list = append(list, certificate{parameter: parameter, at: v.At, name: name, files: files, server: tlsconf.Server{Pairs: []tlsconf.Pair{pair}},
			form: fmt.Sprintf("let %s and its key name readable PEM files that belong together: %s", parameter, strings.Join(files, ", "))})
	}
	return list
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

// reading is what the files of a certificate have.
type reading struct {
	certificate
	found []tlsconf.Loaded
	err   error
}

// read reads the files of a certificate.
func (x *examination) read(c certificate) reading {
	c.server.ReadFile = x.readFile
	r := reading{certificate: c}
	if r.found, r.err = c.server.Read(); x.mayNotRead(r.err) {
		r.found, r.err = x.withoutKey(c, r.err)
	}
	return r
}

// remark is one thing that is to be said of a certificate.
type remark struct {
	severity  finding.Severity
	text, fix string
}

// tell reports all that is to be said of a certificate at once: of two findings with
// one code and one place only the first is kept.
func (x *examination) tell(c certificate, remarks []remark) {
	if len(remarks) == 0 {
		return
	}
	f := finding.Finding{Code: "VD509", Severity: finding.Warning, At: []origin.At{c.at}}
	var texts, fixes []string
	for _, r := range remarks {
		if r.severity == finding.Error {
			f.Severity = finding.Error
		}
		texts = append(texts, r.text)
		if !slices.Contains(fixes, r.fix) {
			fixes = append(fixes, r.fix)
		}
	}
	f.Message, f.Fix = strings.Join(texts, "; "), strings.Join(fixes, "; ")
	x.report(f)
}

// judgeReading judges what the files of a certificate have. usable says whether the
// server has one that it can use, of these files or of others.
func (x *examination) judgeReading(r reading, usable bool) (remarks []remark) {
	_, unknown := errors.AsType[*tlsconf.UnknownKeyError](r.err)
	switch {
	case x.mayNotRead(r.err):
		return nil // root can, and we cannot tell
	case unknown:
		return []remark{leftOut(r.certificate, r.err, usable)}
	case r.err != nil:
		return []remark{{finding.Error, fmt.Sprintf("the certificate cannot be used: %v", r.err), r.form}}
	}
	for _, l := range r.found {
		if l.Err != nil {
			remarks = append(remarks, leftOut(r.certificate, l.Err, true))
		} else {
			remarks = append(remarks, x.assess(r.certificate, l.Certificate)...)
		}
	}
	return append(remarks, twice(r)...)
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

// withoutKey reads the certificates alone, whose key is not for us to read: denied.
func (x *examination) withoutKey(c certificate, denied error) ([]tlsconf.Loaded, error) {
	if len(c.server.Pairs) == 0 {
		return nil, denied
	}
	text, err := x.readFile(c.server.Pairs[0].Cert)
	if err != nil {
		return nil, err
	}
	chain := blocks(text)
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: %s: no certificate found", c.parameter, c.server.Pairs[0].Cert)
	}
	return []tlsconf.Loaded{{Certificate: tls.Certificate{Certificate: chain}}}, nil
}

// blocks are the certificates of a PEM file.
func blocks(text []byte) (chain [][]byte) {
	for block, rest := pem.Decode(tlsconf.Plain(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	return chain
}

// assess looks at the dates and the names of a certificate.
func (x *examination) assess(c certificate, cert tls.Certificate) []remark {
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
		return nil
	}
	what, fix := x.naming(c, cert.Certificate[0])
	return []remark{{severity, fmt.Sprintf("%s (%s) %s", what, c.parameter, strings.Join(texts, " and ")), fix}}
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
