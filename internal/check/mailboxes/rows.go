package mailboxes

import (
	"context"
	"strings"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/origin"
	"postern/internal/table"
)

// row is one row of virtual_mailbox_maps that answers.
type row struct {
	addr  address.Address // of "@example.org", a user that stands for all others
	key   string          // folded
	value string
	from  *table.Entry // the row in its table
	spec  string       // the table
	all   bool         // "@example.org"
}

// anyone stands for the users of a domain that have no row of their own.
const anyone = "postern-check-nobody"

// rows calls yield for all rows of virtual_mailbox_maps that name a user or all users
// of a domain, and that no earlier row of the same key hides. Behind a table
// that fails nothing is known.
func rows(ctx context.Context, i *inventory.Inventory, yield func(row)) {
	tables := i.Of(ctx, "virtual_mailbox_maps")
	for k, t := range tables {
		if t.Err != nil {
			return
		}
		for n := range t.Entries {
			e := &t.Entries[n]
			if ctx.Err() != nil {
				return
			}
			r, ok := rowOf(e)
			if !ok || hidden(tables[:k], r.key) || !t.First(n) {
				continue
			}
			r.spec = t.Spec
			yield(r)
		}
	}
}

func rowOf(e *table.Entry) (row, bool) {
	key := address.Fold(e.Key)
	local, domain, ok := cutLast(key)
	if !ok || domain == "" || strings.ContainsAny(key, " \t\r") {
		return row{}, false
	}
	r := row{key: key, value: e.Value, from: e, addr: address.Address{Local: local, Domain: domain}}
	if local == "" {
		r.all, r.addr.Local = true, anyone
	}
	return r, true
}

func cutLast(key string) (local, domain string, ok bool) {
	n := strings.LastIndexByte(key, '@')
	if n < 0 {
		return "", "", false
	}
	return key[:n], key[n+1:], true
}

// hidden says that an earlier table answers the key.
func hidden(earlier []*inventory.Table, key string) bool {
	for _, t := range earlier {
		if t.Has(key) {
			return true
		}
	}
	return false
}

func samePlace(a, b origin.At) bool {
	return a.File == b.File && a.Line == b.Line && a.Table == b.Table && a.Key == b.Key
}
