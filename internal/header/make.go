package header

import (
	"strconv"
	"strings"
	"time"
)

// Received is the trace field that a server puts in front of every message it
// takes (RFC 5321, 4.4). The zero value of a member leaves its clause out.
//
//	Received: from HELO (NAME [IP])
//		(Authenticated sender: USER)
//		by HOSTNAME (SOFTWARE) with PROTOCOL id ID
//		for <RECIPIENT>; DATE
type Received struct {
	Helo     string // what the client called itself; "" for mail that came by no network
	Client   string // its verified name, or "unknown"
	Address  string // its IP address, without brackets
	Comments []string
	Login    string // the user it authenticated as
	Hostname string // postconf myhostname
	Software string // postconf mail_name
	UserID   int    // who submitted on the command line; only when Local
	Local    bool   // submitted on the command line
	Protocol string // "ESMTPS" (RFC 3848); "" for mail that came by no network
	ID       string // queue id
	For      string // the recipient in external form, only when there is just one
	Date     time.Time
}

// AppendTo appends the field, line ends included, to buf. What the client said
// is printed with control characters and unbalanced comment signs replaced, so
// that it cannot end the field or a comment.
func (r Received) AppendTo(buf []byte) []byte {
	buf = append(buf, "Received: "...)
	if r.Helo != "" || r.Client != "" {
		buf = append(buf, "from "...)
		buf = appendText(buf, r.Helo)
		buf = append(buf, " ("...)
		buf = appendComment(buf, r.Client)
		buf = append(buf, " ["...)
		if strings.Contains(r.Address, ":") {
			buf = append(buf, "IPv6:"...) // RFC 5321, 4.1.3
		}
		buf = appendComment(buf, r.Address)
		buf = append(buf, "])\n\t"...)
	}
	for _, comment := range r.Comments {
		buf = append(buf, '(')
		buf = appendComment(buf, comment)
		buf = append(buf, ")\n\t"...)
	}
	if r.Login != "" {
		buf = append(buf, "(Authenticated sender: "...)
		buf = appendComment(buf, r.Login)
		buf = append(buf, ")\n\t"...)
	}
	return r.appendBy(buf)
}

func (r Received) appendBy(buf []byte) []byte {
	buf = append(buf, "by "...)
	buf = append(buf, r.Hostname...)
	buf = append(buf, " ("...)
	buf = append(buf, r.Software...)
	if r.Local {
		buf = append(buf, ", from userid "...)
		buf = strconv.AppendInt(buf, int64(r.UserID), 10)
	}
	buf = append(buf, ')')
	if r.Protocol != "" {
		buf = append(buf, " with "...)
		buf = append(buf, r.Protocol...)
	} else {
		buf = append(buf, "\n\t"...)
		buf = append(buf, "id "...)
		return r.appendEnd(append(buf, r.ID...))
	}
	buf = append(buf, " id "...)
	return r.appendEnd(append(buf, r.ID...))
}

func (r Received) appendEnd(buf []byte) []byte {
	if r.For != "" {
		buf = append(buf, "\n\tfor <"...)
		buf = appendText(buf, r.For)
		buf = append(buf, '>')
	}
	buf = append(buf, "; "...)
	return append(AppendDate(buf, r.Date), '\n')
}

// appendText appends s with control characters as '?'.
func appendText(buf []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c == 0x7f {
			c = '?'
		}
		buf = append(buf, c)
	}
	return buf
}

// appendComment appends s as it may stand inside a comment (RFC 5322, 3.2.2).
func appendComment(buf []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c == 0x7f || c == '(' || c == ')' || c == '\\' {
			c = '?'
		}
		buf = append(buf, c)
	}
	return buf
}

// AppendDate appends t as RFC 5322, 3.3 writes it, with the zone's name as a
// comment where it has one: "Sun, 22 Nov 2026 20:51:57 +0000 (UTC)".
func AppendDate(buf []byte, t time.Time) []byte {
	buf = t.AppendFormat(buf, "Mon, 2 Jan 2006 15:04:05 -0700")
	zone, _ := t.Zone()
	if zone == "" || zone[0] == '+' || zone[0] == '-' {
		return buf
	}
	buf = append(buf, " ("...)
	buf = append(buf, zone...)
	return append(buf, ')')
}

// AppendMessageID appends a new message identifier with its brackets,
// "<20261122205157.4F1C0A@mail.example.com>". The queue id makes it unique on
// this host and the time makes it unique over the life of a spool directory.
func AppendMessageID(buf []byte, id, hostname string, t time.Time) []byte {
	buf = append(buf, '<')
	buf = t.UTC().AppendFormat(buf, "20060102150405.")
	buf = append(buf, id...)
	buf = append(buf, '@')
	buf = append(buf, hostname...)
	return append(buf, '>')
}
