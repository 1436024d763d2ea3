package inventory_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/setup"
	"postern/internal/table"
)

// odd is a configuration on SQLite in which most is not as it should be.
const odd = `
-- main.cf --
myorigin = example.test
mydestination = localhost example.test
alias_maps = texthash:{dir}/aliases
recipient_delimiter = +
virtual_alias_domains = sqlite:{dir}/alias_domains.cf
virtual_mailbox_domains = sqlite:{dir}/domains.cf
virtual_mailbox_maps = sqlite:{dir}/boxes.cf
virtual_alias_maps = sqlite:{dir}/alias.cf, sqlite:{dir}/short.cf, texthash:{dir}/virtual, sqlite:{dir}/box.cf, regexp:{{/^find-(.*)@example.org/ $$1@example.org}}
transport_maps = sqlite:{dir}/transport.cf
recipient_canonical_maps = sqlite:{dir}/nocase.cf
-- aliases --
postmaster: root
-- virtual --
info@example.org john@example.org, out@example.net, local
-- alias_domains.cf --
dbpath = {dir}/mail.db
query = SELECT name FROM domains WHERE name='%s' AND target IS NOT NULL
-- domains.cf --
dbpath = {dir}/mail.db
query = SELECT 1 FROM domains WHERE name='%s' AND target IS NULL
-- boxes.cf --
dbpath = {dir}/mail.db
query = SELECT path FROM boxes WHERE email='%s' AND active=1
-- box.cf --
dbpath = {dir}/mail.db
query = SELECT email FROM boxes WHERE email='%s'
-- alias.cf --
dbpath = {dir}/mail.db
query = SELECT target FROM alias WHERE source='%s'
domain = example.org, short.example, example.test
-- short.cf --
dbpath = {dir}/mail.db
query = SELECT target FROM domains WHERE name='%d'
result_format = john@%s
-- transport.cf --
dbpath = {dir}/mail.db
query = SELECT t FROM transport WHERE u='%u' AND d='%d' LIMIT 1
-- nocase.cf --
dbpath = {dir}/mail.db
query = SELECT t FROM folded WHERE k='%s'
-- mail.sql --
CREATE TABLE domains (name TEXT, target TEXT);
INSERT INTO domains VALUES ('example.org', NULL), ('example.com', NULL), ('short.example', 'example.org'), ('Big.example', NULL), ('loop.example', 'loop.example');
CREATE TABLE boxes (email TEXT, path TEXT, active INTEGER);
INSERT INTO boxes VALUES ('john@example.org', 'john/', 1), ('Big@Example.org', 'big/', 1), ('old@example.org', 'old/', 0),
 ('jack@example.com', '', 1), ('jane@example.org', 'jane/', 1), ('jane@example.org', 'jane2/', 1), ('@example.com', 'rest/', 1), ('blank@example.org ', 'b/', 1);
CREATE TABLE alias (source TEXT, target TEXT);
INSERT INTO alias VALUES ('team@example.org', 'john@example.org'), ('team@example.org', 'jane@example.org, x@example.net'), ('a@example.org', 'b@example.org'),
 ('b@example.org', 'a@example.org'), ('self@example.org', 'self@example.org'), ('none@example.org', NULL), ('local', 'john@example.org'), ('john+x@example.org', 'jack@example.com');
CREATE TABLE transport (u TEXT, d TEXT, t TEXT);
INSERT INTO transport VALUES ('john', 'example.org', 'lmtp:unix:x'), ('jane', 'example.org', 'one:'), ('jane', 'example.org', 'two:');
CREATE TABLE folded (k TEXT COLLATE NOCASE, t TEXT);
INSERT INTO folded VALUES ('CANON@example.org', 'john@example.org');
`

// fate is all that a router decides about an address.
func fate(t *rapid.T, r *route.Router, text string) string {
	a := address.Split(text)
	v := r.CheckRecipient(t.Context(), address.Address{}, a, nil)
	out := []string{fmt.Sprint(v.Reply, v.Resolution.Class, v.Resolution.Transport, v.Resolution.NextHop)}
	list, err := r.Expand(t.Context(), []route.Recipient{{Address: a}}, nil)
	out = append(out, fmt.Sprint(err))
	for _, to := range list {
		res, err := r.Resolve(t.Context(), to.Address, address.Address{}, nil)
		out = append(out, fmt.Sprint(to.Address, res.Class, res.Transport, res.NextHop, err))
		if res.Class == route.VirtualMailbox {
			box, err := r.VirtualMailbox(t.Context(), res.Address, nil)
			out = append(out, fmt.Sprint(box, err))
		}
	}
	return strings.Join(out, "\n")
}

// TestPlaces: a snapshot says where an answer is written, a verdict does not.
func TestPlaces(t *testing.T) {
	i := open(t, odd)
	for places, make := range map[int]func(context.Context) (*setup.Setup, error){1: i.Snapshot, 0: i.Verdicts} {
		s, err := make(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		maps, err := s.Opener.Maps(t.Context(), i.Setup.Settings.String("virtual_alias_maps"), table.Use{Fold: true})
		if err != nil {
			t.Fatal(err)
		}
		// "team" has two rows: the database itself is asked.
		for key, want := range map[string]int{"a@example.org": places, "team@example.org": 2} {
			r, err := maps.Tables[0].Lookup(t.Context(), key)
			if err != nil || len(r.At) != want {
				t.Errorf("%s: %+v, %v; want %d places", key, r, err, want)
			}
		}
	}
}

// TestSnapshotDecides holds that a router over remembered rows decides what the
// configuration itself does.
func TestSnapshotDecides(t *testing.T) {
	i := open(t, odd)
	s, err := i.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	brief, err := i.Verdicts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	users := []string{"john", "John", "jane", "jack", "team", "a", "self", "none", "big", "Big", "old", "local", "info", "find-john", "canon", "blank", "blank ", "postmaster", "nobody", "", "jo\u00e9", "'x"}
	extensions := []string{"", "", "+x", "+"}
	domains := []string{"", "@example.org", "@EXAMPLE.org", "@example.com", "@short.example", "@big.example", "@loop.example", "@example.test", "@localhost", "@elsewhere.example", "@\u00fc.example"}
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.SampledFrom(users).Draw(r, "user") + rapid.SampledFrom(extensions).Draw(r, "extension") + rapid.SampledFrom(domains).Draw(r, "domain")
		if diff := cmp.Diff(fate(r, i.Setup.Router, text), fate(r, s.Router, text)); diff != "" {
			r.Fatalf("%s (-itself +snapshot)\n%s", text, diff)
		}
		if diff := cmp.Diff(fate(r, i.Setup.Router, text), fate(r, brief.Router, text)); diff != "" {
			r.Fatalf("%s (-itself +verdict)\n%s", text, diff)
		}
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if v := i.Setup.Router.CheckRecipient(t.Context(), address.Address{}, address.Split("john@example.org"), nil); v.Reply.Code != 0 {
		t.Errorf("closing the snapshot closed the tables: %v", v.Reply)
	}
}
