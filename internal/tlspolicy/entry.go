package tlspolicy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strings"

	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/tlsconf"
)

// entry is the value of a policy table. Empty fields leave it to main.cf.
type entry struct {
	level      tlsconf.Level
	ciphers    string
	protocols  string
	exclude    []string
	match      []string
	anchors    []string // tafile
	serverName string
	sts        bool // policy_type=sts
}

// entry returns the policy for a next hop.
func (p *Policies) entry(ctx context.Context, nextHop string) (entry, error) {
	e := entry{level: p.o.Level}
	found, err := p.o.Maps.Find(ctx, keys(strings.TrimPrefix(nextHop, "unix:")), nil)
	if errors.Is(err, table.ErrNotFound) {
		return e, nil
	}
	if err != nil {
		return e, err
	}
	if e, err = parseEntry(found.Value); err == nil {
		return e, nil
	}
	err = fmt.Errorf("%s, %s, entry %q: %w", p.o.Maps.Parameter, found.Table.Name(), found.Key.Text, err)
	if len(found.At) > 0 && found.At[0].File != "" {
		err = fmt.Errorf("%v: %w", found.At[0], err)
	}
	return e, err
}

// keys are those of a next hop: itself, and behind a plain domain its parents.
func keys(nextHop string) iter.Seq[table.Key] {
	if !domain(nextHop) {
		return table.OnlyKey(nextHop)
	}
	return func(yield func(table.Key) bool) {
		if !yield(table.Key{Text: nextHop}) {
			return
		}
		for i := 1; i < len(nextHop); i++ {
			if nextHop[i] == '.' && !yield(table.Key{Text: nextHop[i:], Kind: table.Parent}) {
				return
			}
		}
	}
}

// domain reports whether a next hop is a plain domain.
func domain(nextHop string) bool {
	_, err := netip.ParseAddr(nextHop)
	return err != nil && nextHop != "" && !strings.ContainsAny(nextHop, "[]:/") && nextHop[0] != '.'
}

// parseEntry reads the value of a policy table: a level, then attributes
// name=value, each of which may stand in braces.
func parseEntry(text string) (entry, error) {
	var e entry
	words := syntax.Split(text, syntax.Separators)
	if len(words) == 0 {
		return e, errors.New("empty policy")
	}
	level, err := tlsconf.ParseLevel(words[0])
	if err != nil {
		return e, fmt.Errorf("invalid security level %q", words[0])
	}
	e.level = level
	if level == tlsconf.None {
		return e, nil // attributes have no effect then
	}
	seen := map[string]bool{}
	for _, word := range words[1:] {
		if inner, ok := syntax.Unbrace(word); ok {
			word = inner
		}
		name, value, ok := strings.Cut(word, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || name == "" || value == "" {
			return e, fmt.Errorf("malformed attribute %q: expected name=value", word)
		}
		if err := e.attribute(name, value, seen[name]); err != nil {
			return e, err
		}
		seen[name] = true
	}
	if e.sts && (e.level != tlsconf.Secure || e.match == nil) {
		return e, errors.New("policy_type=sts goes with level secure and match only")
	}
	return e, nil
}

// attribute adds one attribute. again says that there was one of that name.
func (e *entry) attribute(name, value string, again bool) error {
	var once *string
	switch name {
	case "match":
		return e.addMatch(value)
	case "exclude":
		e.exclude = append(e.exclude, value)
		_, err := tlsconf.Suites("medium", value)
		return err
	case "tafile":
		if e.level < tlsconf.Verify {
			return fmt.Errorf("attribute %q is invalid at security level %q", name, e.level)
		}
		e.anchors = append(e.anchors, value)
		return nil
	case "ciphers":
		once = &e.ciphers
		if _, err := tlsconf.Suites(value, ""); err != nil {
			return err
		}
	case "protocols":
		once = &e.protocols
		if _, _, err := tlsconf.ParseProtocols(value); err != nil {
			return err
		}
	case "servername":
		once = &e.serverName
	case "connection_reuse":
		if !strings.EqualFold(value, "yes") && !strings.EqualFold(value, "no") {
			return fmt.Errorf("attribute connection_reuse=%s is neither yes nor no", value)
		}
		once = new(string)
	case "policy_type":
		e.sts = strings.EqualFold(value, "sts")
		once = new(string)
	case "policy_domain", "policy_ttl", "policy_string", "policy_failure", "mx_host_pattern":
		return nil
	default:
		return fmt.Errorf("unknown attribute %q", name)
	}
	if again {
		return fmt.Errorf("attribute %q is specified multiple times", name)
	}
	*once = value
	return nil
}

// addMatch adds the names, or the fingerprints, of one match attribute.
func (e *entry) addMatch(value string) error {
	separator := ":"
	switch {
	case e.level == tlsconf.Fingerprint:
		separator = "|"
	case e.level < tlsconf.Verify:
		return fmt.Errorf("attribute \"match\" is invalid at security level %q", e.level)
	}
	for word := range strings.SplitSeq(value, separator) {
		if word == "" {
			return fmt.Errorf("attribute match=%s has an empty item", value)
		}
		e.match = append(e.match, word)
	}
	return nil
}
