package helper

import (
	"fmt"
	"slices"

	"postern/internal/privsep"
)

// Pipe is the program of a pipe(8) service.
type Pipe struct {
	UID, GID int // user= and its group, or group=
	// Fits says of a command whether it is that of the service.
	Fits func(argv []string) bool
}

// Numbers are the values of a table of numbers: virtual_gid_maps.
type Numbers struct {
	Known map[int]bool // those of main.cf itself: "static:5000"
	Files []string     // text files
	Any   bool         // there are other tables, which may say anything
}

// allows reports whether the tables may give a number. The text files are read
// again when they have changed.
func (n *Numbers) allows(texts *textFiles, number int) bool {
	return n.Any || n.Known[number] ||
		slices.ContainsFunc(n.Files, func(file string) bool { return texts.numbers(file)[number] })
}

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

// alone refuses groups besides the one: local(8) and pipe(8) give nobody others.
func (p *Policy) alone(id privsep.Identity) error {
	if err := p.identity(id.UID, append([]int{id.GID}, id.Groups...)...); err != nil {
		return err
	}
	for _, g := range id.Groups {
		if g != id.GID {
			return fmt.Errorf("gid %d besides gid %d: %w", g, id.GID, ErrRefused)
		}
	}
	return nil
}

// own refuses a group that is not the user's own in passwd(5), or that of
// default_privs.
func (p *Policy) own(uid, gid int) error {
	if uid == p.Default.UID && gid == p.Default.GID {
		return nil
	}
	if slices.ContainsFunc(p.users(uid), func(u User) bool { return p.rightsOf(&u).GID == gid }) {
		return nil
	}
	return fmt.Errorf("gid %d is not the group of uid %d: %w", gid, uid, ErrRefused)
}

// rightsOf are the rights of a user, with the group of default_privs in the place
// of root's, as package route has it.
func (p *Policy) rightsOf(u *User) privsep.Identity {
	id := privsep.Identity{UID: u.UID, GID: u.GID}
	if id.GID <= 0 {
		id.GID = p.Default.GID
	}
	return id
}

// identityOf is the first user with this number; nobody when there is none.
func (p *Policy) identityOf(uid int) privsep.Identity {
	for _, u := range p.users(uid) {
		return p.rightsOf(&u)
	}
	return privsep.Identity{}
}
