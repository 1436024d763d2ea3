package helper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

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

	Virtual     map[string]int // virtual_mailbox_base, with the virtual_minimum_uid there
	SpoolDirs   []string       // mail_spool_directory, without a final slash
	HomeMailbox []string       // home_mailbox
	// Forward are the beginnings of forward_path up to what depends on the
	// address: "$home/.forward".
	Forward []string
	// Trusted are the users that aliases let write anywhere and run anything:
	// default_privs and the owners of alias files.
	Trusted map[int]bool
	// Pipes are the programs of pipe(8) services, by the user they run as.
	Pipes map[int][]string
	// MailboxCommand: every system user runs mailbox_command.
	MailboxCommand bool
	Users          Users
}

// User is a system user.
type User struct {
	Name string
	UID  int
	Home string
}

// Users finds the system users with a user id, or all: AnyUser.
type Users func(uid int) []User

// AnyUser asks for all users.
const AnyUser = -1

// identity refuses who is nobody's mail to be delivered as.
func (p *Policy) identity(uid int, groups ...int) error {
	if uid <= 0 {
		return fmt.Errorf("uid %d: %w", uid, privsep.ErrRoot)
	}
	if uid == p.Owner.UID {
		return fmt.Errorf("uid %d is mail_owner: %w", uid, ErrRefused)
	}
	for _, g := range groups {
		switch {
		case g <= 0:
			return fmt.Errorf("gid %d: %w", g, privsep.ErrRoot)
		case g == p.Owner.GID || slices.Contains(p.Groups, g):
			return fmt.Errorf("gid %d is a group of the mail system: %w", g, ErrRefused)
		}
	}
	return nil
}

func (p *Policy) users(uid int) []User {
	if p.Users == nil {
		return nil
	}
	return p.Users(uid)
}

// mayStore allows mailboxes of virtual domains, of system users where the
// configuration puts them, and files that a trusted user or the user's own
// .forward file may name.
func (p *Policy) mayStore(ctx context.Context, as privsep.Runner, box *route.Mailbox) error {
	if err := p.identity(box.UID, box.GID); err != nil {
		return err
	}
	if minimum, ok := p.Virtual[box.Base]; ok && below(box.Base, box.Path) {
		if box.UID >= minimum {
			return nil
		}
		return fmt.Errorf("uid %d is below virtual_minimum_uid: %w", box.UID, ErrRefused)
	}
	if p.Trusted[box.UID] {
		return nil
	}
	for _, u := range p.users(box.UID) {
		if p.ownMailbox(&u, box) {
			return nil
		}
		for _, name := range [...]string{box.Path, "~/" + strings.TrimPrefix(box.Path, path.Clean(u.Home)+"/")} {
			if p.forwardSays(ctx, as, u, box.GID, name) {
				return nil
			}
		}
	}
	return fmt.Errorf("%s as uid %d: %w", box.Path, box.UID, ErrRefused)
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

// mayRun allows commands of trusted users, the programs of pipe services, and
// commands of system users when there is a mailbox_command or when a .forward
// file of theirs has a command.
func (p *Policy) mayRun(ctx context.Context, as privsep.Runner, s *command.Spec) error {
	if err := p.identity(s.As.UID, append([]int{s.As.GID}, s.As.Groups...)...); err != nil {
		return err
	}
	if p.Trusted[s.As.UID] || len(s.Argv) > 0 && slices.Contains(p.Pipes[s.As.UID], s.Argv[0]) {
		return nil
	}
	for _, u := range p.users(s.As.UID) {
		if p.MailboxCommand || p.forwardSays(ctx, as, u, s.As.GID, "|") {
			return nil
		}
	}
	return fmt.Errorf("a command as uid %d: %w", s.As.UID, ErrRefused)
}

// mayRead allows a trusted user to read anything, and a system user the own
// .forward files and what they name. Whether there is a file may be asked
// anywhere: that tells nothing that mail does not.
func (p *Policy) mayRead(ctx context.Context, as privsep.Runner, id privsep.Identity, name string, limit int64) error {
	if err := p.identity(id.UID, append([]int{id.GID}, id.Groups...)...); err != nil {
		return err
	}
	if !path.IsAbs(name) {
		return fmt.Errorf("%s is not an absolute path: %w", name, ErrRefused)
	}
	if p.Trusted[id.UID] || limit <= 0 {
		return nil
	}
	for _, u := range p.users(id.UID) {
		if p.isForward(&u, name) || p.forwardSays(ctx, as, u, id.GID, name) {
			return nil
		}
	}
	return fmt.Errorf("%s as uid %d: %w", name, id.UID, ErrRefused)
}

// forwardStarts are the beginnings of the names of a user's .forward files.
func (p *Policy) forwardStarts(u *User) []string {
	if !path.IsAbs(u.Home) {
		return nil
	}
	list := make([]string, len(p.Forward))
	for i, start := range p.Forward {
		list[i] = strings.NewReplacer("$home", path.Clean(u.Home), "$user", u.Name).Replace(start)
	}
	return list
}

func (p *Policy) isForward(u *User, name string) bool {
	if path.Clean(name) != name {
		return false
	}
	return slices.ContainsFunc(p.forwardStarts(u), func(start string) bool {
		rest, ok := strings.CutPrefix(name, start)
		return ok && !strings.Contains(rest, "/")
	})
}

// Bounds of a search in .forward files.
const (
	maxForwards    = 64
	maxForwardSize = 64 << 10
)

// forwardSays reports whether some .forward file of u contains the text.
func (p *Policy) forwardSays(ctx context.Context, as privsep.Runner, u User, gid int, text string) bool {
	id := privsep.Identity{UID: u.UID, GID: gid}
	for _, start := range p.forwardStarts(&u) {
		dir, prefix := path.Split(start)
		for _, name := range namesAs(as, id, dir, prefix) {
			content, _, err := privsep.Files{As: as}.ReadFile(ctx, id, dir+name, maxForwardSize)
			if err == nil && bytes.Contains(content, []byte(text)) {
				return true
			}
		}
	}
	return false
}

// namesAs lists names in a directory as somebody; none where that fails.
func namesAs(as privsep.Runner, id privsep.Identity, dir, prefix string) (found []string) {
	_ = as.Do(id, func() error {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		for len(found) < maxForwards {
			names, err := f.Readdirnames(256)
			for _, name := range names {
				if strings.HasPrefix(name, prefix) {
					found = append(found, name)
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return found
}

// mayOpen allows files that the configuration names, unless the server's own
// user could have put another file in the place.
func (p *Policy) mayOpen(name string) error {
	if !p.Files[name] {
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
