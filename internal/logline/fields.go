package logline

import "strings"

// addresses takes sender and recipient from the text of a line.
func (e *Event) addresses() {
	e.Sender = field(e.Reason, "from=<")
	e.Recipient = field(e.Reason, " to=<")
	if e.Recipient == "" && strings.HasPrefix(e.Reason, "to=<") {
		e.Recipient = field(e.Reason, "to=<")
	}
	if before := field(e.Reason, "orig_to=<"); before != "" && before != e.Recipient {
		e.Recipient, e.Final = before, e.Recipient
	}
	if e.Recipient != "" || e.Kind == Warning {
		return
	}
	// A reply alone, or the text of a bounce: "<a@b>: ...", "<a@b> (expanded from <c@d>): ...".
	if e.Recipient = field(e.Reason, "(expanded from <"); e.Recipient == "" {
		if _, rest, ok := cutReply(e.Reason); ok {
			e.Recipient = leadingAddress(rest)
		} else {
			e.Recipient = leadingAddress(e.Reason)
		}
	}
}

// field is what stands behind name up to the next ">".
func field(text, name string) string {
	i := strings.Index(text, name)
	if i < 0 {
		return ""
	}
	return untilBracket(text[i+len(name):])
}

// untilBracket is an address up to the ">" behind it. A ">" in a quoted local part
// does not end it.
func untilBracket(text string) string {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return text[:i]
		}
	}
	return ""
}

// leadingAddress is the address of "<a@b>: ...", "" if there is none.
func leadingAddress(text string) string {
	rest, ok := strings.CutPrefix(text, "<")
	if !ok {
		return ""
	}
	a := untilBracket(rest)
	if !strings.Contains(a, "@") {
		return ""
	}
	return a
}

// cutReply finds an SMTP reply, "550 5.1.1 ", and returns it and what follows.
func cutReply(text string) (reply, rest string, ok bool) {
	for i := 0; i+4 <= len(text); i++ {
		if i > 0 && text[i-1] != ' ' {
			continue
		}
		if !replyAt(text[i:]) {
			continue
		}
		reply, rest = text[i:i+3], text[i+4:]
		if dsn, after, found := strings.Cut(rest, " "); found && isEnhanced(dsn) {
			rest = after
		}
		return reply, rest, true
	}
	return "", "", false
}

// replyAt says whether a text begins with a reply code that says no.
func replyAt(text string) bool {
	return len(text) > 4 && (text[0] == '4' || text[0] == '5') && text[1] >= '0' && text[1] <= '5' &&
		text[2] >= '0' && text[2] <= '9' && (text[3] == ' ' || text[3] == '-')
}

// isReply says whether a text is an SMTP reply, and nothing else.
func isReply(text string) bool {
	if !replyAt(text) {
		return false
	}
	_, rest, _ := strings.Cut(text[4:], " ")
	return isEnhanced(strings.SplitN(text[4:], " ", 2)[0]) || strings.HasPrefix(text[4:], "<") || strings.Contains(rest, ">: ")
}

// isEnhanced recognises an enhanced status code (RFC 3463, 2).
func isEnhanced(word string) bool {
	dots := 0
	for i := range len(word) {
		switch {
		case word[i] == '.':
			dots++
		case word[i] < '0' || word[i] > '9':
			return false
		}
	}
	return dots == 2 && len(word) >= 5 && (word[0] == '4' || word[0] == '5')
}

// after is the word that follows a text, without quotes and what ends it.
func after(text, words string) string {
	_, rest, ok := strings.Cut(text, words)
	if !ok {
		return ""
	}
	rest = strings.TrimLeft(rest, " \"'<")
	if i := strings.IndexAny(rest, " \t\"'<>,;="); i >= 0 {
		rest = rest[:i]
	}
	return strings.TrimRight(rest, ".:)")
}

// before is the word that stands in front of a text.
func before(text, words string) string {
	rest, _, ok := strings.Cut(text, words)
	if !ok {
		return ""
	}
	rest = strings.TrimRight(rest, " \"'")
	if i := strings.LastIndexAny(rest, " \t\"'<>(="); i >= 0 {
		rest = rest[i+1:]
	}
	return rest
}
