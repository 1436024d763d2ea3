package pattern

import (
	"net/netip"
	"strings"

	"postern/internal/origin"
	"postern/internal/table/text"
)

// program is a compiled table: its rules in file order.
type program struct {
	rules    []rule
	problems []text.Problem // lines that are left out
	texts    *textIndex     // nil: the rules are tried one by one
}

// rule is one line: a condition list with either a result or, for an "if", the
// place where the search goes on when they do not hold. An "endif" leaves no
// rule behind.
type rule struct {
	conditions []condition // all must hold; the groups are those of the first
	result     replacement
	isIf       bool
	end        int // of an "if": index of the first rule behind its endif
	at         origin.At
	text       string    // as written
	index      *netIndex // of this rule and those behind it; nil: they are tried one by one
}

// condition is a pattern that must match, or must not.
type condition struct {
	matcher matcher
	negated bool
}

// matcher is one compiled pattern.
type matcher interface {
	// match reports whether the pattern matches. The text of its groups, the
	// whole match first, is only returned when it is asked for; a group that
	// took no part is empty. An error says that the engine gave up.
	match(s *subject, wantGroups bool) (groups []string, ok bool, err error)
}

// subject is a key in the forms that matchers want.
type subject struct {
	key    string
	latin1 string     // key with every byte turned into the character of that number
	folded string     // key with ASCII letters small
	addr   netip.Addr // of address tables
}

// newText prepares a key for text patterns. ASCII needs no conversion.
func newText(key string) (subject, bool) {
	for i := 0; i < len(key); i++ {
		if key[i] >= 0x80 {
			return subject{key: key, latin1: widen(key), folded: fold(key)}, true
		}
	}
	return subject{key: key, latin1: key, folded: fold(key)}, true
}

func widen(key string) string {
	var b strings.Builder
	b.Grow(2 * len(key))
	for i := 0; i < len(key); i++ {
		b.WriteRune(rune(key[i]))
	}
	return b.String()
}

// narrow is the inverse of widen.
func narrow(text string) string {
	b := make([]byte, 0, len(text))
	for _, r := range text {
		b = append(b, byte(r))
	}
	return string(b)
}

// newAddress prepares a key for network patterns. ok is false when the key is
// not an IP address: then nothing can match it, not even a negated pattern.
func newAddress(key string) (subject, bool) {
	addr, err := netip.ParseAddr(key)
	if err != nil || addr.Zone() != "" {
		return subject{}, false
	}
	return subject{key: key, addr: addr}, true
}

// find returns the first rule that matches and the groups of the match, or nil.
func (p *program) find(s *subject) (*rule, []string, error) {
	var buffer [32]int32
	candidates := p.texts.candidates(s.folded, buffer[:0])
	for i := 0; i < len(p.rules); i++ {
		if p.texts != nil {
			if i = candidates.next(i); i < 0 {
				break
			}
		}
		r := &p.rules[i]
		if r.index != nil {
			if found := r.index.find(s.addr); found >= 0 {
				return &p.rules[found], nil, nil
			}
			i = r.index.end - 1
			continue
		}
		groups, ok, err := r.match(s)
		switch {
		case err != nil:
			return nil, nil, &ruleError{r.at, err}
		case r.isIf && !ok:
			i = r.end - 1
		case !r.isIf && ok:
			return r, groups, nil
		}
	}
	return nil, nil, nil
}

func (r *rule) match(s *subject) ([]string, bool, error) {
	var groups []string
	for i := range r.conditions {
		c := &r.conditions[i]
		g, ok, err := c.matcher.match(s, i == 0 && r.result.groups > 0)
		if err != nil || ok == c.negated {
			return nil, false, err
		}
		if i == 0 {
			groups = g
		}
	}
	return groups, true, nil
}

// ruleError is the failure of an engine on one rule.
type ruleError struct {
	at  origin.At
	err error
}

func (e *ruleError) Error() string { return e.at.String() + ": " + e.err.Error() }
func (e *ruleError) Unwrap() error { return e.err }
