package smtpc

import (
	"slices"
	"strconv"
	"strings"
)

// Extensions are what a server offers in its reply to EHLO or LHLO.
type Extensions struct {
	Pipelining bool
	EightBit   bool // 8BITMIME
	SMTPUTF8   bool
	DSN        bool
	StartTLS   bool
	Chunking   bool // RFC 3030
	Size       bool
	SizeLimit  int64    // argument of SIZE; 0: no limit known
	Auth       []string // mechanisms, in upper case
}

// parseExtensions reads the text of a reply to EHLO, one keyword with its
// arguments on a line behind the first line (RFC 5321, 4.1.1.1). What it does
// not know, or what discard names, is left out.
func parseExtensions(text string, discard []string) Extensions {
	var e Extensions
	_, rest, _ := strings.Cut(text, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		line = strings.TrimSpace(line)
		keyword, args, _ := strings.Cut(line, " ")
		if len(keyword) > 4 && strings.EqualFold(keyword[:5], "AUTH=") { // of servers older than RFC 2554
			keyword, args = "AUTH", line[5:]
		}
		if slices.ContainsFunc(discard, func(d string) bool { return strings.EqualFold(d, keyword) }) {
			continue
		}
		switch strings.ToUpper(keyword) {
		case "PIPELINING":
			e.Pipelining = true
		case "8BITMIME":
			e.EightBit = true
		case "SMTPUTF8":
			e.SMTPUTF8 = true
		case "DSN":
			e.DSN = true
		case "STARTTLS":
			e.StartTLS = true
		case "SIZE":
			e.Size = true
			if n, err := strconv.ParseInt(strings.TrimSpace(args), 10, 64); err == nil && n > 0 {
				e.SizeLimit = n
			}
		case "AUTH":
			for name := range strings.FieldsSeq(strings.ToUpper(args)) {
				if !slices.Contains(e.Auth, name) {
					e.Auth = append(e.Auth, name)
				}
			}
		case "CHUNKING":
			e.Chunking = true
		}
	}
	return e
}
