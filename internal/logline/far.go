package logline

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// ownSide are failures of a mailbox, a table or a server of ours. When another host says
// the like, it speaks of its own.
var ownSide = []string{"VD101", "VD201", "VD202", "VD203", "VD307", "VD403", "VD404"}

// isOwnSide reports a rule that says nothing about the words of another host.
func (r *rule) isOwnSide() bool { return slices.Contains(ownSide, r.codes[0]) }

var portLMTP = regexp.MustCompile(`\]:24\b`)

// isElsewhere reports an event at a host that is not ours. Ours are what LMTP is spoken
// to, what is reached by a socket or at a loopback or private address, and every
// transport that names no host: virtual, local, a pipe. Port 24 is that of LMTP, in a
// line that does not say which client it is of.
func isElsewhere(line, text string) bool {
	if isOf("lmtp", line, text) || portLMTP.MatchString(text) && !isOf("smtp", line, text) {
		return false
	}
	ip, err := netip.ParseAddr(strings.TrimPrefix(farAddress(text), "IPv6:"))
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast()
}

// isOf reports whether a line is of a client, whatever the form of its front.
func isOf(client, line, text string) bool {
	front, _, _ := strings.Cut(line, text)
	for _, end := range []string{"[", " ", `"`} {
		end = "/" + client + end
		if strings.Contains(front, end) || strings.HasPrefix(line, "{") && strings.Contains(line, end) {
			return true
		}
	}
	return false
}

// farAddress is the address, or the socket, of the other side, "" when none is named:
// "host mx.a.example[192.0.2.1] said: ", "connect to mx.a.example[192.0.2.1]:25: ",
// "relay=mx.a.example[192.0.2.1]:25".
func farAddress(text string) string {
	for _, place := range []struct{ front, end string }{{"host ", "] said: "}, {"connect to ", "]:"}, {"relay=", "]"}} {
		_, rest, ok := strings.Cut(text, place.front)
		if !ok {
			continue
		}
		if name, _, ok := strings.Cut(rest, place.end); ok && !strings.ContainsAny(name, " ,(") {
			return name[strings.LastIndexByte(name, '[')+1:]
		}
	}
	return ""
}

// advice is what can be said of a failure of another host, "" when nothing can.
func (r *rule) advice() string {
	switch word := r.words[0]; {
	case r.codes[0] != "VD404":
		return ""
	case strings.Contains(word, "size") || strings.Contains(word, "large"):
		return "The other host takes no message that large; no setting here changes that. Send a smaller one, or a link to what it holds."
	default:
		return "It is the mailbox on the other host that is full; no setting here changes that. Whoever owns it has to make room, or a forwarding to it has to be taken out."
	}
}
