package mailboxes

import (
	"context"
	"fmt"
	"path/filepath"

	"postern/internal/address"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/route"
)

// elsewhere are the parameters that take mail of local users away from their
// mailboxes.
var elsewhere = []string{"home_mailbox", "mailbox_transport", "mailbox_transport_maps", "mailbox_command", "mailbox_command_maps"}

// localSpool looks whether a mail_spool_directory that somebody chose is there.
func (x *examination) localSpool() []finding.Finding {
	s := x.i.Setup.Settings
	v := s.Value("mail_spool_directory")
	if !v.Set || s.String("mydestination") == "" {
		return nil
	}
	for _, name := range elsewhere {
		if s.Value(name).Raw != "" {
			return nil
		}
	}
	b := newJudge(true).base(filepath.Clean(v.Text))
	if !b.known || !b.gone {
		return nil
	}
	return []finding.Finding{{
		Code: "VD402", Severity: finding.Error, At: oneAt(v.At),
		Message: fmt.Sprintf("mail_spool_directory %s does not exist: mail for system users is returned; there is %s", v.Text, b.way.String()),
		Fix:     "mkdir " + v.Text + " && chown root:mail " + v.Text + " && chmod 2775 " + v.Text,
	}}
}

// localOf looks at the mailboxes of system users that one explained address comes
// to.
func (x *examination) localOf(ctx context.Context, e *explain.Explanation) []finding.Finding {
	var list []finding.Finding
	done := map[string]bool{}
	j := newJudge(x.i.Setup.Settings.Bool("strict_mailbox_ownership"))
	for _, r := range e.Recipients {
		if x.services[r.Transport] != "local" || done[r.Address] {
			continue
		}
		done[r.Address] = true
		targets, err := x.router.LocalTargets(ctx, address.Split(r.Address), nil)
		if err != nil {
			continue
		}
		for _, t := range targets {
			if t.Kind != route.LocalMailbox || t.Mailbox.File || t.Mailbox.User == "" {
				continue
			}
			if f, ok := x.local(j, &t.Mailbox); ok {
				list = append(list, f)
			}
		}
	}
	return list
}

// local judges the mailbox of a system user. Of a mail spool directory only whether
// it is there: it lends its group to the user.
func (x *examination) local(j *judge, box *route.Mailbox) (finding.Finding, bool) {
	parameter := "home_mailbox"
	var o *obstacle
	if x.i.Setup.Settings.String(parameter) != "" {
		o = j.mailbox(box)
	} else if parameter = "mail_spool_directory"; j.base(box.Base).known && j.base(box.Base).gone {
		o = &obstacle{baseMissing, box.Base, j.base(box.Base).way}
	}
	if o == nil {
		return finding.Finding{}, false
	}
	f := finding.Finding{Code: "VD402", Severity: finding.Error, At: oneAt(x.i.Setup.Settings.Value(parameter).At)}
	who := fmt.Sprintf("%s (uid %d, gid %d)", box.User, box.UID, box.GID)
	f.Message, f.Fix = o.ofUser(box.User)
	f.Message = fmt.Sprintf("the mailbox %s of %s cannot be %s; the way is %s", box.Display(), who, f.Message, o.way.String())
	return f, true
}

// ofUser says what keeps mail from a system user, what becomes of the mail, and the
// cure. local(8) returns what cannot be opened, and keeps what it will not write to.
func (o *obstacle) ofUser(user string) (message, fix string) {
	switch o.why {
	case baseMissing, parentAbsent:
		return "made: " + o.path + " does not exist: mail is returned", "make the directory " + o.path
	case noSearch, noWrite:
		return "written: " + o.path + " denies it: mail is returned", fmt.Sprintf("let %s write there: chown %s %s", user, user, o.path)
	case notDirectory:
		return "written: " + o.path + " is in the way: mail is returned", "move " + o.path + " away"
	default:
		return "written: " + o.path + " is in the way: mail waits", "move " + o.path + " away, or give it to " + user
	}
}
