package settings

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/builtin"
	"postern/internal/table/text"
	"postern/internal/tlsconf"
)

// namedCertificates looks at tls_server_sni_maps: the certificates that clients get
// who ask for a name. A row has files, or their content (postmap -F), which begins
// with a private key and is never shown.
func (x *examination) namedCertificates(ctx context.Context) {
	for _, t := range x.Of(ctx, "tls_server_sni_maps") {
		source, again := x.sourceOf(t)
		for _, row := range t.Entries {
			line := lineOf(row, source)
			c := certificate{parameter: "tls_server_sni_maps", at: rowPlace(line), name: row.Key, row: row.Key, again: again}
			if strings.HasPrefix(row.Key, ".") {
				c.name = "a" + row.Key // any name below it
			}
			if namesFiles(line.Value) {
				c.files = []string{line.Value}
			}
			content, err := x.content(row.Value)
			if !x.mayNotRead(err) {
				x.namedCertificate(c, content, err)
			}
		}
	}
}

// sourceOf is the text that an index is built from, nil when there is none, and what
// must be done after a change of it.
func (x *examination) sourceOf(t *inventory.Table) (source *text.Table, again string) {
	typ, name, _ := strings.Cut(t.Spec, ":")
	if _, indexed := builtin.Formats()[typ]; !indexed {
		return nil, ""
	}
	source, err := text.Open(x.Setup.Opener, typ, name, table.Use{Parameter: "tls_server_sni_maps", At: t.At, Fold: true})
	if err != nil {
		source = nil
	}
	return source, fmt.Sprintf(", and run \"postmap -F %s\"", t.Spec)
}

// lineOf is the line of the source text for a row of an index whose value is the
// content of its files; else the row.
func lineOf(row table.Entry, source *text.Table) table.Entry {
	if source != nil && !namesFiles(row.Value) {
		if line, err := source.Row(row.Key); err == nil {
			return line
		}
	}
	return row
}

// rowPlace is where a row is written, without a value that is no list of files.
func rowPlace(row table.Entry) origin.At {
	at := row.At()
	if !namesFiles(row.Value) {
		at.Text, at.Row = row.Key+" ...", nil
	}
	return at
}

// namesFiles tells a list of files from their content.
func namesFiles(value string) bool { return strings.HasPrefix(value, "/") }

// content is that of the files that a value names, or of a value that holds it itself.
func (x *examination) content(value string) ([]byte, error) {
	if !namesFiles(value) {
		return base64.StdEncoding.DecodeString(value)
	}
	var all []byte
	for _, name := range syntax.Split(value, syntax.Separators) {
		content, err := x.readFile(name)
		if err != nil {
			return nil, err
		}
		all = append(append(all, content...), '\n')
	}
	return all, nil
}

// namedCertificate judges the content of one row.
func (x *examination) namedCertificate(c certificate, content []byte, err error) {
	if err == nil {
		c.server = tlsconf.Server{ChainName: c.parameter, ChainFiles: []string{c.row}, ReadFile: func(string) ([]byte, error) { return content, nil }}
		r := reading{certificate: c}
		if r.found, err = c.server.Read(); err == nil {
			x.tell(c, x.judgeReading(r, true))
			return
		}
	}
	x.report(finding.Finding{Code: "VD509", Severity: finding.Error, At: []origin.At{c.at},
		Message: fmt.Sprintf("the certificate for %s cannot be used: %v", c.row, err),
		Fix:     "let the row name readable PEM files: the key first, then its certificate and the chain" + c.again})
}
