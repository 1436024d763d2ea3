package address

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SyntaxError says why a text is not an address. SMTP answers it with 501
// 5.1.3 (recipient) or 501 5.1.7 (sender).
type SyntaxError struct {
	Text   string // as given
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("bad address syntax: %q: %s", e.Text, e.Reason)
}

// Parse reads the external form of one address, as it stands between the
// brackets of MAIL FROM:<...> and RCPT TO:<...> (RFC 5321, 4.1.2).
//
// It is as tolerant as Postfix: a local part without a domain passes, comments
// and white space between words are dropped, quoted words may stand among
// others, and the local part may hold any printable character. A source route is
// cut off and the last address counts (RFC 5321, appendix C). The domain may be
// incomplete or empty ("user@", see Split) but not hold characters that no
// domain has. An empty text, or one of comments only, is the null address.
//
// Every error is a *SyntaxError: a quote, bracket or comment that is not
// closed, a control character, a bad character in the domain.
func Parse(external string) (Address, error) {
	a, err := parse(external)
	if err == "" {
		err = a.fault()
	}
	if err != "" {
		return Address{}, &SyntaxError{Text: external, Reason: err}
	}
	return a, nil
}

func parse(external string) (a Address, fault string) {
	if isPlain(external) {
		return Split(external), ""
	}
	tokens, open := scan(external)
	if open != 0 {
		return Address{}, fmt.Sprintf("%q is not closed", string(open))
	}
	// Postfix resolves what was read as internal form, where <"a@b"> is a@b.
	return Split(join(dropRoute(tokens))), ""
}

// isPlain reports whether text has neither quotes, comments, blanks nor a
// source route, so that both its forms are the same.
func isPlain(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`()<>,;:\"[]`, c) >= 0 {
			return false
		}
	}
	return true
}

// fault says what makes the address unusable in every context, or "".
func (a Address) fault() string {
	if strings.ContainsFunc(a.Local, isControl) {
		return "control character in the local part"
	}
	domain := a.Domain
	if n := len(domain); n >= 2 && domain[0] == '[' && domain[n-1] == ']' {
		domain = domain[1 : n-1]
		if strings.ContainsAny(domain, `[]\`) || strings.ContainsFunc(domain, isControl) {
			return "bad address literal"
		}
		return ""
	}
	if strings.ContainsAny(domain, ` ()<>@,;:\"[]`) || strings.ContainsFunc(domain, isControl) {
		return "bad character in the domain"
	}
	return ""
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// ParseList reads an RFC 822 address list: the right-hand side of an alias
// table, or the content of a To: header.
//
//	one, two@example.org "three four"@example.org
//	Display Name <five@example.org> (comment), Group: six, seven;
//
// Addresses are separated by commas, or by white space where no operator joins
// the words. Comments, display names and group names are dropped. Addresses
// without a domain stay so: see Rewriter. A source route is cut off. What an
// aliases(5) file would take for a command, a file or a list ("|prog",
// "/file", ":include:/list") is a plain local part; "|prog arg" in quotes is
// one, without quotes it is two. The text "<>" is the null address, and so is
// an empty quoted string; an empty text has no address.
//
// Like Postfix, it never gives up: what is not closed is closed at the end of
// the text. When an address cannot be used (see Parse) it is left out, and the
// error joins a *SyntaxError for each; the other addresses are returned with it.
func ParseList(text string) ([]Address, error) {
	if strings.Trim(text, " \t\r\n") == "<>" {
		return []Address{{}}, nil
	}
	tokens, _ := scan(text)
	var list []Address
	var errs []error
	for _, part := range group(tokens) {
		a := assemble(dropRoute(part))
		if fault := a.fault(); fault != "" {
			errs = append(errs, &SyntaxError{Text: join(part), Reason: fault})
			continue
		}
		list = append(list, a)
	}
	return list, errors.Join(errs...)
}

// assemble makes an address of the tokens of one. Only an '@' outside quotes
// separates: the local part may hold one ("a@b" in quotes has no domain yet).
func assemble(tokens []token) Address {
	at := lastOp(tokens, "@")
	if at < 0 || at == len(tokens)-1 {
		return Address{Local: join(tokens)}
	}
	return Address{Local: join(tokens[:at]), Domain: join(tokens[at+1:])}
}

// dropRoute cuts "@relay,@relay:" off the front (RFC 5321, 4.1.1.3: servers
// should ignore source routes). A ':' at the very end is no route.
func dropRoute(tokens []token) []token {
	if len(tokens) == 0 || tokens[0].op != '@' {
		return tokens
	}
	i := slices.IndexFunc(tokens, func(t token) bool { return t.op == ':' })
	if i < 0 || i == len(tokens)-1 {
		return tokens
	}
	return tokens[i+1:]
}

func join(tokens []token) string {
	if len(tokens) == 1 {
		return tokens[0].text
	}
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.text)
	}
	return b.String()
}
