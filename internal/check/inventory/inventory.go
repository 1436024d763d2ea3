// Package inventory is what a configuration lists: the tables and their rows, the
// domains with the list that has them, and every address that a table names. Checks
// that look at the whole of a configuration, and near misses, come from here.
//
//	Tables     every table that main.cf or a -o of master.cf names, with its uses
//	Of         the tables of one parameter
//	Domains    the domains of the four lists, each with its class
//	Addresses  every address of a hosted domain that a row names
//	CatchAlls  the rows of whole domains
//	Near       what may have been meant by an address that is not there
//	Snapshot   the same configuration, with databases that answer from memory
//	Verdicts   a snapshot that does not say where answers are written
//
// Everything is read at the first question and kept. A table that cannot be listed
// (a server without a query of a plain shape, a pattern) has no rows here, and says
// so by Complete; that is never a fault.
//
// It imports address, config, nearest, origin, route, setup, syntax, table, table/cf,
// and the table types sql and text.
package inventory

import (
	"context"
	"net/netip"
	"strings"
	"sync"

	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/setup"
	"postern/internal/syntax"
	"postern/internal/table"
)

// Inventory is what one configuration lists. It is safe for concurrent use.
type Inventory struct {
	Setup *setup.Setup

	mu     sync.Mutex
	tables map[string]*Table      // by spec, without "proxy:"
	params map[string][]*Table    // by parameter
	class  map[string]route.Class // of domains that were asked for

	all       once[[]*Table]
	domains   once[[]Domain]
	addresses once[[]Address]
	near      once[*neighbours]
	users     once[*Table]
}

// once is a value that is made at the first question.
type once[T any] struct {
	sync.Once
	value T
}

func (o *once[T]) get(produce func() T) T {
	o.Do(func() { o.value = produce() })
	return o.value
}

// New is an inventory of which nothing has been read yet.
func New(s *setup.Setup) *Inventory {
	return &Inventory{Setup: s, tables: map[string]*Table{}, params: map[string][]*Table{}, class: map[string]route.Class{}}
}

// Of are the tables that a parameter names (virtual_alias_maps), in its order.
// Words of a list that are no tables are left out: example.org, /a/file,
// 192.0.2.0/24. The members of a unionmap: are not among them, as it stands for
// them.
func (i *Inventory) Of(ctx context.Context, parameter string) []*Table {
	i.mu.Lock()
	list, ok := i.params[parameter]
	if !ok {
		v := i.Setup.Settings.Value(parameter)
		for _, word := range syntax.Split(v.Text, syntax.Separators) {
			if word = strings.TrimLeft(word, "!"); isTable(word) {
				list = append(list, i.table(word, Use{Parameter: parameter, At: v.At}))
			}
		}
		i.params[parameter] = list
	}
	i.mu.Unlock()
	i.read(ctx, list)
	return list
}

// IsIPv6 reports a word that is an address or a network of IPv6 without brackets. In a
// list it names a table, which was hardly meant.
func IsIPv6(word string) bool {
	literal, _, _ := strings.Cut(word, "/")
	addr, err := netip.ParseAddr(literal)
	return err == nil && addr.Is6()
}

// isTable tells "type:name" from the other words of a list.
func isTable(word string) bool {
	if IsIPv6(word) {
		return false
	}
	for j := range len(word) {
		switch word[j] {
		case ':':
			return j > 0
		case '/', '[', '!', '@', '{', '$':
			return false
		}
	}
	return false
}

// table is the table of a word, of which nothing need have been read. i.mu is held.
func (i *Inventory) table(word string, use Use) *Table {
	spec := table.Direct(word)
	key := spec
	if inPlace(spec) { // its rows have the place of the parameter
		key += "\x00" + use.Parameter + "\x00" + use.At.String()
	}
	t := i.tables[key]
	if t == nil {
		t = &Table{Spec: spec, At: use.At, word: word, use: use}
		i.tables[key] = t
	}
	return t
}

// inPlace reports a table that is written in the parameter itself.
func inPlace(spec string) bool {
	return strings.Contains(spec, "{") || strings.HasPrefix(spec, "static:") || strings.HasPrefix(spec, "inline:")
}

// atOnce is how many tables are read at the same time.
const atOnce = 8

// read reads the rows of tables that were not read yet.
func (i *Inventory) read(ctx context.Context, list []*Table) {
	places := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for _, t := range list {
		wait.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			t.once.Do(func() { t.read(ctx, i.Setup.Opener) })
		})
	}
	wait.Wait()
}

// Use is one place where a parameter names a table.
type Use struct {
	Parameter string
	Service   string // of master.cf, when a -o of it does: "submission"
	At        origin.At
	// Proxied says that it is written with "proxy:".
	Proxied bool
}

// Written reports whether a person wrote this use: it is not that of a default.
func (u Use) Written() bool { return u.At.Line > 0 }
