package plan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"postern/internal/check/inventory"
	"postern/internal/setup"
)

const tables = `compatibility_level = 3.6
myhostname = mail.host.test
mydestination = localhost
virtual_mailbox_domains = texthash:{dir}/domains
virtual_mailbox_maps = texthash:{dir}/boxes
virtual_alias_domains =
virtual_alias_maps = texthash:{dir}/virtual
virtual_mailbox_base = /var/vmail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
recipient_delimiter = +
`

// sideOf is a configuration that was not examined, only opened.
func sideOf(t *testing.T, dir string, files map[string]string) *side {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "{dir}", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := setup.Open(context.Background(), dir, setup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &side{setup: opened, inventory: inventory.New(opened)}
	if err := s.prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAffected holds that the addresses that are left out for speed have no other
// fate: the changes are the same when none is left out.
func TestAffected(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		address := rapid.SampledFrom([]string{"ann@one.test", "bob@one.test", "bob+x@one.test", "sales@one.test", "all@one.test", "ann@two.test",
			"x@two.test", "@one.test", "@two.test", "ann", "joe@localhost", "far@else.example", "sub@deep.one.test"})
		target := rapid.Custom(func(rt *rapid.T) string { return strings.Join(rapid.SliceOfN(address, 1, 2).Draw(rt, "to"), ", ") })
		rows := func(value *rapid.Generator[string]) func() string {
			return func() string {
				var b strings.Builder
				for _, key := range rapid.SliceOfNDistinct(address, 0, 6, rapid.ID[string]).Draw(rt, "keys") {
					fmt.Fprintf(&b, "%s %s\n", key, value.Draw(rt, key))
				}
				return b.String()
			}
		}
		draw := map[string]func() string{
			"boxes":   rows(rapid.SampledFrom([]string{"a/", "b/", "c"})),
			"virtual": rows(target),
			"domains": func() string {
				return rapid.SampledFrom([]string{"one.test x\n", "one.test x\ntwo.test x\n", "two.test x\n"}).Draw(rt, "domains")
			},
			"rules": func() string {
				line := rapid.SampledFrom([]string{"/^ann/ REJECT ann", "/@one/ REJECT one", "!/^ann/ REJECT other", "if /@one/", "if !/@one/", "if /^ANN/i", "endif"})
				return strings.Join(rapid.SliceOfN(line, 0, 5).Draw(rt, "rules"), "\n")
			},
		}
		config := tables + "smtpd_recipient_restrictions = check_recipient_access pcre:{dir}/rules\n"
		before := map[string]string{"main.cf": config, "boxes": draw["boxes"](), "virtual": draw["virtual"](), "domains": draw["domains"](), "rules": draw["rules"]()}
		after := map[string]string{"main.cf": config, "boxes": before["boxes"], "virtual": before["virtual"], "domains": before["domains"], "rules": before["rules"]}
		name := rapid.SampledFrom([]string{"boxes", "virtual", "domains", "rules"}).Draw(rt, "changed")
		after[name] = draw[name]()

		sides := [2]*side{sideOf(t, filepath.Join(dir, "old"), before), sideOf(t, filepath.Join(dir, "new"), after)}
		defer sides[0].setup.Close()
		defer sides[1].setup.Close()
		c := &comparison{sides: sides, rules: &rules{}, progress: func(float64, string) {}, list: addresses(ctx, sides, []string{"ann+y@one.test"}, nil)}
		all, err := c.run(ctx)
		if err != nil {
			rt.Fatal(err)
		}
		if c.affected = affectedBy(ctx, sides); c.affected == nil {
			return
		}
		some, err := c.run(ctx)
		if err != nil {
			rt.Fatal(err)
		}
		text := func(list []Change) string {
			var b strings.Builder
			for _, c := range list {
				fmt.Fprintf(&b, "%s: %v => %v\n", c.Address, c.Before, c.After)
			}
			return b.String()
		}
		if diff := cmp.Diff(text(all), text(some)); diff != "" {
			rt.Errorf("changes of all addresses, and without those that are left out:\n%s", diff)
		}
	})
}

// TestEverybody are changes that may concern every address.
func TestEverybody(t *testing.T) {
	base := map[string]string{"main.cf": tables, "boxes": "ann@one.test a/\n", "virtual": "b@one.test ann@one.test\n", "domains": "one.test x\n"}
	with := func(line string) map[string]string {
		out := map[string]string{}
		for k, v := range base {
			out[k] = v
		}
		out["main.cf"] += line
		return out
	}
	for _, tt := range []struct {
		name          string
		before, after map[string]string
		all           bool
	}{
		{"the same", base, base, false},
		{"a parameter", base, with("myorigin = one.test\n"), true},
		{"a parameter is gone", with("myorigin = one.test\n"), base, true},
		{"masquerading", with("masquerade_domains = one.test\n"), with("masquerade_domains = one.test\n"), true},
		{"a pattern that leads on", with("recipient_canonical_maps = regexp:{dir}/boxes\n"), with("recipient_canonical_maps = regexp:{dir}/boxes\n"), true},
		{"networks in a file", with("mynetworks = {dir}/virtual\n"), with("mynetworks = {dir}/virtual\n"), true},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			sides := [2]*side{sideOf(t, filepath.Join(dir, "old"), tt.before), sideOf(t, filepath.Join(dir, "new"), tt.after)}
			defer sides[0].setup.Close()
			defer sides[1].setup.Close()
			if got := affectedBy(context.Background(), sides) == nil; got != tt.all {
				t.Errorf("every address is followed: %v, want %v", got, tt.all)
			}
		})
	}
}

func TestLiteral(t *testing.T) {
	for pattern, want := range map[string]string{
		`/^info@one\.test$/`: "info@one.test", `/^Info@one.test$/i`: "Info@one.test", `!^a\+b@one\.test$!`: "a+b@one.test",
		`/^info@one\.test/`: "", `/info@one\.test$/`: "", `/^a.*@one\.test$/`: "", `/^(a|b)@one\.test$/`: "", `/^a\d@one\.test$/`: "",
		`/^a@one\.test\$/`: "", `/^a@one\.test$/x`: "", `!/^a@one\.test$/`: "", `/^info$/`: "", `/^@one\.test$/`: "", `/^a@b@c$/`: "",
		`/^a@$/`: "", `/^$/`: "", `/^/`: "", `//`: "", `/`: "", "": "",
	} {
		got, ok := literal(pattern)
		ok = ok && isAddress(got)
		if ok != (want != "") || ok && got != want {
			t.Errorf("literal(%q) = %q, %v, want %q", pattern, got, ok, want)
		}
	}
}
