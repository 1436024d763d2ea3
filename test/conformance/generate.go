package conformance

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
)

// Words that generated configurations are made of. They are few, so that rows meet:
// an alias names a mailbox, a domain is in two lists, a target has no row.
var (
	genDomains = []string{"one.example", "two.example", "three.example", "sub.one.example", "local.example", "alias.example", "relay.example"}
	genUsers   = []string{"ann", "bob", "cat", "dan", "list", "info", "pfjohn", "pfjack"}
	genTypes   = []string{"texthash", "hash", "btree", "cdb", "lmdb", "inline", "regexp", "pcre", "sqlite", "unionmap"}
)

// generator writes a random configuration in the form of a case.
type generator struct {
	*rand.Rand
	main, compile []string
	files         []file
	sql           strings.Builder
	tables        int
	known         []string // addresses and "@domain" that some table has
}

// row is a row of a generated table.
type row struct{ key, value string }

// generate makes the case of a seed: the same one for the same seed.
func generate(seed uint64) archive {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	g.set("compatibility", "postern")
	g.domains()
	g.mailboxes()
	g.aliases()
	g.mappings()
	g.transports()
	g.local()
	g.switches()
	a := archive{comment: fmt.Sprintf("Generated from the seed %d.\n", seed)}
	add := func(name, data string) { a.files = append(a.files, file{name, data}) }
	add("needs", "localusers sqlite3\n")
	add("main.cf", strings.Join(g.main, "\n")+"\n")
	a.files = append(a.files, g.files...)
	add("compile", strings.Join(g.compile, "\n")+"\n")
	add("sqlite.sql", g.sql.String())
	add("probe", g.probes())
	return a
}

func (g *generator) set(name, value string) { g.main = append(g.main, name+" = "+value) }

// chance is true in n of 100 cases.
func (g *generator) chance(n int) bool { return g.IntN(100) < n }

func (g *generator) one(list []string) string { return list[g.IntN(len(list))] }

// some are up to n words of a list, without repetition.
func (g *generator) some(list []string, n int) []string {
	var out []string
	for _, i := range g.Perm(len(list))[:min(g.IntN(n+1), len(list))] {
		out = append(out, list[i])
	}
	return out
}

func (g *generator) address() string { return g.one(genUsers) + "@" + g.one(genDomains) }

// domains fills the four lists. Domains may be in several, or in none.
func (g *generator) domains() {
	g.list("mydestination", append(g.some(genDomains, 1), "local.example"))
	if g.chance(70) {
		g.list("virtual_alias_domains", append(g.some(genDomains, 1), "alias.example"))
	}
	g.list("virtual_mailbox_domains", append(g.some(genDomains, 2), "one.example", "two.example"))
	g.list("relay_domains", append(g.some(genDomains, 1), "relay.example"))
}

// list writes a domain list: the names, or a table of them.
func (g *generator) list(parameter string, names []string) {
	if g.chance(60) {
		g.set(parameter, strings.Join(names, ", "))
		return
	}
	var rows []row
	for _, n := range names {
		rows = append(rows, row{n, "yes"})
	}
	g.set(parameter, g.table(rows))
}

func (g *generator) mailboxes() {
	var rows []row
	for _, d := range []string{"one.example", "two.example", "three.example"} {
		for _, u := range g.some(genUsers, 5) {
			path := u + "-" + d
			if g.chance(70) {
				path += "/"
			}
			rows = append(rows, row{u + "@" + d, path})
		}
		if g.chance(15) {
			rows = append(rows, row{"@" + d, "all-" + d + "/"})
		}
	}
	g.maps("virtual_mailbox_maps", rows, 95)
	if g.chance(20) {
		g.set("virtual_transport", "lmtp:unix:{lmtp}")
	}
}

func (g *generator) aliases() {
	var rows []row
	for range 4 + g.IntN(8) {
		rows = append(rows, row{g.key(), g.targets()})
	}
	g.maps("virtual_alias_maps", rows, 97)
}

// key is what a row of an address table stands for.
func (g *generator) key() string {
	switch g.IntN(10) {
	case 0, 1:
		return "@" + g.one(genDomains)
	case 2:
		return g.one(genUsers)
	case 3:
		return g.one(genUsers) + "+tag@" + g.one(genDomains)
	}
	return g.address()
}

// targets are the right side of an alias.
func (g *generator) targets() string {
	var out []string
	for range 1 + g.IntN(3) {
		switch g.IntN(12) {
		case 0:
			out = append(out, g.one(genUsers)) // without a domain
		case 1, 2:
			out = append(out, g.one([]string{"fred", "permfail", "list"})+"@remote.example")
		case 3:
			return "@" + g.one(genDomains)
		default:
			out = append(out, g.address())
		}
	}
	return strings.Join(out, ", ")
}

func (g *generator) mappings() {
	few := func(value func() string) []row {
		var rows []row
		for range 1 + g.IntN(2) {
			rows = append(rows, row{g.key(), value()})
		}
		return rows
	}
	g.maps("canonical_maps", few(g.address), 20)
	g.maps("recipient_canonical_maps", few(g.address), 15)
	g.maps("recipient_bcc_maps", few(g.address), 20)
	g.maps("relocated_maps", few(func() string { return "new@remote.example" }), 20)
	if g.chance(10) {
		g.set("always_bcc", g.address())
	}
	if g.chance(40) {
		var rows []row
		for _, u := range g.some(genUsers, 5) {
			rows = append(rows, row{u + "@relay.example", "x"})
		}
		g.maps("relay_recipient_maps", rows, 100)
	}
}

func (g *generator) transports() {
	var rows []row
	ways := []string{"error:5.2.1 closed", "retry:4.3.2 later", "discard:", "lmtp:unix:{lmtp}", "smtp:{sink2}", "virtual:", "error:no more", ":"}
	for range 1 + g.IntN(3) {
		key := g.one([]string{g.address(), g.one(genDomains), "." + g.one(genDomains), "remote.example"})
		rows = append(rows, row{key, g.one(ways)})
	}
	g.maps("transport_maps", rows, 30)
}

// local writes aliases(5) and what is about local users.
func (g *generator) local() {
	var b strings.Builder
	names := []string{"info", "list", "ann", "team", "lost"}
	for _, n := range names[:1+g.IntN(len(names))] {
		members := []string{"pfjohn", "pfjack", "fred@remote.example", "ann@one.example", "info", "list", "nosuch", "/dev/null"}
		fmt.Fprintf(&b, "%s: %s\n", n, strings.Join(append(g.some(members, 2), g.one(members)), ", "))
	}
	g.files = append(g.files, file{"aliases", b.String()})
	kind := g.one([]string{"hash", "lmdb", "cdb"})
	g.set("alias_maps", kind+":{dir}/aliases")
	g.compile = append(g.compile, "postalias "+kind+":aliases")
	if g.chance(30) {
		g.set("local_recipient_maps", "")
	}
	if g.chance(15) {
		g.set("luser_relay", "fred@remote.example")
	}
}

// switches are parameters that change how addresses are looked up.
func (g *generator) switches() {
	g.set("recipient_delimiter", g.one([]string{"", "+", "+", "-", "+-"}))
	g.set("myorigin", g.one([]string{"$myhostname", "local.example", "one.example"}))
	pick := func(n int, name string, values ...string) {
		if g.chance(n) {
			g.set(name, g.one(values))
		}
	}
	pick(15, "propagate_unmatched_extensions", "", "virtual", "canonical, alias")
	pick(10, "virtual_alias_recursion_limit", "2", "5")
	pick(10, "virtual_alias_expansion_limit", "3", "5")
	pick(20, "smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination")
	pick(10, "parent_domain_matches_subdomains", "", "relay_domains, transport_maps")
	pick(10, "show_user_unknown_table_name", "no")
	pick(5, "enable_original_recipient", "no")
	pick(5, "unknown_virtual_mailbox_reject_code", "450")
	pick(5, "soft_bounce", "yes")
	pick(5, "append_dot_mydomain", "yes")
}

// maps writes a parameter of one or two tables in n of 100 cases. Now and then one
// of them fails.
func (g *generator) maps(parameter string, rows []row, n int) {
	if !g.chance(n) {
		return
	}
	for _, r := range rows {
		if strings.Contains(r.key, "@") {
			g.known = append(g.known, r.key)
		}
	}
	cut := len(rows)
	if g.chance(30) {
		cut = g.IntN(len(rows) + 1)
	}
	tables := []string{g.table(rows[:cut])}
	if cut < len(rows) {
		tables = append(tables, g.table(rows[cut:]))
	}
	if g.chance(4) {
		tables = append(tables, "fail:broken")
	}
	g.set(parameter, strings.Join(tables, ", "))
}

// table writes a table of some type and returns its name.
func (g *generator) table(rows []row) string {
	rows = distinct(rows)
	g.tables++
	name := fmt.Sprintf("table%d", g.tables)
	kind := g.one(genTypes)
	if kind == "unionmap" {
		return fmt.Sprintf("unionmap:{%s}", g.table(rows))
	}
	var b strings.Builder
	switch kind {
	case "inline":
		for _, r := range rows {
			fmt.Fprintf(&b, " {%s=%s}", r.key, r.value)
		}
		if len(rows) == 0 {
			return "inline:{x=x}"
		}
		return "inline:{" + b.String() + " }"
	case "regexp", "pcre":
		for _, r := range rows {
			pattern := regexp.QuoteMeta(r.key) + "$"
			if !strings.HasPrefix(r.key, "@") {
				pattern = "^" + pattern
			}
			fmt.Fprintf(&b, "/%s/ %s\n", pattern, r.value)
		}
	case "sqlite":
		fmt.Fprintf(&g.sql, "CREATE TABLE %s (k TEXT, v TEXT);\n", name)
		for _, r := range rows {
			fmt.Fprintf(&g.sql, "INSERT INTO %s VALUES ('%s', '%s');\n", name, r.key, r.value)
		}
		g.files = append(g.files, file{name + ".cf", "dbpath = {dir}/mail.db\nquery = SELECT v FROM " + name + " WHERE k = '%s'\n"})
		return "sqlite:{dir}/" + name + ".cf"
	default:
		for _, r := range rows {
			fmt.Fprintf(&b, "%s %s\n", r.key, r.value)
		}
		// Postfix answers from the index, Postern from the text where there is none.
		if kind != "texthash" && !g.chance(3) {
			g.compile = append(g.compile, kind+":"+name)
		}
	}
	g.files = append(g.files, file{name, b.String()})
	return kind + ":{dir}/" + name
}

// distinct leaves out rows whose key came before.
func distinct(rows []row) []row {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
		was := seen[r.key]
		seen[r.key] = true
		return was
	})
}

// probes ask for what the tables have, and for what they do not.
func (g *generator) probes() string {
	var b strings.Builder
	for i := range 14 {
		to := g.address()
		if i%2 == 0 && len(g.known) > 0 {
			to = g.one(g.known)
		}
		local, domain, _ := strings.Cut(to, "@")
		switch {
		case local == "":
			local = g.one(genUsers)
		case g.chance(20) && !strings.Contains(local, "+"):
			local += g.one([]string{"+x", "-x", "+tag"})
		case g.chance(10):
			local = strings.ToUpper(local)
		case g.chance(10):
			local = "nosuch"
		}
		from := g.one([]string{defaultSender, defaultSender, defaultSender, "<>", "ann@one.example"})
		fmt.Fprintf(&b, "mail %s | %s@%s\n", from, local, domain)
	}
	return b.String()
}
