package table

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"postern/internal/address"
)

// Empty reports whether the list has no items.
func (l *List) Empty() bool { return l == nil || len(l.items) == 0 }

// Match reports which item matches the name, which is folded first. Nothing
// matches: ErrNotFound. An item that cannot be used or a table that fails
// before anything matched: an error that wraps an *Error. In an AddressList the
// name may be an address.
func (l *List) Match(ctx context.Context, name string, obs Observer) (Match, error) {
	if l == nil {
		return Match{}, ErrNotFound
	}
	q := query{name: address.Fold(name)}
	if l.kind == AddressList {
		if ip, err := netip.ParseAddr(name); err == nil {
			q.ip = ip.Unmap()
		}
	}
	return l.match(ctx, q, obs)
}

// MatchClient reports which item of an AddressList matches a client by its name
// or its address. Each item is compared with the name, then with the address;
// either may be empty. The results are those of Match.
func (l *List) MatchClient(ctx context.Context, name, addr string, obs Observer) (Match, error) {
	if l == nil {
		return Match{}, ErrNotFound
	}
	q := query{name: address.Fold(name), addr: addr}
	if ip, err := netip.ParseAddr(addr); err == nil {
		q.ip = ip.Unmap()
	}
	return l.match(ctx, q, obs)
}

// query is what a list is asked for.
type query struct {
	name string     // folded, may be empty
	addr string     // textual address, when it is not the name
	ip   netip.Addr // the address, when there is one
}

// match finds the first item that matches and gives its verdict.
func (l *List) match(ctx context.Context, q query, obs Observer) (Match, error) {
	for _, r := range l.runs {
		var m Match
		var err error
		index := r.index
		switch {
		case r.literals != nil:
			index = r.literals.find(q, l.kind, l.parents)
			if index < 0 {
				continue
			}
		case r.failure != nil:
			if r.network.concerns(q.ip) {
				return Match{}, l.problem(r.failure.Table, r.failure)
			}
			continue
		default:
			m, err = l.askTable(ctx, r.table, q, obs)
		}
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return Match{}, l.problem(r.table.Name(), err)
		}
		it := &l.items[index]
		if it.negated {
			return Match{}, ErrNotFound
		}
		m.Item, m.At = it.folded, append(it.at[:1:1], m.At...)
		return m, nil
	}
	return Match{}, ErrNotFound
}

// problem names the parameter and the table of a failure.
func (l *List) problem(table string, err error) error {
	return fmt.Errorf("%s: %s: table lookup problem: %w", l.parameter, table, err)
}

// askTable asks a table for the name, its parents where the list has those,
// and the address.
func (l *List) askTable(ctx context.Context, t Table, q query, obs Observer) (Match, error) {
	try := func(key string) (Match, error) {
		if key == "" {
			return Match{}, ErrNotFound
		}
		r, err := ask(ctx, l.parameter, t, key, obs)
		return Match{At: r.At, Table: t.Name(), Key: key}, err
	}
	m, err := try(q.name)
	if !errors.Is(err, ErrNotFound) {
		return m, err
	}
	if l.kind != StringList && !t.Traits().Pattern {
		for parent := range parents(q.name, l.parents) {
			if m, err = try(parent); !errors.Is(err, ErrNotFound) {
				return m, err
			}
		}
	}
	return try(q.addr)
}

// literals is a stretch of names and networks. Each is kept with the index of
// the first item that says it; among those that match a query, the lowest
// index decides.
type literals struct {
	names    map[string]int
	networks map[netip.Prefix]int
	lengths  []netLength // that occur in networks
}

// netLength is a family of addresses and a prefix length.
type netLength struct {
	bits int
	is6  bool
}

func (l *literals) addName(name string, index int) {
	if _, ok := l.names[name]; !ok {
		l.names[name] = index
	}
}

func (l *literals) addNetwork(p netip.Prefix, index int) {
	if l.networks == nil {
		l.networks = make(map[netip.Prefix]int)
	}
	if _, ok := l.networks[p]; ok {
		return
	}
	l.networks[p] = index
	length := netLength{p.Bits(), p.Addr().Is6()}
	for _, known := range l.lengths {
		if known == length {
			return
		}
	}
	l.lengths = append(l.lengths, length)
}

// find returns the lowest index of the items that match, or -1.
func (l *literals) find(q query, kind ListKind, withParents bool) int {
	best := -1
	consider := func(index int, ok bool) {
		if ok && (best < 0 || index < best) {
			best = index
		}
	}
	if q.name != "" {
		index, ok := l.names[q.name]
		consider(index, ok)
	}
	if kind != StringList {
		for parent := range parents(q.name, withParents) {
			index, ok := l.names[parent]
			consider(index, ok)
		}
	}
	if q.ip.IsValid() {
		ip := q.ip.WithZone("")
		for _, length := range l.lengths {
			if length.is6 != ip.Is6() {
				continue
			}
			if p, err := ip.Prefix(length.bits); err == nil {
				index, ok := l.networks[p]
				consider(index, ok)
			}
		}
	}
	return best
}

// netFamilyMask says which addresses a broken network pattern concerns.
type netFamilyMask uint8

const (
	families4 netFamilyMask = 1 << iota
	families6
)

// concerns reports whether a search for ip comes to the item.
func (m netFamilyMask) concerns(ip netip.Addr) bool {
	return m == 0 || ip.Is4() && m&families4 != 0 || ip.Is6() && m&families6 != 0
}

// parseNetwork reads an address or network pattern, "192.0.2.1",
// "192.0.2.0/24", "[2001:db8::1]", "[2001:db8::]/32". ok is false when text is
// neither, but a name.
func parseNetwork(text string) (p netip.Prefix, ok bool, err error) {
	if !strings.ContainsAny(text, ":/") {
		ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
		if err != nil {
			return p, false, nil
		}
		return netip.PrefixFrom(ip, ip.BitLen()), true, nil
	}
	if strings.Trim(text, "0123456789abcdef.:[]/") != "" {
		return p, false, nil
	}
	literal, length, slash := strings.Cut(text, "/")
	if strings.HasPrefix(literal, "[") {
		literal = strings.TrimSuffix(literal[1:], "]")
	}
	ip, err := netip.ParseAddr(literal)
	if err != nil {
		return p, true, fmt.Errorf("bad address pattern: %q", text)
	}
	if !slash {
		return netip.PrefixFrom(ip, ip.BitLen()), true, nil
	}
	p, err = netip.ParsePrefix(ip.String() + "/" + length)
	if err != nil {
		return p, true, fmt.Errorf("bad net/mask pattern: %q", text)
	}
	if p.Masked() != p {
		return p, true, fmt.Errorf("non-null host address bits in %q, perhaps you should use %q instead",
			text, strings.Replace(text, literal, p.Masked().Addr().String(), 1))
	}
	return p, true, nil
}
