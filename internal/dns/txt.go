package dns

import (
	"context"
	"strings"

	"github.com/miekg/dns"
)

// LookupTXT returns the TXT records of a name, each with its strings joined
// (RFC 7208, 3.3; RFC 8461, 3.1). Octets are as they are in the DNS: a record
// may hold anything.
func (c *Client) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := c.lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	list := make([]string, 0, len(a.records))
	for _, rr := range a.records {
		list = append(list, unescape(strings.Join(rr.(*dns.TXT).Txt, "")))
	}
	return list, nil
}

// unescape undoes the \DDD and \X in which the DNS library gives the octets of a
// string (RFC 1035, 5.1).
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			out = append(out, s[i])
		case i+3 < len(s) && digit(s[i+1]) && digit(s[i+2]) && digit(s[i+3]):
			out = append(out, (s[i+1]-'0')*100+(s[i+2]-'0')*10+(s[i+3]-'0'))
			i += 3
		default:
			i++
			out = append(out, s[i])
		}
	}
	return string(out)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
