package plan_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/plan"
	"postern/internal/setup"
)

// TestConditions changes the ifs around rules: those that are concerned are found, and
// the if is the cause.
func TestConditions(t *testing.T) {
	const (
		aliases = "virtual_alias_maps = texthash:{dir}/virtual"
		boxes   = "virtual_mailbox_maps = texthash:{dir}/boxes"
		domains = "virtual_mailbox_domains = texthash:{dir}/domains"
		end     = "recipient_delimiter"
	)
	access := func(rest string) []string {
		return []string{end, "smtpd_recipient_restrictions = check_recipient_access pcre:{dir}/rules\n" + end, rest}
	}
	rejects := "if /@one\\.test$/\n/^a/ REJECT no\nendif\n"
	for _, tt := range []struct {
		name          string
		use           []string // what the parameter is, and with the table
		before, after string
		changed       []string
		note          string
	}{
		{"access: negated", access(""), rejects, "if !/@one\\.test$/\n/^a/ REJECT no\nendif\n",
			[]string{"abuse@one.test accepted by rules:1", "abuse@two.test refused by rules:1", "all@one.test accepted by rules:1", "ann@one.test accepted by rules:1",
				"ann@two.test refused by rules:1", "any-other-address@localhost answered by rules:1", "any-other-address@one.test answered by rules:1",
				"any-other-address@two.test answered by rules:1"}, "1 changed rule"},
		{"access: removed", access(""), rejects, "/^a/ REJECT no\n",
			[]string{"abuse@two.test refused by rules:1 before", "ann@two.test refused by rules:1 before", "any-other-address@localhost answered by rules:1 before", "any-other-address@two.test answered by rules:1 before"}, "1 changed rule"},
		{"access: moved to another if", access(""), rejects + "if /@two\\.test$/\n/^x/ REJECT x\nendif\n", "if /@one\\.test$/\nendif\nif /@two\\.test$/\n/^x/ REJECT x\n/^a/ REJECT no\nendif\n",
			[]string{"abuse@one.test accepted by rules:3", "abuse@two.test refused by rules:3", "all@one.test accepted by rules:3", "ann@one.test accepted by rules:3",
				"ann@two.test refused by rules:3", "any-other-address@one.test answered by rules:3", "any-other-address@two.test answered by rules:3"}, "1 changed rule"},
		{"access: endif moved", access(""), "if /@two\\.test$/\n/^x/ REJECT x\nendif\n/^bob/ REJECT no\n", "if /@two\\.test$/\n/^x/ REJECT x\n/^bob/ REJECT no\nendif\n",
			[]string{"bob@one.test accepted by rules:1"}, "1 changed rule"},
		{"access: an unchanged rule answers now", access(""), rejects + "/^ann@/ REJECT else\n", "if /@two\\.test$/\n/^a/ REJECT no\nendif\n/^ann@/ REJECT else\n",
			[]string{"abuse@one.test accepted by rules:1", "abuse@two.test refused by rules:1", "all@one.test accepted by rules:1", "ann@one.test answered by rules:1",
				"ann@two.test answered by rules:1", "any-other-address@one.test answered by rules:1", "any-other-address@two.test answered by rules:1"}, "1 changed rule"},
		{"access: flags", access(""), "if /^ANN@ONE/\n/^a/ REJECT no\nendif\n", "if /^ANN@ONE/i\n/^a/ REJECT no\nendif\n", []string{"ann@one.test accepted by rules:1"}, "1 changed rule"},
		{"access: a comment and another place", access(""), rejects, "# first\n\n" + strings.Replace(rejects, "endif", "  \nENDIF", 1), nil, ""},
		{"access: one if for two", access(""), rejects + strings.Replace(rejects, "/^a/", "/^b/", 1), "if /@one\\.test$/\n/^a/ REJECT no\n/^b/ REJECT no\nendif\n", nil, ""},
		{"mailboxes", []string{boxes, "virtual_mailbox_maps = pcre:{dir}/rules", ""}, "if /@one\\.test$/\n/^ann/ ann/\n/^bob/ bob/\nendif\n", "if /@two\\.test$/\n/^ann/ ann/\n/^bob/ bob/\nendif\n",
			[]string{"abuse@one.test refused by rules:1", "abuse@two.test accepted by rules:1", "all@one.test refused by rules:1", "ann@one.test refused by rules:1", "ann@two.test accepted by rules:1",
				"bob@one.test refused by rules:1", "postmaster@one.test refused by rules:1", "postmaster@two.test accepted by rules:1", "sales@one.test refused by rules:1"}, "2 changed rules"},
		{"domains", []string{domains, "virtual_mailbox_domains = pcre:{dir}/rules", ""}, "/^one\\.test$/ x\nif /^two/\n/^two\\.test$/ x\n/^three\\.test$/ x\nendif\n", "/^one\\.test$/ x\nif !/^two/\n/^two\\.test$/ x\n/^three\\.test$/ x\nendif\n",
			[]string{"abuse@two.test refused by rules:2", "ann@two.test refused by rules:2", "any-other-address@three.test answered by rules:2", "any-other-address@two.test answered by rules:2", "postmaster@two.test refused by rules:2"}, ""},
		{"local domains", []string{"mydestination = localhost", "mydestination = localhost, pcre:{dir}/rules", ""}, "/^x/ x\n", "if /^y/\n/^x/ x\nendif\n", nil, "1 changed rule"},
		{"transport", []string{end, "transport_maps = regexp:{dir}/rules\n" + end, ""}, "/^x/ smtp:x\n/^ann/ lmtp:inet:127.0.0.1:1\n", "if /@two/\n/^x/ smtp:x\n/^ann/ lmtp:inet:127.0.0.1:1\nendif\n",
			[]string{"abuse@one.test rerouted by rules:1", "all@one.test rerouted by rules:1", "ann@one.test rerouted by rules:1", "postmaster@one.test rerouted by rules:1", "sales@one.test rerouted by rules:1"}, "2 changed rules"},
		{"aliases", []string{aliases, "virtual_alias_maps = pcre:{dir}/rules", ""}, "/^info@one\\.test$/ ann@one.test\n/^s-.*@one\\.test$/ ann@one.test\n", "if /^s/\n/^info@one\\.test$/ ann@one.test\n/^s-.*@one\\.test$/ ann@one.test\nendif\n",
			[]string{"info@one.test refused by rules:1"}, "1 changed rule"},
		{"aliases: an address in the if", []string{aliases, "virtual_alias_maps = pcre:{dir}/rules", ""}, "if /^info@one\\.test$/\n/./ ann@one.test\nendif\n", "if /^team@one\\.test$/\n/./ ann@one.test\nendif\n",
			[]string{"info@one.test refused by rules:1", "team@one.test accepted by rules:1"}, "1 changed rule"},
		{"networks", []string{end, "smtpd_client_restrictions = check_client_access cidr:{dir}/rules\n" + end, ""}, "if !203.0.113.0/24\n0.0.0.0/0 REJECT no\nendif\n", "if 203.0.113.0/24\n0.0.0.0/0 REJECT no\nendif\n",
			[]string{"abuse@one.test refused by rules:1", "abuse@two.test refused by rules:1"}, ""},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			config := func(rules string) *setup.Setup {
				f := sound().with("main.cf", tt.use[0], tt.use[1])
				f["rules"] = rules
				return f.open(t, setup.Options{})
			}
			r := compare(t, config(tt.before), config(tt.after), plan.Options{})
			var got []string
			for _, c := range r.Changes {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s by %v%s", c.Address, outcome(c), c.Cause, map[bool]string{true: " before"}[c.InOld])))
			}
			if tt.name == "networks" && len(got) > 2 { // everybody
				got = got[:2]
			}
			if diff := cmp.Diff(tt.changed, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			var b bytes.Buffer
			r.Print(&b, false)
			if tt.note != "" && !strings.Contains("\n"+b.String(), "\n"+tt.note+" of ") {
				t.Errorf("no %q in\n%s", tt.note, b.String())
			}
			if tt.note == "" && len(r.UnknownRules) > 0 {
				t.Errorf("unknown rules %v", r.UnknownRules)
			}
		})
	}
}

// outcome is what is different in a change.
func outcome(c plan.Change) string {
	switch before, after := c.Before.Accepted(), c.After.Accepted(); {
	case before && !after:
		return "refused"
	case !before && after:
		return "accepted"
	case !after:
		return "answered"
	case len(c.Before.Recipients) > 0 && len(c.After.Recipients) > 0 && c.Before.Recipients[0].Transport != c.After.Recipients[0].Transport:
		return "rerouted"
	}
	return "judged"
}
