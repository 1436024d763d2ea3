package route

import (
	"context"
	"strings"
	"syscall"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/privsep"
)

// needRights reports whether a list names something that is done with the
// rights of somebody: a command, a file, another list.
func needRights(members []address.Address) bool {
	for _, m := range members {
		if m.Local != "" && strings.IndexByte("|/~:", m.Local[0]) >= 0 {
			return true
		}
	}
	return false
}

// aliasOwner is whose rights the commands and files of an alias have: those of
// the owner of the table's source. Root stands for default_privs, and so does a
// table that is no file.
func (e *localExpansion) aliasOwner(ctx context.Context, at origin.At) (User, error) {
	if at.File == "" {
		return User{}, nil
	}
	st, err := e.r.stat(at.File)
	if err != nil {
		return User{}, nil
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || sys.Uid == 0 {
		return User{}, nil
	}
	u, ok, err := e.r.users.LookupID(ctx, int(sys.Uid))
	if err != nil || !ok {
		e.r.log.Warningf("cannot find alias database owner for %v: no user has the id %d", at, sys.Uid)
		return u, &DeliveryError{DSN: "4.3.0", Reason: "cannot find alias database owner", Temporary: true, Err: err}
	}
	return u, nil
}

// identity is what a command, file or list is used as: the rights of the scope,
// with those of default_privs in the place of root's.
func (e *localExpansion) identity(ctx context.Context, rights User) (privsep.Identity, error) {
	id := privsep.Identity{UID: rights.UID, GID: rights.GID}
	if id.UID > 0 && id.GID > 0 {
		return id, nil
	}
	u, ok, err := e.r.users.Lookup(ctx, e.r.p.defaultPrivs)
	switch {
	case err != nil:
		return id, &DeliveryError{DSN: "4.3.0", Reason: "user database unavailable", Temporary: true, Err: err}
	case !ok || u.UID <= 0 || u.GID <= 0:
		e.r.log.Warningf("default_privs = %s: no such user without the rights of root", e.r.p.defaultPrivs)
		return id, misconfigured(nil)
	}
	if id.UID <= 0 {
		id.UID = u.UID
	}
	if id.GID <= 0 {
		id.GID = u.GID
	}
	return id, nil
}

// misconfigured makes the recipient wait until somebody has read the log.
func misconfigured(err error) *DeliveryError {
	return &DeliveryError{DSN: "4.3.5", Reason: "mail system configuration error", Temporary: true, Err: err}
}
