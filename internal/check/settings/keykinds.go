package settings

import (
	"bytes"
	"fmt"
	"slices"

	"postern/internal/finding"
	"postern/internal/tlsconf"
)

// leftOut is said of a certificate whose key is of a kind that the server does not
// have: it goes on with the others, if there are some.
func leftOut(c certificate, why error, usable bool) remark {
	r := remark{finding.Error, fmt.Sprintf("the certificate cannot be used: %v", why),
		"make a certificate with an RSA or an ECDSA P-256 key for " + c.namer()}
	if usable {
		r.severity = finding.Warning
		r.text = fmt.Sprintf("a certificate is left out, and the others are used: %v", why)
		r.fix += ", or take that one out of it"
	}
	return r
}

// namer is what names the files of a certificate: a parameter or a row.
func (c certificate) namer() string {
	if c.row != "" {
		return "the row " + c.row
	}
	return c.parameter
}

// twice is said of two keys of one kind in one list of files. OpenSSL has one place for
// each kind, whatever its curve or its length, and Postfix 3.7 wants nothing replaced
// there, not even by itself.
func twice(r reading) []remark {
	for i, l := range r.found {
		j := slices.IndexFunc(r.found[:i], func(other tlsconf.Loaded) bool { return l.Kind != "" && other.Kind == l.Kind })
		if j < 0 {
			continue
		}
		where, would := "", "switch TLS off"
		switch first := r.found[j].File; {
		case r.row != "":
			would = "break off with clients that ask for the name"
		case first == l.File:
			where = ", both in " + l.File
		default:
			where = fmt.Sprintf(", in %s and in %s", first, l.File)
		}
		return []remark{{finding.Warning,
			fmt.Sprintf("%s has two certificates with %s keys%s: Postfix takes one of each kind, and would %s", r.namer(), l.Kind, where, would),
			fmt.Sprintf("leave one certificate with a key of the kind %s in %s", l.Kind, r.namer()) + r.again}}
	}
	return nil
}

// replaced is said of a key of the same kind as one that an earlier parameter names:
// in Postfix the second replaces the first when its key has a file of its own, which
// changes nothing where both have the same certificate.
func replaced(r reading, earlier []reading) []remark {
	for _, first := range earlier {
		if len(r.found) != 1 || len(first.found) != 1 || r.found[0].Kind == "" || r.found[0].Kind != first.found[0].Kind {
			continue
		}
		does := "would switch TLS off"
		if len(r.files) > 1 {
			if sameLeaf(r.found[0], first.found[0]) {
				continue
			}
			does = "uses only the one of " + r.parameter
		}
		return []remark{{finding.Warning,
			fmt.Sprintf("%s and %s both name a certificate with a key of the kind %s: Postfix takes one of each kind, and %s",
				first.parameter, r.parameter, r.found[0].Kind, does),
			fmt.Sprintf("leave one of %s and %s empty", first.parameter, r.parameter)}}
	}
	return nil
}

// sameLeaf reports two times the same certificate.
func sameLeaf(a, b tlsconf.Loaded) bool {
	return len(a.Certificate.Certificate) > 0 && len(b.Certificate.Certificate) > 0 &&
		bytes.Equal(a.Certificate.Certificate[0], b.Certificate.Certificate[0])
}
