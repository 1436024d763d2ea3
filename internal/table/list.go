package table

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/syntax"
)

// ListKind is how the items of a match list are compared.
type ListKind uint8

// Kinds of match lists.
const (
	// StringList compares whole names: mydestination, virtual_alias_domains,
	// virtual_mailbox_domains.
	StringList ListKind = iota
	// DomainList compares names and their parent domains: relay_domains.
	DomainList
	// AddressList compares host names as DomainList, and addresses with
	// addresses and networks: mynetworks.
	AddressList
)

// maxInclusion bounds the nesting of files that name files.
const maxInclusion = 16

// List is a match list: the value of mydestination, relay_domains, mynetworks
// and the like. A nil List matches nothing. See Opener.List for the syntax.
type List struct {
	parameter string
	kind      ListKind
	parents   bool // a domain stands for its subdomains; else only one with a leading dot does
	items     []item
	runs      []run
}

// item is one word of the list.
type item struct {
	text    string
	folded  string      // text
	at      []origin.At // one
	negated bool
}

// run is a stretch of the list that is searched in one go: neighbouring
// literals, one table, or one item that cannot be used.
type run struct {
	literals *literals
	table    Table
	index    int           // of the item of a table or of a failure
	failure  *Error        // why the item cannot be used
	network  netFamilyMask // a failure concerns only addresses of these families; 0: everything
}

// Match is the item that decided.
type Match struct {
	At    []origin.At // where the item is written, then the row of the table that matched
	Item  string      // as written, folded
	Table string      // type:name, when the item is a table
	Key   string      // that the table knows
}

// List parses a match list (postconf(5): mydestination, mynetworks,
// parent_domain_matches_subdomains). Items are separated by commas and white
// space, braces protect:
//
//	example.org         a literal, compared without regard to case
//	!item               no match, if the item matches
//	/file/name          the lines of the file, but those that begin with '#'
//	type:name           a table: its keys match, its values do not matter
//	192.0.2.0/24        a network; IPv6 in brackets, [2001:db8::]/32
//	# ...               the rest is ignored, with a warning
//
// The first item that matches decides. parents is whether the parameter is in
// parent_domain_matches_subdomains; a StringList has no use for it.
//
// An item that cannot be used (an unreadable file, a table that cannot be
// opened, a network with host bits set) fails when the search comes to it; err
// joins the reasons. The returned list is never nil.
func (o *Opener) List(ctx context.Context, value string, kind ListKind, parents bool, use Use) (*List, error) {
	use.Fold = true
	p := &listParser{ctx: ctx, o: o, use: use, list: &List{parameter: use.Parameter, kind: kind, parents: parents}}
	p.items(value, use.At, false, 0)
	return p.list, errors.Join(p.errs...)
}

type listParser struct {
	ctx  context.Context
	o    *Opener
	use  Use
	list *List
	errs []error
}

// items adds the items of text, which stands at a place.
func (p *listParser) items(text string, at origin.At, negated bool, depth int) {
	for _, word := range syntax.Split(text, syntax.Separators) {
		if word[0] == '#' {
			p.o.Warn("%s: comment at end of line is not supported: %s", p.use.Parameter, text[strings.Index(text, word):])
			return
		}
		name := bare(word)
		p.item(name, item{text: word, folded: address.Fold(word), at: []origin.At{at}, negated: negated != ((len(word)-len(name))%2 == 1)}, depth)
	}
}

// bare is a word without its exclamation marks.
func bare(word string) string { return strings.TrimLeft(word, "!") }

// item adds one item. word is its bare text.
func (p *listParser) item(word string, it item, depth int) {
	switch {
	case word == "":
		p.fail(it, 0, fmt.Errorf("%s: no pattern after '!'", p.use.Parameter))
	case word[0] == '/':
		p.file(word, it, depth)
	case word[0] != '[' && strings.Contains(word, ":"):
		t, err := p.o.Open(p.ctx, word, p.use)
		p.list.runs = append(p.list.runs, run{table: t, index: p.add(it)})
		if err != nil {
			p.errs = append(p.errs, bracketHint(word, err))
		}
	default:
		p.literal(address.Fold(word), it)
	}
}

// bracketHint says how to write an IPv6 address that was taken for a table.
func bracketHint(word string, err error) error {
	literal, length, slash := strings.Cut(word, "/")
	if addr, bad := netip.ParseAddr(literal); bad != nil || !addr.Is6() {
		return err
	}
	fix := "[" + literal + "]"
	if slash {
		fix += "/" + length
	}
	return fmt.Errorf("%w: write an IPv6 address in brackets: %q", err, fix)
}

// file adds the items of a file.
func (p *listParser) file(path string, it item, depth int) {
	if depth == maxInclusion {
		p.fail(it, 0, fmt.Errorf("open %s: files are nested more than %d deep", path, maxInclusion))
		return
	}
	path = p.o.Replace.File(path)
	data, err := p.o.ReadFile(path)
	if err != nil {
		p.fail(it, 0, OpenError(path, err))
		return
	}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if line[0] != '#' {
			line = strings.TrimRight(line, syntax.Blank)
			p.items(line, origin.At{File: path, Line: number, Text: line}, it.negated, depth+1)
		}
	}
}

// literal adds a name, an address or a network.
func (p *listParser) literal(text string, it item) {
	prefix, isNet, err := netip.Prefix{}, false, error(nil)
	if p.list.kind == AddressList {
		prefix, isNet, err = parseNetwork(text)
	}
	if err != nil {
		family := families4
		if strings.Contains(text, ":") {
			family = families6
		}
		p.fail(it, family, err)
		return
	}
	index := p.add(it)
	lits := p.run()
	if isNet {
		lits.addNetwork(prefix, index)
		return
	}
	lits.addName(text, index)
}

// run returns the run of literals at the end of the list.
func (p *listParser) run() *literals {
	if n := len(p.list.runs); n > 0 && p.list.runs[n-1].literals != nil {
		return p.list.runs[n-1].literals
	}
	lits := &literals{names: make(map[string]int)}
	p.list.runs = append(p.list.runs, run{literals: lits})
	return lits
}

// add appends an item and returns its index.
func (p *listParser) add(it item) int {
	p.list.items = append(p.list.items, it)
	return len(p.list.items) - 1
}

// fail adds an item that cannot be used.
func (p *listParser) fail(it item, network netFamilyMask, reason error) {
	name := bare(it.text)
	if name == "" {
		name = it.text
	}
	e := &Error{Table: name, At: it.at[0], Err: reason}
	p.list.runs = append(p.list.runs, run{failure: e, index: p.add(it), network: network})
	p.errs = append(p.errs, e)
}
