package route

import (
	"context"
	"errors"
	"path"

	"golang.org/x/sys/unix"

	"postern/internal/macro"
	"postern/internal/origin"
	"postern/internal/privsep"
)

// dotForward delivers to what a user's .forward file names, the first that
// exists of forward_path, and reports whether there was anything in it. A user
// who is named in the own file gets the mail into the mailbox.
func (e *localExpansion) dotForward(ctx context.Context, s scope) (bool, error) {
	if len(e.r.p.forwardPath) == 0 && !e.r.p.requireHome {
		return false, nil
	}
	u, ok, err := e.r.users.Lookup(ctx, s.user)
	if err != nil {
		return false, noUsers(err)
	}
	if !ok {
		return false, nil // who takes mail for unknown users is asked later
	}
	if err := e.homeIsThere(ctx, u); err != nil {
		return false, err
	}
	name, content, s, err := e.findForward(ctx, s, u)
	if err != nil || name == "" {
		return false, err
	}
	switch key := "forward " + name; e.lists[key] {
	case listOpen:
		return false, nil
	case listDone:
		return true, nil
	default:
		e.lists[key] = listOpen
		found := e.forwardTo(ctx, s, u, name, content)
		if found {
			e.lists[key] = listDone
		}
		return found, nil
	}
}

func noUsers(err error) error {
	return &DeliveryError{DSN: "4.3.0", Reason: "user database unavailable", Temporary: true, Err: err}
}

// forwardTo delivers to the members of a .forward file. What is on the way here
// may come once more inside of it: an alias of a user may be in that user's
// file, and means the mailbox.
func (e *localExpansion) forwardTo(ctx context.Context, s scope, u User, name, content string) (found bool) {
	s.source, s.from, s.owner, s.rights = "forward", s.name, s.user, u
	s.depth++
	if !e.r.p.frozenDeliveredTo {
		s.delivered = s.addr
	}
	outer := e.expanding
	e.expanding = map[string]bool{}
	defer func() { e.expanding = outer }()
	for line := range e.lines(name, content) {
		found = true
		e.tr.lookedUp("forward_path", name, &line.at.Text, line.at)
		e.members(ctx, s, line.members)
	}
	return found
}

// homeIsThere makes mail wait for a home directory (require_home_directory).
func (e *localExpansion) homeIsThere(ctx context.Context, u User) error {
	if !e.r.p.requireHome || u.UID == 0 {
		return nil
	}
	_, _, err := e.r.files.ReadFile(ctx, privsep.Identity{UID: u.UID, GID: u.GID}, u.Home, 0)
	if err == nil {
		return nil
	}
	return &DeliveryError{DSN: "4.3.0", Reason: "cannot access home directory " + u.Home + ": " + err.Error(), Temporary: true, Err: err}
}

// findForward looks for the user's file. The scope it returns has lost the
// extension when the name of the file contains it, or when it does not go on
// (propagate_unmatched_extensions).
func (e *localExpansion) findForward(ctx context.Context, s scope, u User) (name, content string, _ scope, _ error) {
	for _, pattern := range e.r.p.forwardPath {
		matched := false
		name, complete, err := macro.Expand(pattern, e.forwardMacros(s, u, &matched))
		if err != nil {
			e.r.log.Warningf("forward_path: %v", err)
		}
		if err != nil || !complete || !path.IsAbs(name) {
			continue
		}
		text, info, err := e.r.files.ReadFile(ctx, privsep.Identity{UID: u.UID, GID: u.GID}, name, maxList)
		if err != nil {
			e.tr.lookedUp("forward_path", name, nil, origin.At{})
			if !isAbsent(err) {
				e.r.log.Warningf("file %s: %v", name, err)
				return "", "", s, &DeliveryError{DSN: "4.3.0", Reason: "cannot read file " + name, Temporary: true, Err: err}
			}
			if errors.Is(err, unix.EACCES) {
				e.r.log.Warningf("cannot open file %s: %v", name, err)
			}
			continue
		}
		s.unmatched = ""
		if ext := s.name[len(s.user):]; !matched && e.r.p.propagate["forward"] {
			s.unmatched = ext
		}
		if !e.trusted(name, u, info) || int64(len(text)) < info.Size {
			return "", "", s, nil
		}
		return name, string(text), s, nil
	}
	return "", "", s, nil
}

// trusted refuses a file that somebody else may have made.
func (e *localExpansion) trusted(name string, u User, info privsep.FileInfo) bool {
	switch {
	case !info.Regular || info.Link:
		e.r.log.Warningf("file %s is not a regular file", name)
	case info.UID != 0 && info.UID != u.UID:
		e.r.log.Warningf("file %s has bad owner uid %d", name, info.UID)
	case info.Mode&worldWritable != 0:
		e.r.log.Warningf("file %s is world writable", name)
	case info.Size > maxList:
		e.r.log.Warningf("file %s is larger than %d octets", name, maxList)
	default:
		return true
	}
	return false
}

// forwardMacros are those of forward_path; matched is set when $extension is
// used.
func (e *localExpansion) forwardMacros(s scope, u User, matched *bool) macro.Lookup {
	values := e.macros(s, u, e.r.p.forwardFilter)
	return func(name string, test bool) (string, bool) {
		if name == "extension" && !test {
			*matched = true
		}
		return values(name, test)
	}
}
