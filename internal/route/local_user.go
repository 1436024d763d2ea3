package route

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"postern/internal/address"
	"postern/internal/macro"
	"postern/internal/table"
)

// mailbox delivers to a name that is no alias: by mailbox_transport, or to the
// command or mailbox of a system user, or as for users that do not exist.
func (e *localExpansion) mailbox(ctx context.Context, s scope) error {
	if !e.once("mailbox", s.name) {
		return nil
	}
	if done, err := e.transport(ctx, s, "mailbox_transport", e.r.p.mailboxTransport); done || err != nil {
		return err
	}
	u, ok, err := e.r.users.Lookup(ctx, s.user)
	if err != nil {
		return noUsers(err)
	}
	if !ok {
		return e.unknown(ctx, s)
	}
	line, err := e.userCommand(ctx, s)
	if err != nil {
		return err
	}
	if line != "" {
		s.rights = u
		return e.command(ctx, s, line)
	}
	box := e.r.userMailbox(u)
	if u.UID == 0 || u.GID == 0 {
		// As the agent would say: nothing is written as root.
		return &DeliveryError{DSN: "4.3.5", Reason: "cannot update mailbox " + box.Path + " for user " + u.Name +
			". mail is not delivered with the rights of root: name a person in the alias for " + u.Name, Temporary: true}
	}
	if !e.r.p.frozenDeliveredTo && box.Format == Mbox {
		s.delivered = s.addr
	}
	e.tr.add("deliver", "", e.recipient.Internal(), box.Display(), first(nil))
	e.add(s, LocalTarget{Kind: LocalMailbox, Mailbox: box})
	return nil
}

// transport hands over to another transport: the one of the user in PARAMETER_maps,
// else PARAMETER itself.
func (e *localExpansion) transport(ctx context.Context, s scope, parameter, otherwise string) (bool, error) {
	value, err := e.perUser(ctx, s, parameter+"_maps", otherwise)
	if err != nil || value == "" {
		return false, err
	}
	transport, next, _ := strings.Cut(value, ":")
	e.tr.add("transport", parameter, s.addr.Internal(), value, first(nil))
	e.add(s, LocalTarget{Kind: LocalTransport, Transport: transport, NextHop: next})
	return true, nil
}

// perUser is the row of the user in a table, or otherwise.
func (e *localExpansion) perUser(ctx context.Context, s scope, parameter, otherwise string) (string, error) {
	maps := e.r.maps[parameter]
	if maps.Empty() {
		return otherwise, nil
	}
	found, err := maps.Find(ctx, table.OnlyKey(s.user), e.tr.observer())
	switch {
	case errors.Is(err, table.ErrNotFound):
		return otherwise, nil
	case err != nil:
		e.r.fail(s.user, parameter, err)
		return "", &DeliveryError{DSN: "4.3.0", Reason: "table lookup failure", Temporary: true, Err: err}
	}
	return found.Value, nil
}

func (e *localExpansion) userCommand(ctx context.Context, s scope) (string, error) {
	return e.perUser(ctx, s, "mailbox_command_maps", e.r.p.mailboxCommand)
}

// command gives the message to a program.
func (e *localExpansion) command(ctx context.Context, s scope, line string) error {
	id, err := e.identity(ctx, s.rights)
	if err != nil {
		return err
	}
	if !e.once("command", fmt.Sprintf("%s:%d %s", s.user, id.UID, line)) {
		return nil
	}
	dir, _, err := macro.Expand(e.r.p.executionDirectory, e.macros(s, s.rights, e.r.p.directoryFilter))
	if err != nil {
		e.r.log.Warningf("command_execution_directory: %v", err)
		return misconfigured(err)
	}
	e.tr.add("deliver", "", e.recipient.Internal(), "|"+line, first(nil))
	e.add(s, LocalTarget{Kind: LocalCommand, Command: Command{
		Line: line, UID: id.UID, GID: id.GID, Dir: dir,
		User: s.user, Local: s.name, Domain: address.Fold(s.addr.Domain), Extension: s.ext,
		Home: s.rights.Home, Shell: s.rights.Shell,
	}})
	return nil
}

// file stores the message in a file or Maildir that a list names: /file/name,
// or ~/file/name below the home directory of those whose rights it has.
func (e *localExpansion) file(ctx context.Context, s scope, text string) error {
	name := text
	if rest, ok := strings.CutPrefix(text, "~"); ok {
		fault := ""
		switch {
		case !strings.HasPrefix(rest, "/"):
			fault = "bad home directory syntax for: " + text
		case s.rights.Home == "":
			fault = "unknown home directory for: " + text
		}
		if fault != "" {
			e.r.log.Warningf("%s", fault)
			return &DeliveryError{DSN: "5.3.5", Reason: "mail system configuration error", Err: errors.New(fault)}
		}
		name = strings.TrimSuffix(s.rights.Home, "/") + rest
	}
	if !e.r.p.allowFiles[s.source] {
		return &DeliveryError{DSN: "5.7.1", Reason: "mail to file is restricted"}
	}
	if path.Clean(name) == "/dev/null" {
		e.add(s, LocalTarget{Kind: LocalDiscard, Reason: "delivered to file: " + name})
		return nil
	}
	id, err := e.identity(ctx, s.rights)
	if err != nil || !e.once("file", fmt.Sprintf("%d %s", id.UID, name)) {
		return err
	}
	e.tr.add("deliver", "", e.recipient.Internal(), name, first(nil))
	box := Mailbox{Path: path.Clean(name), Format: Mbox, UID: id.UID, GID: id.GID, User: s.user, File: true}
	box.Base = path.Dir(box.Path)
	if strings.HasSuffix(name, "/") {
		box.Format = Maildir
	}
	e.add(s, LocalTarget{Kind: LocalMailbox, Mailbox: box})
	return nil
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
func (e *localExpansion) unknown(ctx context.Context, s scope) error {
	if done, err := e.transport(ctx, s, "fallback_transport", e.r.p.fallbackTransport); done || err != nil {
		return err
	}
	if done, err := e.luserRelay(ctx, s); done || err != nil {
		return err
	}
	if address.IsSpecialLocal(s.user, "") {
		e.r.log.Warningf("required alias not found: %s", s.user)
		e.add(s, LocalTarget{Kind: LocalDiscard, Reason: "discarded"})
		return nil
	}
	return &DeliveryError{DSN: "5.1.1", Reason: fmt.Sprintf("unknown user: %q", s.user)}
}

// luserRelay delivers to luser_relay, unless that leads back to the same name.
func (e *localExpansion) luserRelay(ctx context.Context, s scope) (bool, error) {
	if e.r.p.luserRelay == "" {
		return false, nil
	}
	text, _, err := macro.Expand(e.r.p.luserRelay, e.macros(s, User{}, ""))
	if err != nil {
		e.r.log.Warningf("luser_relay: %v", err)
		return false, misconfigured(err)
	}
	a, err := e.complete(text)
	if err != nil {
		return false, err
	}
	if a.Equal(s.addr) {
		return false, nil
	}
	to, here, err := e.place(ctx, a)
	if err != nil || here && address.Fold(to.Local) == s.user {
		return false, err
	}
	e.tr.add("expand", "luser_relay", s.addr.Internal(), to.Internal(), first(nil))
	s.unmatched = ""
	s.depth++
	if here {
		return true, e.name(ctx, s, to, true)
	}
	e.forward(s, to)
	return true, nil
}

// macros are the values of local(8) for forward_path, luser_relay and
// command_execution_directory. Characters that are not in filter become '_';
// an empty filter lets all pass.
func (e *localExpansion) macros(s scope, u User, filter string) macro.Lookup {
	return func(name string, _ bool) (value string, ok bool) {
		switch name {
		case "user":
			value = s.user
		case "local", "mailbox":
			value = s.name
		case "domain":
			value = address.Fold(s.addr.Domain)
		case "recipient":
			value = s.addr.Internal()
		case "extension":
			value = s.ext
		case "recipient_delimiter":
			value = s.name[len(s.user):] + e.r.delimiter.Set
			value = value[:min(1, len(value))]
		case "home":
			value = u.Home
		case "shell":
			value = u.Shell
		}
		if filter == "" {
			return value, value != ""
		}
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune(filter, r) {
				return r
			}
			return '_'
		}, value), value != ""
	}
}
