// Package smtp is the protocol itself: commands, replies, enhanced status
// codes, paths, the text of messages as it is on the wire, and the extension list
// (RFC 5321, RFC 2033, RFC 2034, RFC 1870, RFC 3030, RFC 6531). There are no
// sockets in it.
//
// It imports address.
package smtp

import (
	"strconv"
	"strings"
)

// Reply is the answer to a command.
type Reply struct {
	Code     int    // 200 to 599; 0: no reply (yet)
	Enhanced string // "5.1.1", or "" for replies without one (greeting, HELO, 354)
	Text     string // lines separated by \n; without codes
	// Raw is a reply that was read, as it came: lines separated by \n, with their
	// codes. "" of one that was made here.
	Raw string
}

// R makes a reply of one line.
func R(code int, enhanced, text string) Reply {
	return Reply{Code: code, Enhanced: enhanced, Text: text}
}

// IsZero reports whether there is no reply.
func (r Reply) IsZero() bool { return r.Code == 0 }

// Positive reports a 2xx or 3xx reply.
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 400 }

// Temporary reports a 4xx reply.
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent reports a 5xx reply.
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// String is the reply on one line, "550 5.1.1 <x>: ...", as it stands in logs.
func (r Reply) String() string {
	text := strings.ReplaceAll(r.Text, "\n", " ")
	if r.Enhanced == "" {
		return strconv.Itoa(r.Code) + " " + text
	}
	return strconv.Itoa(r.Code) + " " + r.Enhanced + " " + text
}

// SplitEnhanced is CutEnhanced with a code to fall back on.
func SplitEnhanced(text, fallback string) (enhanced, rest string) {
	enhanced, rest, ok := CutEnhanced(strings.TrimLeft(text, " "))
	if !ok {
		return fallback, text
	}
	return enhanced, rest
}
