// Package table is the lookup table: one small interface behind which a text
// file, a pattern list and a database differ only in the word before the colon
// of "type:name".
//
//	virtual_alias_maps = hash:/etc/postfix/virtual, sqlite:/etc/postfix/aliases.cf
//	virtual_mailbox_domains = example.org, /etc/postfix/domains, hash:/etc/postfix/more
//	mynetworks = 127.0.0.0/8, [::1]/128, !192.0.2.1, 192.0.2.0/24
//
// The package holds what is common to all types. An Opener opens tables by
// name, owns them and shares them between parameters. Maps is the value of a
// parameter like the first one: a list of tables. List is one like the others:
// a match list of names, networks and tables, of which only "found" counts.
//
// An address is looked up by several keys, the most specific first. AddressKeys
// and its sisters yield them, and Maps.Find asks every table for one key before
// it goes on to the next. So a specific row in a late table beats a general one
// in an early table, and for one key the first table wins. Keys are lazy: what
// the caller puts around the sequence (a filter, a question in between) happens
// when the search comes to it.
//
// "Not found" and "could not answer" are never confused. The first is
// ErrNotFound; the second is an *Error, ends every search, and makes mail wait.
// A table that could not be opened stays in its place and fails; the server
// goes on, and tries once a second whether it can be opened by now.
//
// Some tables can do more: list their rows (Enumerable), and those that lookups do
// not find (Concealing), show their rules (Ruled), answer many keys (Many). As finds
// such a power behind the tables that stand in front of others.
//
// File reads the files that tables are made of, and reads them again when they
// change. The types live in folders of their own and are handed to the Opener
// by its maker; there is no global registry. Nothing here writes a table, and
// nothing caches answers.
//
// It imports address, nearest, origin and syntax.
package table

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/origin"
)

// ErrNotFound is the answer of a table that works and has no such key.
var ErrNotFound = errors.New("not found")

// Error is the answer of a table that could not answer. It is never to be
// taken for "not found": mail waits until the table works again.
type Error struct {
	Table  string // type:name as configured
	Key    string // "" when the table could not even be opened
	Config bool   // a configuration error (451 4.3.5) rather than a passing one (451 4.3.0)
	At     origin.At
	Err    error
	// Told says that the table has logged what is wrong, and will do so once a
	// minute: the log need not have it for every message.
	Told bool
}

func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s is unavailable. %v", e.Table, e.Err)
	}
	return fmt.Sprintf("%s lookup error for %q: %v", e.Table, e.Key, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Result is what a table holds under a key.
type Result struct {
	Value string
	At    []origin.At // the line, or the rows, that gave the value
}

// Table answers keys. Implementations are safe for concurrent use.
type Table interface {
	// Name is the table as configured, "type:name", without "proxy:".
	Name() string
	// Traits say how the table wants to be asked.
	Traits() Traits
	// Lookup returns the value stored under key, as given: folding is the
	// business of the table, and happens when Use.Fold was said at opening.
	// ErrNotFound: no such key. Any other error is an *Error: the answer is
	// unknown. The value may be empty; what that means is the caller's business.
	Lookup(ctx context.Context, key string) (Result, error)
	// Close releases files and connections. Lookups after it fail.
	Close() error
}

// Traits describe a table type.
type Traits struct {
	// InPlace tables hold their rows in the parameter that names them (inline,
	// static): they are opened anew for each use, whose place the rows have.
	InPlace bool
	// Pattern tables match the whole key themselves: they are offered the full
	// address only, never its parts (no "@domain", no parent domains).
	Pattern bool
}

// Use says for what a table is opened. The zero Use is that of
// postmap -fq; postmap -q says Fold.
type Use struct {
	Parameter string    // main.cf parameter that names the table, for messages
	At        origin.At // where it is written
	// Fold asks fixed-key tables to fold the key before the search. All
	// address tables and domain lists say so; pattern tables ignore it.
	Fold bool
	// NoSubstitution refuses results with $1 of pattern tables (uid, gid,
	// mailbox paths, transports): a sender must not be able to choose them.
	NoSubstitution bool
	// NoRemote refuses types that anybody on the network could answer (tcp,
	// socketmap), for security-sensitive uses.
	NoRemote bool
	// SingleValue says that several rows for one key are an error of the table
	// when Opener.SingleValueStrict is set (a mailbox path).
	SingleValue bool
	// AliasSyntax reads text sources as aliases(5), "name: value" (alias_maps,
	// alias_database). Types without such a source ignore it.
	AliasSyntax bool
}
