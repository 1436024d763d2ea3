package cf

import (
	"slices"
	"strings"
)

// secrets are the parameters whose values are not to be shown.
var secrets = []string{"password", "bind_pw"}

// shown is the text of a line that sets a parameter as it may be shown; written is the
// name with its prefix, as in main.cf. In the URI of
// a server a password may have any byte, also one that ends the URI: then nothing of
// the value is shown.
func shown(name, written, line string) string {
	_, rest, uri := strings.Cut(line, "://")
	if slices.Contains(secrets, name) || uri && (strings.Contains(rest, "@") || strings.Contains(rest, "password=")) {
		return written + " = ..."
	}
	return line
}

// HasPassword reports whether the value of a parameter is a password, or a URI with
// one (RFC 3986, 3.2.1; libpq, 34.1.1.2).
func HasPassword(name, value string) bool {
	return value != "" && slices.Contains(secrets, name) || WithoutPasswords(value) != value
}

// WithoutPasswords is a text without the passwords that URIs in it have, in front of
// the host or as a parameter. A URI ends at a blank, a comma or a quote.
//
//	postgresql://mail:PASSWORD@db.test/mail?password=PASSWORD
//	postgresql://mail:...@db.test/mail?password=...
func WithoutPasswords(text string) string {
	var b strings.Builder
	for {
		begin := strings.Index(text, "://")
		if begin < 0 {
			b.WriteString(text)
			return b.String()
		}
		begin += len("://")
		b.WriteString(text[:begin])
		text = text[begin:]
		end := strings.IndexAny(text, " \t\r\n,\"'")
		if end < 0 {
			end = len(text)
		}
		b.WriteString(withoutPassword(text[:end]))
		text = text[end:]
	}
}

// withoutPassword is what is behind the "://" of a URI without its password.
func withoutPassword(uri string) string {
	if at := strings.LastIndexByte(uri, '@'); at >= 0 {
		if user, _, has := strings.Cut(uri[:at], ":"); has {
			uri = user + ":..." + uri[at:]
		}
	}
	head, rest, has := strings.Cut(uri, "password=")
	if !has {
		return uri
	}
	_, tail, more := strings.Cut(rest, "&")
	if more {
		tail = "&" + tail
	}
	return head + "password=..." + tail
}
