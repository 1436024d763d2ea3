package intake

import (
	"bytes"
	"strings"

	"postern/internal/header"
)

// section is the state of a header section that is on its way through. It goes
// to the spool field by field, so that none has to be held in memory whole.
type section struct {
	pending []byte // what cannot be judged before more of the text is known
	long    bool   // in the middle of a field of more than header_size_limit octets
	drop    bool   // and that field is dropped
	begun   bool   // a field was seen
	unended bool   // what was passed on does not end with a line end

	hops      int
	messageID string
	have      map[string]bool // names of fields, lower case; nil when nobody asks
}

// header takes the next piece of the header section, and of the body when the
// section ends in it. How the text is cut into pieces makes no difference.
func (l *Letter) header(p []byte) {
	text := p
	if len(l.head.pending) > 0 {
		l.head.pending = append(l.head.pending, p...)
		text = l.head.pending
	}
	rest := l.fields(text, false)
	l.head.pending = append(l.head.pending[:0], rest...)
}

// endHeader passes on what is pending when the text is at its end.
func (l *Letter) endHeader() {
	l.fields(l.head.pending, true)
	if !l.inBody {
		l.startBody(nil)
	}
	l.head.pending = nil
}

// fields passes on the fields at the start of text but those that are dropped,
// and the rest of text too once the section has ended. It returns what is
// pending; nothing is when this is the last piece.
func (l *Letter) fields(text []byte, last bool) []byte {
	at, run := 0, 0 // run is the start of what is passed on in one piece
	for at < len(text) {
		if !l.head.long && text[at] == '\n' {
			break
		}
		n, whole := fieldLen(text[at:])
		whole = whole || last
		if !l.head.long {
			if !whole && n <= l.in.headerSize {
				l.pass(text[run:at])
				return text[at:]
			}
			if l.mailboxLine(text[at:]) {
				l.put([]byte("X-Mailbox-Line: "))
			} else {
				f, ok := l.field(text[at : at+n])
				if !ok {
					break
				}
				l.head.drop = l.note(f)
			}
			l.head.begun = true
		}
		if l.head.long = !whole; l.head.long && text[at+n-1] == '\n' {
			n-- // the next byte will say whether the field ends here
		}
		if l.head.drop {
			l.pass(text[run:at])
			run = at + n
		}
		at += n
		if l.head.long {
			l.pass(text[run:at])
			return text[at:]
		}
	}
	l.pass(text[run:at])
	if at < len(text) {
		l.startBody(text[at:])
	}
	return nil
}

// mailboxLine reports whether the text begins with the line that an mbox puts in
// front of a message. As smtpd(8) does, it is kept under the name of a field, or
// the header would end there.
func (l *Letter) mailboxLine(text []byte) bool {
	return !l.head.begun && (bytes.HasPrefix(text, []byte("From ")) || bytes.HasPrefix(text, []byte(">From ")))
}

// fieldLen is the length of the field or line at the start of text, with the
// lines that continue it. whole is false when more lines may follow.
func fieldLen(text []byte) (n int, whole bool) {
	for {
		i := bytes.IndexByte(text[n:], '\n')
		if i < 0 {
			return len(text), false
		}
		n += i + 1
		if n == len(text) {
			return n, false
		}
		if text[n] != ' ' && text[n] != '\t' {
			return n, true
		}
	}
}

// field reads the field that text is. A name of header_size_limit octets is
// none.
func (l *Letter) field(text []byte) (field header.Field, ok bool) {
	if bytes.IndexByte(text[:min(len(text), l.in.headerSize)], ':') < 0 {
		return header.Field{}, false
	}
	for f := range header.Fields(text) {
		return f, true
	}
	return header.Field{}, false
}

// note remembers what matters of a field and reports whether it is dropped.
func (l *Letter) note(f header.Field) (drop bool) {
	var buf [64]byte
	name := buf[:0]
	for _, c := range f.Name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		name = append(name, c)
	}
	switch string(name) {
	case "received":
		l.head.hops++
	case "message-id":
		if l.head.messageID == "" && len(f.Raw) <= l.in.headerSize {
			l.head.messageID = f.Unfold()
		}
	}
	if l.head.have != nil {
		l.head.have[string(name)] = true
	}
	return l.in.drop[string(name)]
}

// pass hands a stretch of the header to the spool.
func (l *Letter) pass(text []byte) {
	if len(text) > 0 {
		l.head.unended = text[len(text)-1] != '\n'
		l.put(text)
	}
}

// startBody ends the header section: fields that are added, an empty line, the
// body. text begins with that empty line, or with the body when it is missing.
func (l *Letter) startBody(text []byte) {
	l.inBody = true
	if l.head.unended {
		l.put([]byte("\n"))
	}
	l.complete()
	if len(text) > 0 && text[0] != '\n' {
		l.put([]byte("\n"))
	}
	l.put(text)
}

// complete adds the fields that locally submitted mail lacks; of mail that is
// sent on (RFC 5322, 3.6.6), their Resent- forms.
func (l *Letter) complete() {
	if !l.local {
		return
	}
	have := l.head.have
	resent := ""
	for name := range have {
		if strings.HasPrefix(name, "resent-") {
			resent = "Resent-"
		}
	}
	has := func(name string) bool { return have[strings.ToLower(resent)+name] }
	var buf []byte
	if !has("message-id") {
		id := header.AppendMessageID(nil, l.ID(), l.in.hostname, l.arrival)
		if l.head.messageID == "" {
			l.head.messageID = string(id)
		}
		buf = append(append(append(buf, resent+"Message-Id: "...), id...), '\n')
	}
	if !has("date") {
		buf = append(header.AppendDate(append(buf, resent+"Date: "...), l.arrival), '\n')
	}
	if !has("from") {
		buf = append(append(buf, resent...), l.from...)
	}
	if l.in.undisclosed != "" && !have["to"] && !have["cc"] && !have["resent-to"] && !have["resent-cc"] {
		buf = append(append(buf, l.in.undisclosed...), '\n')
	}
	l.put(buf)
}
