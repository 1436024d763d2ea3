package helper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/address"
	"postern/internal/deliver/command"
	"postern/internal/privsep"
	"postern/internal/route"
)

// ErrRefused is the class of errors for what the configuration gives no reason
// to do.
var ErrRefused = errors.New("not allowed by the configuration")

// Policy is what the server may ask for. The helper makes it of main.cf and
// master.cf itself, whatever the server says. The zero Policy allows nothing.
type Policy struct {
	// Owner is the server's own user (mail_owner), and Groups are groups with
	// rights in the mail system (setgid_group). Nothing is ever done as one of
	// them, as local(8) and pipe(8) have it.
	Owner  privsep.Identity
	Groups []int

	// Listeners are networks with addresses: "tcp4 127.0.0.1:25". A unix socket
	// is made for the server's user alone.
	Listeners map[string]bool
	Files     map[string]bool // that may be read, absolute and cleaned
	Log       string          // maillog_file; "": there is none

	// Directories are those of certificates (smtp_tls_CApath): the files in them
	// may be read too.
	Directories map[string]bool

	Virtual     map[string]int // virtual_mailbox_base, with the virtual_minimum_uid there
	VirtualGIDs Numbers        // virtual_gid_maps
	SpoolDirs   []string       // mail_spool_directory, without a final slash
	HomeMailbox []string       // home_mailbox
	// Forward are the beginnings of forward_path up to what depends on the
	// address: "$home/.forward".
	Forward []string
	Aliases []string         // text files of alias_maps
	Default privsep.Identity // default_privs: whose rights the lists of root have
	// Trusted are the users whose rights are given away by tables that are no
	// text: they may write anywhere and run anything.
	Trusted map[int]bool
	// MailToCommands and MailToFiles are allow_mail_to_commands and
	// allow_mail_to_files: "alias", "forward", "include".
	MailToCommands, MailToFiles map[string]bool

	Pipes           []Pipe
	MailboxCommands []string        // mailbox_command
	CommandMaps     []string        // text files of mailbox_command_maps
	AnyCommand      bool            // mailbox_command_maps has other tables: every system user may run anything
	Shells          []string        // local_command_shell; "" where it is not set
	Environment     map[string]bool // "NAME=value" that commands get
	Filters         []string        // command_expansion_filter
	WorkDirs        map[string]bool // where commands run: queue_directory, directory= of pipe services

	Users Users
	texts textFiles
	lists listFiles
}

// User is a system user.
type User struct {
	Name        string
	UID, GID    int
	Home, Shell string
}

// Users finds the system users with a user id, or all: AnyUser.
type Users func(uid int) []User

// AnyUser asks for all users.
const AnyUser = -1

func (p *Policy) users(uid int) []User {
	if p.Users == nil {
		return nil
	}
	return p.Users(uid)
}

// mayStore allows mailboxes of virtual domains, of system users where the
// configuration puts them, and files that a list names with the rights of the
// user.
func (p *Policy) mayStore(ctx context.Context, as privsep.Runner, box *route.Mailbox) error {
	if err := p.identity(box.UID, box.GID); err != nil {
		return err
	}
	if minimum, ok := p.Virtual[box.Base]; ok && below(box.Base, box.Path) {
		switch {
		case box.UID < minimum:
			return fmt.Errorf("uid %d is below virtual_minimum_uid: %w", box.UID, ErrRefused)
		case !p.VirtualGIDs.allows(&p.texts, box.GID):
			return fmt.Errorf("gid %d is not in virtual_gid_maps: %w", box.GID, ErrRefused)
		}
		return nil
	}
	if err := p.own(box.UID, box.GID); err != nil {
		return err
	}
	if p.Trusted[box.UID] {
		return nil
	}
	names := []string{path.Clean(box.Path)}
	for _, u := range p.users(box.UID) {
		if p.ownMailbox(&u, box) {
			return nil
		}
		if rest, ok := strings.CutPrefix(names[0], path.Clean(u.Home)+"/"); ok {
			names = append(names, "~/"+rest)
		}
	}
	s := p.search(as, box.UID, p.MailToFiles[kindInclude], func(kind, member string) bool {
		return p.MailToFiles[kind] && slices.Contains(names, member)
	})
	if s.anywhere(ctx) {
		return nil
	}
	return fmt.Errorf("%s as uid %d: no list names that file%s: %w", box.Path, box.UID, s.shortfall(), ErrRefused)
}

// ownMailbox reports whether box is where u gets mail.
func (p *Policy) ownMailbox(u *User, box *route.Mailbox) bool {
	for _, dir := range p.SpoolDirs {
		if box.Base == dir && path.Clean(box.Path) == path.Join(dir, u.Name) {
			return true
		}
	}
	return path.Clean(box.Base) == path.Clean(u.Home) && slices.Contains(p.homeMailboxes(u), path.Clean(box.Path))
}

// mayLend says whether the directory of a mailbox lends its group to the user:
// mail_spool_directory does, for the mailbox that the user has in it.
func (p *Policy) mayLend(box *route.Mailbox, gid int) bool {
	if p.identity(box.UID, gid) != nil || !slices.Contains(p.SpoolDirs, box.Base) {
		return false
	}
	return slices.ContainsFunc(p.users(box.UID), func(u User) bool {
		return u.Name == box.User && path.Clean(box.Path) == path.Join(box.Base, u.Name)
	})
}

// homeMailboxes are the places of home_mailbox of a user.
func (p *Policy) homeMailboxes(u *User) []string {
	home := path.Clean(u.Home)
	if !path.IsAbs(home) || home == "/" {
		return nil
	}
	list := make([]string, len(p.HomeMailbox))
	for i, name := range p.HomeMailbox {
		list[i] = path.Join(home, name)
	}
	return list
}

// mayRun allows the programs of pipe services with their arguments, and command
// lines that mailbox_command or a list has with the rights of the user.
func (p *Policy) mayRun(ctx context.Context, as privsep.Runner, s *command.Spec) error {
	if err := p.alone(s.As); err != nil {
		return err
	}
	users := p.users(s.As.UID)
	if err := p.surroundings(s, users); err != nil {
		return err
	}
	for _, pipe := range p.Pipes {
		if pipe.UID == s.As.UID && pipe.GID == s.As.GID && pipe.Fits(s.Argv) {
			return nil
		}
	}
	if err := p.own(s.As.UID, s.As.GID); err != nil {
		return err
	}
	if p.Trusted[s.As.UID] || p.AnyCommand && len(users) > 0 {
		return nil
	}
	for _, u := range users {
		if slices.ContainsFunc(p.mailboxCommands(&u), func(line string) bool { return p.runs(s, line) }) {
			return nil
		}
	}
	lists := p.search(as, s.As.UID, p.MailToCommands[kindInclude], func(kind, member string) bool {
		line, ok := strings.CutPrefix(member, "|")
		return ok && p.MailToCommands[kind] && p.runs(s, line)
	})
	if lists.anywhere(ctx) {
		return nil
	}
	return fmt.Errorf("this command as uid %d: no list or parameter has it%s: %w", s.As.UID, lists.shortfall(), ErrRefused)
}

// mailboxCommands are the command lines that may take mail for u's mailbox.
func (p *Policy) mailboxCommands(u *User) []string {
	list := p.MailboxCommands
	for _, file := range p.CommandMaps {
		list = slices.Concat(list, p.texts.commands(file, address.FoldASCII(u.Name)))
	}
	return list
}

// runs reports whether a program is what becomes of a command line.
func (p *Policy) runs(s *command.Spec, line string) bool {
	return slices.ContainsFunc(p.Shells, func(shell string) bool { return command.Runs(s.Argv, line, shell) })
}

// told are the variables by which local(8) tells a command about its message.
// Their values come from outside and are as command_expansion_filter leaves them.
var told = []string{"LOGNAME", "USER", "SENDER", "RECIPIENT", "LOCAL", "DOMAIN", "EXTENSION", "ORIGINAL_RECIPIENT"}

// surroundings refuses an environment and a working directory that make another
// program of a command: a library to load, a file of start commands.
func (p *Policy) surroundings(s *command.Spec, users []User) error {
	for _, entry := range s.Env {
		name, value, _ := strings.Cut(entry, "=")
		values := []string{value}
		switch {
		case p.Environment[entry]:
			continue
		case slices.Contains(told, name):
		case name == "HOME" || name == "SHELL":
			values = nil
			for _, u := range users {
				values = append(values, map[string]string{"HOME": u.Home, "SHELL": u.Shell}[name])
			}
		default:
			return fmt.Errorf("a command with %s in its environment: %w", name, ErrRefused)
		}
		if !slices.ContainsFunc(values, func(v string) bool {
			return slices.ContainsFunc(p.Filters, func(allowed string) bool { return command.Censor(v, allowed) == value })
		}) {
			return fmt.Errorf("a command with this %s in its environment: %w", name, ErrRefused)
		}
	}
	switch {
	case p.WorkDirs[s.Dir]:
		return nil
	case !path.IsAbs(s.Dir):
		return fmt.Errorf("a command in %q: %w", s.Dir, ErrRefused)
	}
	return p.notOurs(path.Join(s.Dir, "file")) // command_execution_directory
}

// mayRead allows a user to read the own .forward files and the :include: files of
// lists with the user's rights. Whether there is a file may be asked anywhere:
// that tells nothing that mail does not.
func (p *Policy) mayRead(ctx context.Context, as privsep.Runner, id privsep.Identity, name string, limit int64) error {
	if err := p.alone(id); err != nil {
		return err
	}
	if err := p.own(id.UID, id.GID); err != nil {
		return err
	}
	if !path.IsAbs(name) {
		return fmt.Errorf("%s is not an absolute path: %w", name, ErrRefused)
	}
	if p.Trusted[id.UID] || limit <= 0 {
		return nil
	}
	for _, u := range p.users(id.UID) {
		if p.isForward(&u, name) {
			return nil
		}
	}
	s := p.search(as, id.UID, true, func(_, member string) bool { return member == includeWord+name })
	if s.anywhere(ctx) {
		return nil
	}
	return fmt.Errorf("%s as uid %d: no list names it%s: %w", name, id.UID, s.shortfall(), ErrRefused)
}

// mayOpen allows files that the configuration names, unless the server's own
// user could have put another file in the place.
func (p *Policy) mayOpen(name string) error {
	if !p.Files[name] && !p.Directories[name] && (!p.Directories[path.Dir(name)] || path.Clean(name) != name) {
		return fmt.Errorf("%s: %w", name, ErrRefused)
	}
	return p.notOurs(name)
}

// notOurs refuses a name in a directory of the server's own user, who could make
// a link to anything of it.
func (p *Policy) notOurs(name string) error {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		if int(st.Uid) == p.Owner.UID {
			return fmt.Errorf("%s is in a directory of mail_owner: %w", name, ErrRefused)
		}
		if dir == "/" {
			return nil
		}
	}
}

// mailBase is the base directory of a mailbox path.
func (p *Policy) mailBase(name string) (string, error) {
	if !path.IsAbs(name) || path.Clean(name) != name {
		return "", fmt.Errorf("%s is no cleaned absolute path: %w", name, ErrRefused)
	}
	for _, base := range slices.Concat(slices.Collect(maps.Keys(p.Virtual)), p.SpoolDirs) {
		if base == name || below(base, name) {
			return base, nil
		}
	}
	if len(p.HomeMailbox) > 0 {
		for _, u := range p.users(AnyUser) {
			for _, box := range p.homeMailboxes(&u) {
				if box == name || below(box, name) {
					return path.Clean(u.Home), nil
				}
			}
		}
	}
	return "", fmt.Errorf("%s is below no directory of mailboxes: %w", name, ErrRefused)
}

// below reports whether a cleaned name lies below base.
func below(base, name string) bool {
	name = path.Clean(name)
	return base != "" && name != base && strings.HasPrefix(name, strings.TrimSuffix(base, "/")+"/")
}
