package sql

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shape is what a query becomes when it is turned round.
type shape struct{ All, Hidden, Name, Letters string }

func shapes(d *dialect, text string) []shape {
	list, ok := d.listings(text)
	if !ok {
		return nil
	}
	var out []shape
	for _, q := range list {
		out = append(out, shape{q.write(nil, q.where(q.filters), 9), q.hidden(9), q.keyName(), q.letters()})
	}
	return out
}

// plain is a dialect without tests of comparisons, for reading.
func plain(d *dialect) *dialect {
	other := *d
	other.test = func(string) string { return "?" }
	return &other
}

func TestListings(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		dialect     *dialect
		want        []shape
	}{
		{"the usual one", "SELECT destination FROM virtual_aliases WHERE source='%s'", sqliteDialect, []shape{
			{All: "SELECT destination, source, ? FROM virtual_aliases LIMIT 9", Name: "source", Letters: "s"}}},
		{"an inactive row", "SELECT goto FROM alias WHERE address='%s' AND active = '1';", mysqlDialect, []shape{{
			All:    "SELECT goto, address, ? FROM alias WHERE (active = '1') LIMIT 9",
			Hidden: "SELECT goto, active, address, ? FROM alias WHERE (active = '1') IS NOT TRUE LIMIT 9", Name: "address", Letters: "s"}}},
		{"alternatives", "SELECT a FROM t WHERE k='%s' AND (status = 1 OR status = 2) AND active", sqliteDialect, []shape{{
			All:    "SELECT a, k, ? FROM t WHERE (status = 1 OR status = 2) AND (active) LIMIT 9",
			Hidden: "SELECT a, status, active, k, ? FROM t WHERE ((status = 1 OR status = 2) AND active) IS NOT TRUE LIMIT 9", Name: "k", Letters: "s"}}},
		{"user and domain", "SELECT maildir FROM m WHERE local_part = '%u' AND m.domain='%d' and active", pgsqlDialect, []shape{{
			All:    "SELECT maildir, local_part, ?, m.domain, ? FROM m WHERE (active) LIMIT 9",
			Hidden: "SELECT maildir, active, local_part, ?, m.domain, ? FROM m WHERE (active) IS NOT TRUE LIMIT 9", Letters: "ud"}}},
		{"alias domains of PostfixAdmin", "SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and alias.address = CONCAT('%u', '@', alias_domain.target_domain) AND alias.active = 1",
			mysqlDialect, []shape{{
				All:    "SELECT goto, alias_domain.alias_domain, ?, alias.address, alias_domain.target_domain, ? FROM alias,alias_domain WHERE (alias.active = 1) AND (alias.address) LIKE (CONCAT('%', '@', (alias_domain.target_domain))) LIMIT 9",
				Hidden: "SELECT goto, alias.active, alias_domain.alias_domain, ?, alias.address, alias_domain.target_domain, ? FROM alias,alias_domain WHERE (alias.address) LIKE (CONCAT('%', '@', (alias_domain.target_domain))) AND (alias.active = 1) IS NOT TRUE LIMIT 9", Letters: "du"}}},
		{"a join", "SELECT u.home FROM users AS u JOIN domains d ON u.domain_id = d.id WHERE (u.name || '@' || d.name) = '%s'", pgsqlDialect, []shape{
			{All: "SELECT u.home, u.name || '@' || d.name, ? FROM users AS u JOIN domains d ON u.domain_id = d.id LIMIT 9", Letters: "s"}}},
		{"a catch-all", "SELECT owner FROM c WHERE concat('@','%d') = domain", mysqlDialect, []shape{
			{All: "SELECT owner, domain, ? FROM c LIMIT 9", Name: "domain", Letters: "d"}}},
		{"a catch-all in one text", `SELECT owner FROM c WHERE "domain" = '@%d'`, sqliteDialect, []shape{
			{All: `SELECT owner, "domain", ? FROM c LIMIT 9`, Name: "domain", Letters: "d"}}},
		{"lower", "SELECT 1 FROM users WHERE lower(email) = lower('%s') LIMIT 1", pgsqlDialect, []shape{
			{All: "SELECT 1, lower(email), ? FROM users LIMIT 9", Letters: "s"}}},
		{"no quotes", "SELECT a FROM t WHERE k=%s ORDER BY n DESC", sqliteDialect, []shape{
			{All: "SELECT a, k, ? FROM t ORDER BY n DESC LIMIT 9", Name: "k", Letters: "s"}}},
		{"the key is selected", "SELECT '%s' FROM t WHERE k='%s' AND note LIKE '%%x'", sqliteDialect, []shape{{
			All:    "SELECT (k), k, ? FROM t WHERE (note LIKE '%x') LIMIT 9",
			Hidden: "SELECT (k), note, k, ? FROM t WHERE (note LIKE '%x') IS NOT TRUE LIMIT 9", Name: "k", Letters: "s"}}},
		{"a union", "SELECT goto FROM alias WHERE address='%s' UNION ALL (SELECT username FROM mailbox WHERE username='%s')", mysqlDialect, []shape{
			{All: "SELECT goto, address, ? FROM alias LIMIT 9", Name: "address", Letters: "s"},
			{All: "SELECT username, username, ? FROM mailbox LIMIT 9", Name: "username", Letters: "s"}}},
		{"everything", "SELECT * FROM t WHERE k='%s'", mysqlDialect, []shape{
			{All: "SELECT *, k, ? FROM t LIMIT 9", Name: "k", Letters: "s"}}},
		{"comments", "SELECT a /* '%s' */ FROM t -- x\n WHERE k='%s'", sqliteDialect, []shape{
			{All: "SELECT a, k, ? FROM t LIMIT 9", Name: "k", Letters: "s"}}},

		{"a function", "SELECT f('%s')", pgsqlDialect, nil},
		{"a procedure", "CALL f('%s')", mysqlDialect, nil},
		{"or", "SELECT a FROM t WHERE k='%s' OR k='@%d'", sqliteDialect, nil},
		{"or between parentheses", "SELECT a FROM t WHERE x=1 AND (k='%s' OR k='@%d')", sqliteDialect, nil},
		{"not the key", "SELECT a FROM t WHERE k<>'%s'", sqliteDialect, nil},
		{"a pattern", "SELECT a FROM t WHERE k LIKE '%s'", sqliteDialect, nil},
		{"a group", "SELECT a FROM t WHERE k='%s' GROUP BY a", sqliteDialect, nil},
		{"an aggregate", "SELECT GROUP_CONCAT(a) FROM t WHERE k='%s'", sqliteDialect, nil},
		{"made of the key", "SELECT CONCAT('%u','@',target) FROM alias_domain WHERE alias_domain='%d'", mysqlDialect, nil},
		{"a query inside", "SELECT a FROM t WHERE d=(SELECT id FROM d WHERE name='%d') AND u='%u'", sqliteDialect, nil},
		{"a condition of a join", "SELECT a FROM t JOIN d ON d.name='%d' WHERE u='%u'", sqliteDialect, nil},
		{"no key", "SELECT a FROM t", sqliteDialect, nil},
		{"labels", "SELECT a FROM t WHERE k='%1'", sqliteDialect, nil},
		{"|| is or", "SELECT a FROM t WHERE k='@' || '%d'", mysqlDialect, nil},
		{"part of a text", "SELECT a FROM t WHERE k='%u-%d'", sqliteDialect, nil},
		{"half a query", "SELECT a FROM t WHERE k='%s", sqliteDialect, nil},
		{"nothing", "", sqliteDialect, nil},
	} {
		if diff := cmp.Diff(tt.want, shapes(plain(tt.dialect), tt.query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// FuzzListings holds that any query is turned round or not, without harm.
func FuzzListings(f *testing.F) {
	for _, text := range []string{"SELECT a FROM t WHERE k='%s' AND b=1", "select '%u' from (a) where (x=concat('%u','@',d)) limit 1 union select", "(((", "SELECT FROM WHERE %", "a.b.", "SELECT a FROM t WHERE k = '%d' || '", "SELECT \"%%\" FROM `a` WHERE k=E'\\'%s'"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range []*dialect{sqliteDialect, mysqlDialect, pgsqlDialect} {
			for _, s := range shapes(d, text) {
				if s.Letters == "" || s.All == "" {
					t.Errorf("%q became %+v", text, s)
				}
			}
		}
	})
}

// TestNamed: columns of filters keep the name that they are written with where two
// tables have them.
func TestNamed(t *testing.T) {
	for _, tt := range []struct {
		query     string
		columns   []string // as a database calls them
		want      []string
		wantShown int
	}{
		{"SELECT m.dir FROM m JOIN d ON m.domain = d.domain WHERE m.name='%s' AND m.active = 1 AND d.Active = 1 AND d.mx = 0", []string{"dir", "active", "Active", "mx"}, []string{"dir", "m.active", "d.Active", "mx"}, 3},
		{"SELECT active FROM m WHERE name='%s' AND active = 1", []string{"active", "active"}, []string{"active", "active"}, 1},
		{"SELECT dir FROM m WHERE name='%s'", []string{"dir"}, []string{"dir"}, 0},
	} {
		list, ok := sqliteDialect.listings(tt.query)
		if !ok {
			t.Fatalf("%s is not listed", tt.query)
		}
		shown := len(list[0].filtered())
		if got := list[0].named(tt.columns, shown); shown != tt.wantShown || !cmp.Equal(got, tt.want) {
			t.Errorf("%s: named(%q, %d) = %q, want %q", tt.query, tt.columns, shown, got, tt.want)
		}
	}
}
