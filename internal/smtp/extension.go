package smtp

import "strings"

// Extensions are the lines of an EHLO reply after the first, in the order in
// which they are announced. The zero value is empty.
type Extensions struct {
	lines []string
}

// Add appends a line, a keyword and its parameters ("SIZE 10240000").
func (e *Extensions) Add(line string) { e.lines = append(e.lines, line) }

// Without returns the extensions whose keyword is not in the set; its words
// are in upper case.
func (e Extensions) Without(discard map[string]bool) Extensions {
	if len(discard) == 0 {
		return e
	}
	var kept Extensions
	for _, line := range e.lines {
		keyword, _, _ := strings.Cut(line, " ")
		if !discard[upper(keyword)] {
			kept.Add(line)
		}
	}
	return kept
}

// Has reports whether the keyword is announced.
func (e Extensions) Has(keyword string) bool {
	_, ok := e.Get(keyword)
	return ok
}

// Get returns the parameters of a keyword. Keywords have no case.
func (e Extensions) Get(keyword string) (params string, ok bool) {
	for _, line := range e.lines {
		word, params, _ := strings.Cut(line, " ")
		if strings.EqualFold(word, keyword) {
			return params, true
		}
	}
	return "", false
}

// Reply is the 250 reply to EHLO (RFC 5321, 4.1.1.1): host and the lines.
func (e Extensions) Reply(host string) Reply {
	return R(250, "", strings.Join(append([]string{host}, e.lines...), "\n"))
}

// ParseExtensions reads the reply of a server to EHLO or LHLO. The first line
// names the server and is left out.
func ParseExtensions(r Reply) Extensions {
	var e Extensions
	_, rest, more := strings.Cut(r.Text, "\n")
	for more {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		if line = strings.Trim(line, blanks); line != "" {
			e.Add(line)
		}
	}
	return e
}
