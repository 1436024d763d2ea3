// Package tables checks the lookup tables that a configuration names: it is one room
// of package check.
//
//	VD301 VD302 VD303   indexes: of hash:, btree:, lmdb:, cdb:, beside their text and the files that it names (postmap -F)
//	VD304 VD306 VD307   failing: a type that nobody has, a server that is away, any other failure
//	VD305               described: .cf files, and parameters that must have a value
//	VD308               shape: queries and rows that answer in another shape than is needed
//	VD309               never: rows and words that no lookup can match (keys), rules that are left out
//	VD511 VD515         risks: proxymap(8) would refuse; others can read or write
//
// Every table is asked once for a key that nobody has, so that a failure shows
// whether or not its rows can be listed. Rows that look as if nothing could match
// them are looked up before they are blamed: a database that compares without regard
// to case finds them.
//
// Address reports what the explained address met: the tables that failed, and rows,
// rules and words of lists whose key it was asked for or was meant to be.
//
// # Limits
//
// A row of ldap:, memcache:, tcp: and socketmap: cannot be seen. The form of a key is
// judged only where all who ask for it want an address, or a domain. Who may read a file
// is judged by its own mode, not by that of the directories above it.
//
// It imports address, check/inventory, config, explain, finding, origin, route,
// setup, syntax, table and its types, and golang.org/x/net/idna.
package tables

import (
	"context"
	"slices"
	"strings"
	"sync"

	"postern/internal/check/inventory"
	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
)

// atOnce is how many tables are examined at the same time.
const atOnce = 8

// Examine reports what is wrong with the tables of a configuration.
func Examine(ctx context.Context, i *inventory.Inventory, report finding.Report) {
	x := newExamination(i)
	x.required(ctx)
	x.untyped()
	x.lists(ctx)
	tables := i.Tables(ctx)
	x.berkeley(tables)
	places := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for _, t := range tables {
		wait.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			x.table(ctx, t)
		})
	}
	wait.Wait()
	x.tell(report)
}

// table examines one table. One that is made of others has nothing of its own.
func (x *examination) table(ctx context.Context, t *inventory.Table) {
	x.proxied(t)
	x.described(t)
	if x.indexes(ctx, t) && x.asked(ctx, t) && !t.Composed {
		x.shape(ctx, t)
		x.never(ctx, t, nil)
	}
}

// examination is the work on one configuration.
type examination struct {
	*inventory.Inventory
	settings *config.Settings

	mu    sync.Mutex // guards what follows
	found []finding.Finding
}

func newExamination(i *inventory.Inventory) *examination {
	return &examination{Inventory: i, settings: i.Setup.Settings}
}

// add keeps a finding. Of several with the same code at the same place, where each
// place may have one only, the worst takes up the words of the others.
func (x *examination) add(f finding.Finding) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for n := range x.found {
		old := &x.found[n]
		if old.Code != f.Code || len(old.At) == 0 || len(f.At) == 0 || !same(old.At[0], f.At[0]) {
			continue
		}
		if f.Severity == finding.Error {
			old.Severity = f.Severity
		}
		old.Message += "; " + f.Message
		old.Fix += "; " + f.Fix
		old.At = append(old.At, f.At[1:]...)
		for _, near := range f.Near {
			if !slices.Contains(old.Near, near) {
				old.Near = append(old.Near, near)
			}
		}
		return
	}
	x.found = append(x.found, f)
}

func same(a, b origin.At) bool { return a.String() == b.String() && a.Parameter == b.Parameter }

// tell reports what was found, in the order of the files.
func (x *examination) tell(report finding.Report) {
	for _, f := range x.found {
		report(f)
	}
}

// places are where a table is named, at most a few, those that somebody wrote first.
func places(t *inventory.Table) []origin.At {
	var at []origin.At
	for _, u := range t.Uses {
		if !slices.ContainsFunc(at, func(a origin.At) bool { return a.String() == u.At.String() && a.Parameter == u.At.Parameter }) {
			at = append(at, u.At)
		}
	}
	if len(at) == 0 {
		at = append(at, t.Place())
	}
	return at[:min(len(at), 5)]
}

// written reports whether somebody wrote the name of a table, and not only a default
// has it.
func written(t *inventory.Table) bool {
	return slices.ContainsFunc(t.Uses, inventory.Use.Written)
}

// parameters are those that name a table, for messages.
func parameters(t *inventory.Table) string {
	var names []string
	for _, u := range t.Uses {
		if !slices.Contains(names, u.Parameter) {
			names = append(names, u.Parameter)
		}
	}
	return strings.Join(names, ", ")
}

// parts are type and name of a table.
func parts(t *inventory.Table) (typ, name string) {
	typ, name, _ = strings.Cut(t.Spec, ":")
	return typ, name
}
