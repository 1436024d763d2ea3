package route

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"postern/internal/address"
)

// user delivers to the mailbox of a system user, or says who takes mail for
// users that do not exist.
func (e *localExpansion) user(ctx context.Context, name string) error {
	base, ext, _ := e.r.delimiter.Split(name)
	u, ok, err := e.r.users.Lookup(ctx, base)
	if err != nil {
		return &DeliveryError{DSN: "4.3.0", Reason: "user database unavailable", Temporary: true, Err: err}
	}
	if ok {
		box := e.r.userMailbox(u)
		if u.UID == 0 || u.GID == 0 {
			// As the agent would say: nothing is written as root.
			return &DeliveryError{DSN: "4.3.5", Reason: "cannot update mailbox " + box.Path + " for user " + u.Name +
				". mail is not delivered with the rights of root: name a person in the alias for " + u.Name, Temporary: true}
		}
		e.tr.add("deliver", "", e.recipient.Internal(), box.Display(), first(nil))
		e.add(LocalTarget{Kind: LocalMailbox, Mailbox: box})
		return nil
	}
	return e.unknown(ctx, base, ext)
}

// userMailbox is home_mailbox, or the user's file below mail_spool_directory.
func (r *Router) userMailbox(u User) Mailbox {
	box := Mailbox{UID: u.UID, GID: u.GID, User: u.Name, Format: Mbox}
	if r.p.homeMailbox != "" {
		box.Base, box.Path = u.Home, filepath.Join(u.Home, r.p.homeMailbox)
		if strings.HasSuffix(r.p.homeMailbox, "/") {
			box.Format = Maildir
		}
		return box
	}
	box.Base, box.Path = filepath.Clean(r.p.spoolDirectory), filepath.Join(r.p.spoolDirectory, u.Name)
	if strings.HasSuffix(r.p.spoolDirectory, "/") {
		box.Format = Maildir
	}
	return box
}

// unknown is the end of a name that is neither alias nor user.
func (e *localExpansion) unknown(ctx context.Context, name, ext string) error {
	if e.r.p.luserRelay != "" {
		a, err := e.complete(e.luser(name, ext))
		if err != nil {
			return err
		}
		if !a.Equal(e.recipient) {
			to, here, err := e.place(ctx, a)
			if err != nil {
				return err
			}
			if target := address.Fold(to.Local); !here || target != name {
				e.tr.add("expand", "luser_relay", e.recipient.Internal(), to.Internal(), first(nil))
				if here {
					return e.name(ctx, target, true, 1)
				}
				e.forward(to)
				return nil
			}
		}
	}
	if address.IsSpecialLocal(name, "") {
		e.r.log.Warningf("required alias not found: %s", name)
		e.add(LocalTarget{Kind: LocalDiscard, Reason: "discarded"})
		return nil
	}
	return &DeliveryError{DSN: "5.1.1", Reason: fmt.Sprintf("unknown user: %q", name)}
}

// luser fills in luser_relay: $user, $local, $domain, $recipient,
// $extension, $recipient_delimiter, also as ${name}, $(name), ${name?text if it
// is not empty} and ${name:text if it is}.
func (e *localExpansion) luser(name, ext string) string {
	delimiter := ext
	if ext == "" {
		delimiter = e.r.delimiter.Set
	}
	delimiter = delimiter[:min(1, len(delimiter))]
	values := map[string]string{
		"user": name, "local": name + ext, "domain": e.recipient.Domain,
		"recipient": address.Address{Local: name + ext, Domain: e.recipient.Domain}.Internal(),
		"extension": strings.TrimPrefix(ext, delimiter), "recipient_delimiter": delimiter,
	}
	return os.Expand(strings.NewReplacer("$(", "${", ")", "}").Replace(e.r.p.luserRelay), func(text string) string {
		name, conditional := text, ""
		if i := strings.IndexAny(text, "?:"); i >= 0 {
			name, conditional = text[:i], text[i+1:]
		}
		value := values[strings.Trim(name, " ")]
		switch {
		case len(name) == len(text):
			return value
		case (text[len(name)] == '?') == (value != ""):
			return conditional
		}
		return ""
	})
}
