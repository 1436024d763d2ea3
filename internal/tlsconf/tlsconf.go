// Package tlsconf makes crypto/tls configurations of Postfix's parameters: the
// certificates of the server (smtpd_tls_chain_files and the older pairs of
// certificate and key file), the protocol and cipher lists, and what a client
// asks of the servers that it sends mail to.
//
// # Certificates
//
// smtpd_tls_chain_files is a list of PEM files, which are read as if they were one:
// keys, every key followed by its certificate and the chain of that. Blocks of other
// kinds are passed over, and so are files that have nothing else, but there must be
// one certificate in all. When it is empty
// there are smtpd_tls_cert_file (RSA, or any), smtpd_tls_eccert_file and
// smtpd_tls_dcert_file, each a leaf certificate and its chain, and the keys in
// the files named key instead of cert, by default in the same file. Of several
// certificates each client is given the first that it understands. A byte order mark
// and the old label "X509 CERTIFICATE" do no harm (Plain).
//
// Keys are of the kinds that crypto/tls has: RSA, Ed25519, and ECDSA with P-256, P-384
// or P-521. One of another kind that OpenSSL has, such as Ed448, is left out with its
// certificate and a warning; with nothing but such keys there is an error. Whatever
// else is wrong with a pair is an error.
//
// The files are looked at when a connection begins, at most once a second.
// Files that changed are read aside and replace the certificates only when all
// of them are good; else the old ones stay and a warning says why.
//
// Two keys of one kind are both used, where Postfix 3.7 would switch TLS off: see
// Loaded. A block that is damaged is passed over, where Postfix would switch TLS off too.
//
// # Protocols
//
// A protocol list has either bounds, ">=TLSv1.2 <=TLSv1.3" or exclusions, "!SSLv2
// !SSLv3 !TLSv1", or the names to allow, "TLSv1.2 TLSv1.3". SSLv2 and SSLv3 do
// not exist here and may be excluded. crypto/tls knows one range, so exclusions
// that leave a gap are an error.
//
// # Ciphers
//
// Cipher grades count for TLS 1.2 and older; the suites of TLS 1.3 are all
// good. high is what crypto/tls calls secure (ECDHE with AES or ChaCha20);
// medium adds AES with RSA key exchange; low and export add 3DES. RC4 and null
// ciphers do not exist here. See Suites.
//
// # Servers
//
// What makes the certificate of another server good is in Client: an authority
// (Roots, or Anchors instead), the names in it (Matching), or its fingerprint.
// Which of them is asked for where is decided in package tlspolicy; TLSA records
// are compared in package dane.
//
// It imports only the standard library.
package tlsconf

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// Logger takes warnings.
type Logger interface {
	Warningf(format string, args ...any)
}

// versions are the protocols by their names in lists, in order.
var versions = [...]struct {
	name string
	id   uint16 // 0: one that crypto/tls does not have
}{
	{"SSLv2", 0},
	{"SSLv3", 0},
	{"TLSv1", tls.VersionTLS10},
	{"TLSv1.1", tls.VersionTLS11},
	{"TLSv1.2", tls.VersionTLS12},
	{"TLSv1.3", tls.VersionTLS13},
}

// position is the index of a protocol name in versions, in any case; a version
// in hexadecimal form, as OpenSSL has them, is not known.
func position(name string) (int, error) {
	for i, v := range versions {
		if strings.EqualFold(v.name, name) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("unknown protocol %q", name)
}

// ParseProtocols reads the value of a protocols parameter (postconf
// smtpd_tls_protocols, smtp_tls_mandatory_protocols). The items are separated
// by blanks, commas or colons. An empty list allows every protocol from TLSv1
// on.
func ParseProtocols(list string) (lowest, highest uint16, err error) {
	var allowed, excluded [len(versions)]bool
	first, last, named := 0, len(versions)-1, false
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(" \t\r\n,:", r) }) {
		op, name := "", item
		for _, prefix := range []string{">=", "<=", "!"} {
			if rest, ok := strings.CutPrefix(item, prefix); ok {
				op, name = prefix, rest
			}
		}
		i, err := position(name)
		if err != nil {
			return 0, 0, err
		}
		switch op {
		case ">=":
			first = i
		case "<=":
			last = i
		case "!":
			excluded[i] = true
		default:
			allowed[i], named = true, true
		}
	}
	for i, v := range versions {
		if v.id == 0 || i < first || i > last || excluded[i] || named && !allowed[i] {
			continue
		}
		if highest != 0 && versions[i-1].id != highest {
			return 0, 0, fmt.Errorf("protocols %q leave a gap below %s", list, v.name)
		}
		if lowest == 0 {
			lowest = v.id
		}
		highest = v.id
	}
	if lowest == 0 {
		return 0, 0, fmt.Errorf("protocols %q leave none", list)
	}
	return lowest, highest, nil
}

// grades are the cipher grades, each with what it adds to the one before.
var grades = [...]string{"high", "medium", "low", "export"}

// Suites returns the cipher suites of a grade (postconf smtpd_tls_ciphers)
// without those that exclude names (smtpd_tls_exclude_ciphers). The items of
// exclude are words that a suite's name consists of, such as AES128, 3DES, SHA1,
// CHACHA20, kRSA, ECDHE, aRSA or aECDSA; those that no suite here has, such as
// aNULL or MD5, are satisfied already.
func Suites(grade, exclude string) ([]uint16, error) {
	level := -1
	for i, g := range grades {
		if strings.EqualFold(g, grade) {
			level = i
		}
	}
	if level < 0 {
		return nil, fmt.Errorf("unknown cipher grade %q", grade)
	}
	drop := strings.FieldsFunc(strings.ToUpper(exclude), func(r rune) bool { return strings.ContainsRune(" \t\r\n,:", r) })
	var ids []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suiteLevel(s) <= level && !excludes(drop, s.Name) {
			ids = append(ids, s.ID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("cipher grade %q without %q leaves no cipher", grade, exclude)
	}
	return ids, nil
}

// suiteLevel is the index of the first grade that has the suite.
func suiteLevel(s *tls.CipherSuite) int {
	switch {
	case strings.Contains(s.Name, "RC4"):
		return len(grades)
	case strings.Contains(s.Name, "3DES"):
		return 2
	case s.Insecure:
		return 1
	}
	return 0
}

// excludes reports whether one of the words describes a suite, in OpenSSL's
// words for the parts of its name.
func excludes(words []string, name string) bool {
	parts := strings.Split(strings.TrimPrefix(name, "TLS_"), "_")
	has := func(part string) bool {
		for _, p := range parts {
			if p == part {
				return true
			}
		}
		return false
	}
	rsaKeyExchange := has("RSA") && !has("ECDHE")
	for _, w := range words {
		switch w {
		case "KRSA":
			if rsaKeyExchange {
				return true
			}
		case "ARSA":
			if has("RSA") {
				return true
			}
		case "AECDSA":
			if has("ECDSA") {
				return true
			}
		case "KECDHE", "EECDH", "KEECDH":
			if has("ECDHE") {
				return true
			}
		case "AES128", "AES256":
			if has("AES") && has(w[3:]) {
				return true
			}
		case "SHA1":
			if has("SHA") {
				return true
			}
		default:
			if has(w) {
				return true
			}
		}
	}
	return false
}
