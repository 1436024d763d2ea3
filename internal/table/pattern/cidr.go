package pattern

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"postern/internal/syntax"
	"postern/internal/table"
)

// Cidr opens a cidr: table (cidr_table(5)). name is a file, or rules written in
// braces: "{{192.0.2.0/24 result}, ...}". Keys that are not IP addresses are
// never found. A file that cannot be read and an inline text that cannot be
// cut into rules are errors; a rule that cannot be used is left out with a
// warning that names its line.
func Cidr(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	d := dialect{family: "cidr", prepare: newAddress, rule: networkRule, condition: networkCondition, cut: cutNetworkRule, strictEndif: true, finish: indexNetworks}
	return open(ctx, o, d, name, use)
}

var (
	errNoAddress = errors.New("no address pattern")
	errNoResult  = errors.New("no lookup result")
)

func networkRule(c *compiler, text string, r *rule) error {
	text, negated := cutNegation(text)
	pattern, result := cutNetwork(text)
	p, err := parseNetwork(pattern)
	if err != nil {
		return err
	}
	if result == "" {
		return errNoResult
	}
	r.conditions = []condition{{matcher: network{p, negated}}}
	r.result = replacement{parts: []part{{text: result}}}
	return nil
}

// cutNetwork cuts at the first white space.
func cutNetwork(text string) (pattern, result string) {
	if i := strings.IndexAny(text, syntax.Blank); i >= 0 {
		return text[:i], strings.Trim(text[i:], syntax.Blank)
	}
	return text, ""
}

// cutNetworkRule leaves the exclamation mark with the pattern.
func cutNetworkRule(text string) (pattern, result string) {
	text, negated := cutNegation(text)
	if pattern, result = cutNetwork(text); negated {
		pattern = "!" + pattern
	}
	return pattern, result
}

func networkCondition(c *compiler, text string, r *rule) error {
	text, negated := cutNegation(text)
	p, err := parseNetwork(strings.TrimRight(text, syntax.Blank))
	r.conditions = []condition{{matcher: network{p, negated}}}
	return err
}

// network matches the addresses of one network, or those outside of it. Either
// way only addresses of the same family match.
type network struct {
	prefix  netip.Prefix
	negated bool
}

func (n network) match(s *subject, _ bool) ([]string, bool, error) {
	same := s.addr.BitLen() == n.prefix.Addr().BitLen()
	return nil, same && n.prefix.Contains(s.addr) != n.negated, nil
}

// parseNetwork reads an address or network, which may be written in brackets,
// with the mask length inside or outside of them. Bits beyond the mask must be
// zero.
func parseNetwork(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, errNoAddress
	}
	bare, err := dropBrackets(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	host, length, hasLength := strings.Cut(bare, "/")
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("bad address pattern %q", text)
	}
	bits := addr.BitLen()
	if hasLength {
		n, err := strconv.ParseUint(length, 10, 16)
		switch {
		case err != nil:
			return netip.Prefix{}, fmt.Errorf("bad mask value in %q", text)
		case int(n) > bits:
			return netip.Prefix{}, fmt.Errorf("bad mask length in %q", text)
		}
		bits = int(n)
	}
	p := netip.PrefixFrom(addr, bits)
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, fmt.Errorf("non-null host address bits in %q, perhaps you should use %q instead", text, masked)
	}
	return p, nil
}

// dropBrackets turns "[addr]", "[addr/len]" and "[addr]/len" into what is
// inside, with the length.
func dropBrackets(text string) (string, error) {
	rest, ok := strings.CutPrefix(text, "[")
	if !ok {
		return text, nil
	}
	inside, after, ok := strings.Cut(rest, "]")
	switch {
	case !ok:
		return "", fmt.Errorf("missing ']' character after %q", text)
	case after != "" && after[0] != '/':
		return "", fmt.Errorf("garbage after %q", "["+inside+"]")
	}
	return inside + after, nil
}
