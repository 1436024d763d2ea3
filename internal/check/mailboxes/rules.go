package mailboxes

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/route"
	"postern/internal/table"
)

// rules are the findings for patterns that build the path of a mailbox out of the
// address, "/^(.*)@example\.org$/ example.org/$1/". The SMTP server takes them, so mail
// is accepted; virtual(8) leaves such rules out, so the mail bounces (VD208).
func (f *files) rules(ctx context.Context, met func(table.Rule) bool) []finding.Finding {
	var list []finding.Finding
	for _, t := range f.x.i.Of(ctx, "virtual_mailbox_maps") {
		for _, rule := range t.Rules {
			if substitutes(rule.Result) && met(rule) {
				list = append(list, f.substituting(t, rule))
			}
		}
	}
	return list
}

// substitutes reports a result with $1, ${1} or $(1) in it; "$$" is a dollar sign.
func substitutes(result string) bool {
	return strings.Contains(strings.ReplaceAll(result, "$$", ""), "$")
}

func (f *files) substituting(t *inventory.Table, rule table.Rule) finding.Finding {
	return finding.Finding{Code: "VD208", Severity: finding.Error, At: oneAt(rule.At),
		Message: fmt.Sprintf("the rule %s of %s answers with a part of the address (%s): virtual(8) leaves such a rule out, so that mail is accepted and then bounces (550 5.1.1 unknown user)",
			rule.Pattern, t.Spec, rule.Result),
		Fix: "list the mailboxes in a table with one row for each, or let a mailbox server deliver: virtual_transport = lmtp:unix:private/dovecot-lmtp"}
}

// rulesOf are those that answered at RCPT for final recipients of an explained address.
func (f *files) rulesOf(ctx context.Context, e *explain.Explanation) []finding.Finding {
	tr := &route.Trace{}
	for _, r := range e.Recipients {
		if f.x.services[r.Transport] == "virtual" {
			f.router.CheckRecipient(ctx, address.Address{}, address.Split(r.Address), tr)
		}
	}
	return f.rules(ctx, func(rule table.Rule) bool {
		for _, s := range tr.Steps {
			if s.Parameter == "virtual_mailbox_maps" && s.Result != nil && s.At != nil && samePlace(*s.At, rule.At) {
				return true
			}
		}
		return false
	})
}
