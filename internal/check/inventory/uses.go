package inventory

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
)

// Tables are all tables that main.cf or a -o of master.cf names, each once, with
// all its uses. A table that only a default names is not among them (Of has it).
// They are in the order of their first use; members of unionmap:, pipemap: and
// debug: follow the table that is made of them.
func (i *Inventory) Tables(ctx context.Context) []*Table {
	list := i.all.get(func() []*Table {
		var written []*Table
		for _, t := range i.collect(i.naming()) {
			if t.Uses[0].Written() {
				written = append(written, t)
			}
		}
		return written
	})
	i.read(ctx, list)
	return list
}

// naming is one word that names a table.
type naming struct {
	word string
	use  Use
}

// collect makes tables of the words that name them, which are in order.
func (i *Inventory) collect(named []naming) []*Table {
	i.mu.Lock()
	defer i.mu.Unlock()
	var list []*Table
	for _, n := range named {
		n.use.Proxied = table.Direct(n.word) != n.word
		t := i.table(n.word, n.use)
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
		if !slices.ContainsFunc(t.Uses, func(u Use) bool { return u.same(n.use) }) {
			t.Uses = append(t.Uses, n.use)
		}
	}
	return list
}

func (u Use) same(o Use) bool {
	return u.Parameter == o.Parameter && u.Service == o.Service && u.At.File == o.At.File && u.At.Line == o.At.Line && u.Proxied == o.Proxied
}

// naming finds the words that name tables: those that somebody wrote first, in the
// order of the files.
func (i *Inventory) naming() []naming {
	s := i.Setup.Settings
	var named []naming
	for name, v := range s.All() {
		named = append(named, words(s, name, v, Use{Parameter: name, At: v.At})...)
	}
	for _, m := range s.Services() {
		named = append(named, serviceWords(s, m)...)
	}
	slices.SortStableFunc(named, func(a, b naming) int {
		return cmp.Or(order(a.use)-order(b.use), strings.Compare(a.use.At.File, b.use.At.File),
			a.use.At.Line-b.use.At.Line, strings.Compare(a.use.Parameter, b.use.Parameter))
	})
	return named
}

// order is 0 for what somebody wrote, and 1 for defaults.
func order(u Use) int {
	if u.Written() {
		return 0
	}
	return 1
}

// serviceWords are the words of the -o options of a service.
func serviceWords(s *config.Settings, m config.Service) []naming {
	if len(m.Overrides) == 0 {
		return nil
	}
	service, err := s.ForService(m)
	if err != nil {
		return nil
	}
	var named []naming
	for _, o := range m.Overrides {
		v := service.Value(o.Name)
		named = append(named, words(service, o.Name, v, Use{Parameter: o.Name, Service: m.Name, At: m.At})...)
	}
	return named
}

// words are the tables that the value of a parameter names.
func words(s *config.Settings, name string, v config.Value, use Use) []naming {
	kind := kindOf(s, name)
	if kind == noTables || v.Text == "" {
		return nil
	}
	var named []naming
	skip := false
	for _, word := range syntax.Split(v.Text, syntax.Separators) {
		if word[0] == '#' {
			break
		}
		if kind == restrictions && skip {
			skip = false
			continue
		}
		skip = word == "check_policy_service"
		word = strings.TrimLeft(word, "!")
		named = append(named, withMembers(word, use, 0)...)
	}
	return named
}

// maxNesting bounds the tables that are made of tables.
const maxNesting = 10

// withMembers is a table and those that it is made of.
func withMembers(word string, use Use, depth int) []naming {
	if !isTable(word) || depth == maxNesting {
		return nil
	}
	named := []naming{{word, use}}
	typ, name, _ := strings.Cut(table.Direct(word), ":")
	switch typ {
	case "unionmap", "pipemap":
		inner, _ := syntax.Unbrace(name)
		for _, member := range syntax.Split(inner, syntax.Separators) {
			named = append(named, withMembers(member, use, depth+1)...)
		}
	case "debug":
		named = append(named, withMembers(name, use, depth+1)...)
	}
	return named
}

// kind is how a parameter names tables.
type kind uint8

const (
	noTables     kind = iota
	tables            // every "type:name" is one
	restrictions      // but for what follows check_policy_service
)

// notTables are parameters whose names look like those of lists with tables:
// what they name is something else, or is not asked for rows.
var notTables = map[string]bool{
	"proxy_read_maps": true, "proxy_write_maps": true, "content_filter": true, "smtpd_proxy_filter": true,
	"command_expansion_filter": true, "execution_directory_expansion_filter": true, "forward_expansion_filter": true,
	"postscreen_expansion_filter": true, "smtpd_expansion_filter": true, "verp_delimiter_filter": true,
	"maps_rbl_domains": true, "masquerade_domains": true,
}

// tableSuffixes are the ends of the names of parameters that name tables.
var tableSuffixes = []string{
	"_maps", "_checks", "_filter", "_domains", "_exceptions", "_networks", "_clients", "_access_list", "_peer_list",
	"_reply_map", "_clientcerts", "_per_site", "_cache_destinations", "_hosts", "_header_rewrite_clients", "_forbidden_commands",
}

// tableNames are the others.
var tableNames = map[string]bool{
	"mydestination": true, "mynetworks": true, "alias_database": true, "authorized_flush_users": true,
	"authorized_mailq_users": true, "authorized_submit_users": true,
}

// kindOf tells it by the name, and by smtpd_restriction_classes.
func kindOf(s *config.Settings, name string) kind {
	switch {
	case notTables[name]:
		return noTables
	case strings.HasSuffix(name, "_restrictions") && strings.HasPrefix(name, "smtpd_"):
		return restrictions
	case slices.Contains(s.List("smtpd_restriction_classes"), name):
		return restrictions
	case tableNames[name], slices.ContainsFunc(tableSuffixes, func(end string) bool { return strings.HasSuffix(name, end) }):
		if _, known := s.Default(name); !known {
			return noTables
		}
		return tables
	}
	return noTables
}

// Place is the use of a table that is to be blamed first.
func (t *Table) Place() origin.At {
	if len(t.Uses) > 0 {
		return t.Uses[0].At
	}
	return t.At
}
