// Package address is the mail address of an envelope: parsing, printing,
// quoting, folding, extensions and the rewriting that makes any form complete.
//
// An address has two spellings. The internal form is the plain local part, '@'
// and the domain, "two words@example.org"; tables and the spool hold it. The
// external form quotes the local part where RFC 5322 asks for it,
// `"two words"@example.org`; SMTP, headers and logs show it.
//
// It imports only the standard library and golang.org/x/text.
package address

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// Address is an envelope address. Local is unquoted and Domain is without the
// '@'; both keep the case they were written in, for it is shown in
// Delivered-To; compare with Equal or after Fold. The zero Address is the null
// address <>. An Address without a Domain is incomplete: Rewriter completes it.
type Address struct {
	Local, Domain string
}

// Split reads the internal form: the domain begins after the last '@'. A text
// without '@' is a local part without a domain, and so is one that ends in '@'
// ("user@" is {Local: "user@"}): no domain can be added to that one, and
// resolving it is a syntax error.
func Split(internal string) Address {
	i := strings.LastIndexByte(internal, '@')
	if i < 0 || i == len(internal)-1 {
		return Address{Local: internal}
	}
	return Address{Local: internal[:i], Domain: internal[i+1:]}
}

// IsNull reports whether the address is the null address <>.
func (a Address) IsNull() bool { return a.Local == "" && a.Domain == "" }

// Internal returns the unquoted form, "local@domain", or "local" alone when
// there is no domain.
func (a Address) Internal() string {
	if a.Domain == "" {
		return a.Local
	}
	return a.Local + "@" + a.Domain
}

// String returns the external form, with the local part quoted when it needs
// to be, as an empty one does. The null address is "".
func (a Address) String() string {
	if a.Domain == "" {
		if a.Local == "" {
			return ""
		}
		return QuoteLocal(a.Local)
	}
	return QuoteLocal(a.Local) + "@" + a.Domain
}

// Equal compares two addresses without regard to case.
func (a Address) Equal(b Address) bool {
	return Fold(a.Local) == Fold(b.Local) && Fold(a.Domain) == Fold(b.Domain)
}

// Fold maps text to the form in which it is compared and looked up: Unicode
// case folding when it is valid UTF-8, else ASCII lower case.
func Fold(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			if utf8.ValidString(s) {
				return cases.Fold().String(s)
			}
			break
		}
	}
	return FoldASCII(s)
}

// FoldASCII maps ASCII letters to lower case (smtputf8_enable = no).
func FoldASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return lowerASCII(s)
		}
	}
	return s
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// QuoteLocal returns the local part as it stands in front of the '@' of an
// external address: unchanged when it is a dot-atom, else as a quoted-string
// (RFC 5322, 3.4.1). Bytes from 128 on count as letters (RFC 6531).
func QuoteLocal(local string) string {
	if isDotAtom(local) {
		return local
	}
	var b strings.Builder
	b.Grow(len(local) + 4)
	b.WriteByte('"')
	for i := 0; i < len(local); i++ {
		switch c := local[i]; c {
		case '"', '\\', '\r', '\n':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func isDotAtom(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c == 0x7f || strings.IndexByte(`()<>@,;:\"[]`, c) >= 0 {
			return false
		}
		if c == '.' && s[i+1] == '.' {
			return false
		}
	}
	return true
}

// Delimiter splits address extensions off local parts (postconf
// recipient_delimiter).
type Delimiter struct {
	Set          string // each character splits; empty: no splitting
	DoubleBounce string // double_bounce_sender, never split
	OwnerRequest bool   // owner_request_special: owner-x and x-request are not split at '-'
}

// Split cuts local at the first character of d.Set. ext begins with that
// character. ok is false when there is no extension: no delimiter, nothing in
// front of it, or a name that is never split.
func (d Delimiter) Split(local string) (base, ext string, ok bool) {
	if d.Set == "" {
		return local, "", false
	}
	i := strings.IndexAny(local, d.Set)
	if i <= 0 || IsSpecialLocal(local, d.DoubleBounce) {
		return local, "", false
	}
	if d.OwnerRequest && strings.Contains(d.Set, "-") {
		low := Fold(local)
		if strings.HasPrefix(low, "owner-") || strings.HasSuffix(low, "-request") {
			return local, "", false
		}
	}
	return local[:i], local[i:], true
}

// IsSpecialLocal reports whether a local part is postmaster, mailer-daemon or
// the double-bounce sender: names that always exist and are never split.
func IsSpecialLocal(local, doubleBounce string) bool {
	return strings.EqualFold(local, "postmaster") || strings.EqualFold(local, "mailer-daemon") ||
		doubleBounce != "" && strings.EqualFold(local, doubleBounce)
}
