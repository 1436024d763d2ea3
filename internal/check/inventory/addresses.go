package inventory

import (
	"context"
	"iter"
	"strings"

	"postern/internal/address"
	"postern/internal/table"
)

// Address is an address of a hosted domain that rows name.
type Address struct {
	Text string   // folded, in its internal form
	From []Source // the rows, in the order in which they were read
}

// Source is a row that names an address.
type Source struct {
	Parameter string
	Table     *Table
	Target    bool // as its result, not as its key

	row int32
}

// Entry is the row.
func (s Source) Entry() table.Entry { return s.Table.Entries[s.row] }

// CatchAll is a row for all addresses of a domain.
type CatchAll struct {
	Domain string // folded
	Source
}

// addressTable says what the rows of the tables of a parameter name.
type addressTable struct {
	parameter string
	targets   bool // the result is a list of addresses
}

// addressTables are the parameters whose tables have addresses as keys.
var addressTables = []addressTable{
	{"virtual_mailbox_maps", false},
	{"virtual_alias_maps", true},
	{"relay_recipient_maps", false},
	{"canonical_maps", true},
	{"recipient_canonical_maps", true},
	{"sender_canonical_maps", true},
	{"recipient_bcc_maps", true},
	{"sender_bcc_maps", true},
	{"relocated_maps", false},
	{"transport_maps", false},
	{"smtpd_sender_login_maps", true},
	{"virtual_uid_maps", false},
	{"virtual_gid_maps", false},
}

// Addresses yields every address of a hosted domain that a row has as its key or
// among its results, each once. Keys without a domain are addresses of myorigin;
// those of alias_maps, and the system users that mail can reach by them, are
// addresses of the first local domain.
func (i *Inventory) Addresses(ctx context.Context) iter.Seq[Address] {
	list := i.addressList(ctx)
	return func(yield func(Address) bool) {
		for _, a := range list {
			if !yield(a) {
				return
			}
		}
	}
}

func (i *Inventory) addressList(ctx context.Context) []Address {
	return i.addresses.get(func() []Address {
		c := &collector{ctx: ctx, i: i, index: map[string]int32{}, hosted: map[string]bool{}, origin: i.Setup.Settings.String("myorigin")}
		for _, kind := range addressTables {
			for _, t := range i.Of(ctx, kind.parameter) {
				c.table(kind, t)
			}
		}
		c.local()
		return c.list
	})
}

// CatchAlls are the "@domain" rows of a parameter for hosted domains, in the order
// of its tables. Rows of several domain lists are those of the address.
func (i *Inventory) CatchAlls(ctx context.Context, parameter string) []CatchAll {
	var list []CatchAll
	for _, t := range i.Of(ctx, parameter) {
		for n, e := range t.Entries {
			if domain, ok := strings.CutPrefix(address.Fold(e.Key), "@"); ok && i.Hosted(ctx, domain) {
				list = append(list, CatchAll{domain, Source{Parameter: parameter, Table: t, row: int32(n)}})
			}
		}
	}
	return list
}

// collector gathers addresses.
type collector struct {
	ctx    context.Context
	i      *Inventory
	origin string
	list   []Address
	index  map[string]int32
	hosted map[string]bool // by domain
}

// table adds the addresses of the rows of a table.
func (c *collector) table(kind addressTable, t *Table) {
	for n, e := range t.Entries {
		s := Source{Parameter: kind.parameter, Table: t, row: int32(n)}
		c.add(e.Key, s)
		if !kind.targets {
			continue
		}
		s.Target = true
		if target, plain := plainAddress(e.Value); plain {
			c.add(target, s)
			continue
		}
		targets, _ := address.ParseList(e.Value) // what is wrong with it is for other checks
		for _, a := range targets {
			c.add(a.Internal(), s)
		}
	}
}

// plainAddress reports whether a text is one address that need not be parsed.
func plainAddress(text string) (string, bool) {
	return text, !strings.ContainsAny(text, " \t\r\n,;:<>()[]\"\\!%")
}

// add adds one address, unless its domain is not hosted here.
func (c *collector) add(text string, s Source) {
	text = address.Fold(strings.TrimSpace(text))
	at := strings.LastIndexByte(text, '@')
	switch {
	case text == "" || at == 0 || at == len(text)-1, strings.ContainsAny(text, "\t/|"):
		return
	case strings.Contains(text, " ") && text[0] != '"' && s.Parameter != "alias_maps":
		return // no lookup has such a key
	case at < 0 && (s.Parameter == "transport_maps" || strings.Contains(text, ".")):
		return // a domain
	case at < 0:
		text, at = text+"@"+c.origin, len(text)
	}
	if strings.HasPrefix(text, `"`) {
		if a, err := address.Parse(text); err == nil {
			text, at = a.Internal(), len(a.Local)
		}
	}
	if n, known := c.index[text]; known {
		c.list[n].From = append(c.list[n].From, s)
		return
	}
	if !c.isHosted(text[at+1:]) {
		return
	}
	c.index[text] = int32(len(c.list))
	c.list = append(c.list, Address{Text: text, From: []Source{s}})
}

func (c *collector) isHosted(domain string) bool {
	hosted, known := c.hosted[domain]
	if !known {
		hosted = c.i.Hosted(c.ctx, domain)
		c.hosted[domain] = hosted
	}
	return hosted
}

// local adds the names of aliases(5), which every local domain has.
func (c *collector) local() {
	domain := c.i.localDomain(c.ctx)
	if domain == "" {
		return
	}
	for _, t := range c.i.Of(c.ctx, "alias_maps") {
		for n, e := range t.Entries {
			if !strings.Contains(e.Key, "@") {
				c.add(e.Key+"@"+domain, Source{Parameter: "alias_maps", Table: t, row: int32(n)})
			}
		}
	}
}

// localDomain is myorigin when it is a local domain, else the first of these, or
// "" without one.
func (i *Inventory) localDomain(ctx context.Context) string {
	domain := ""
	for _, d := range i.Domains(ctx) {
		if d.Class != 0 {
			break
		}
		if d.Name == address.Fold(i.Setup.Settings.String("myorigin")) {
			return d.Name
		}
		if domain == "" {
			domain = d.Name
		}
	}
	return domain
}

// Users is the table of the system users, unix:passwd.byname, whose entries are
// lines of /etc/passwd.
func (i *Inventory) Users(ctx context.Context) *Table {
	return i.users.get(func() *Table {
		t := &Table{Spec: "unix:passwd.byname", word: "unix:passwd.byname", use: Use{Parameter: "local_recipient_maps"}}
		i.read(ctx, []*Table{t})
		return t
	})
}

// Naming are the rows of all tables that have a key, without regard to case: who
// asks a table for this key literally (postmap -q) finds them.
func (i *Inventory) Naming(ctx context.Context, key string) []Source {
	key = address.Fold(key)
	var found []Source
	for _, t := range i.Tables(ctx) {
		first, ok := t.first[key]
		if !ok {
			continue
		}
		for _, n := range append([]int32{first}, t.more[key]...) {
			found = append(found, Source{Parameter: t.parameter(), Table: t, row: n})
		}
	}
	return found
}

func (t *Table) parameter() string {
	if len(t.Uses) > 0 {
		return t.Uses[0].Parameter
	}
	return t.use.Parameter
}
