package settings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/syntax"
	"postern/internal/table"
)

// Restrictions that compare the login with the owners of the sender address. The
// second kind lets senders pass that have no owner.
var (
	mismatchRules  = []string{"reject_sender_login_mismatch", "reject_authenticated_sender_login_mismatch"}
	knownMismatch  = "reject_known_sender_login_mismatch"
	restrictionEnd = "_restrictions"
)

// maxOwners is how many mailboxes are looked up in the table of owners.
const maxOwners = 50000

// owners reports mailboxes whose own login may not send from them (VD501).
func (x *examination) owners(ctx context.Context) {
	seen := map[string]bool{}
	for _, m := range x.services {
		if m.Command != "smtpd" {
			continue
		}
		rules := restrictionsOf(m.settings)
		strict := slices.ContainsFunc(mismatchRules, func(r string) bool { return rules[r] })
		maps := m.settings.Value("smtpd_sender_login_maps")
		key := fmt.Sprint(maps.At.String(), maps.Text, strict)
		if maps.Text == "" || !strict && !rules[knownMismatch] || seen[key] {
			continue
		}
		seen[key] = true
		x.compareOwners(ctx, maps, strict)
	}
}

// restrictionsOf are the words of all restriction lists of a service, and of the
// classes that they name.
func restrictionsOf(s *config.Settings) map[string]bool {
	words := map[string]bool{}
	classes := s.List("smtpd_restriction_classes")
	var add func(text string)
	add = func(text string) {
		for _, w := range syntax.Split(text, syntax.Separators) {
			if inner, ok := syntax.Unbrace(w); ok {
				add(inner)
				continue
			}
			if w = strings.ToLower(w); !words[w] {
				words[w] = true
				if slices.ContainsFunc(classes, func(c string) bool { return strings.EqualFold(c, w) }) {
					add(s.String(w))
				}
			}
		}
	}
	for name, v := range s.All() {
		if strings.HasPrefix(name, "smtpd_") && strings.HasSuffix(name, restrictionEnd) {
			add(v.Text)
		}
	}
	return words
}

// stranger is a mailbox that its own login may not send from.
type stranger struct {
	mailbox string
	owners  []string
	at      origin.At
}

// compareOwners looks up the owners of all mailboxes. A table that fails ends it:
// that is a finding of its own.
func (x *examination) compareOwners(ctx context.Context, maps config.Value, strict bool) {
	m, err := x.Setup.Opener.Maps(ctx, maps.Text, table.Use{Parameter: "smtpd_sender_login_maps", At: maps.At, Fold: true})
	if err != nil {
		return
	}
	var wrong, without []stranger
	for n, mailbox := range x.mailboxes(ctx) {
		if n == maxOwners {
			break
		}
		found, err := m.Find(ctx, table.AddressKeys(address.Split(mailbox), x.delimiter(), nil, table.ExternalFirst), nil)
		switch {
		case errors.Is(err, table.ErrNotFound):
			without = append(without, stranger{mailbox: mailbox, at: maps.At})
		case err != nil:
			return
		default:
			if owners := split(found.Value); !owns(owners, mailbox) {
				wrong = append(wrong, stranger{mailbox, owners, first(found.At, maps.At)})
			}
		}
	}
	x.reportWrong(wrong)
	if strict {
		x.reportWithout(without, maps.At)
	}
}

func (x *examination) delimiter() address.Delimiter {
	return address.Delimiter{Set: x.settings.String("recipient_delimiter"), DoubleBounce: x.settings.String("double_bounce_sender"),
		OwnerRequest: x.settings.Bool("owner_request_special")}
}

func first(list []origin.At, otherwise origin.At) origin.At {
	if len(list) > 0 {
		return list[0]
	}
	return otherwise
}

// mailboxes are the addresses of virtual mailboxes, each once.
func (x *examination) mailboxes(ctx context.Context) []string {
	var list []string
	seen := map[string]bool{}
	for _, t := range x.Of(ctx, "virtual_mailbox_maps") {
		for _, row := range t.Entries {
			key := address.Fold(row.Key)
			local, domain, ok := strings.Cut(key, "@")
			if ok && local != "" && !seen[key] && x.Class(ctx, domain) == route.VirtualMailbox {
				seen[key] = true
				list = append(list, key)
			}
		}
	}
	return list
}

func split(owners string) []string { return syntax.Split(owners, syntax.Separators) }

// owns reports whether a mailbox is among the owners. Where no owner has a domain,
// logins are names alone.
func owns(owners []string, mailbox string) bool {
	local, _, _ := strings.Cut(mailbox, "@")
	short := !slices.ContainsFunc(owners, func(o string) bool { return strings.Contains(o, "@") })
	return slices.ContainsFunc(owners, func(o string) bool {
		return strings.EqualFold(o, mailbox) || short && strings.EqualFold(o, local)
	})
}

func (x *examination) reportWrong(wrong []stranger) {
	if len(wrong) == 0 {
		return
	}
	one, more := wrong[0], ""
	if len(wrong) > 1 {
		more = fmt.Sprintf("; the same is true of %d other mailboxes", len(wrong)-1)
	}
	x.report(finding.Finding{Code: "VD501", Severity: finding.Warning, At: places(wrong),
		Message: fmt.Sprintf("%s belongs to %s only: the login %s cannot send from its own address (not owned by user)%s",
			one.mailbox, strings.Join(one.owners, ", "), one.mailbox, more),
		Fix: fmt.Sprintf("add %s to the owners of %s", one.mailbox, one.mailbox)})
}

func places(list []stranger) []origin.At {
	var at []origin.At
	seen := map[string]bool{}
	for _, s := range list {
		if key := s.at.String(); !seen[key] && len(at) < finding.MaxPlaces {
			seen[key] = true
			at = append(at, s.at)
		}
	}
	return at
}

func (x *examination) reportWithout(without []stranger, at origin.At) {
	if len(without) == 0 {
		return
	}
	one, what := without[0].mailbox, "has"
	if len(without) > 1 {
		what = fmt.Sprintf("and %d other mailboxes have", len(without)-1)
	}
	x.report(finding.Finding{Code: "VD501", Severity: finding.Warning, At: []origin.At{at},
		Message: fmt.Sprintf("%s %s no owner in smtpd_sender_login_maps: who logs in as %s cannot send from that address (not owned by user)", one, what, one),
		Fix:     fmt.Sprintf("let smtpd_sender_login_maps answer %s with %s", one, one)})
}
