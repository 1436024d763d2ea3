package route

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/privsep"
)

// includeWord begins a member that names a file with more members.
const includeWord = ":include:"

// maxList bounds the size of an :include: or .forward file.
const maxList = 4 << 20

// worldWritable is a file that anybody may change.
const worldWritable = 0o002

// include delivers to the members of a file, which may include others. Other
// users among them get a message of their own.
func (e *localExpansion) include(ctx context.Context, s scope, name string) error {
	name = strings.Trim(name, `" `)
	key := fmt.Sprintf("include %d %s", s.rights.UID, name)
	if s.depth > maxAliasDepth || e.lists[key] == listOpen {
		return &DeliveryError{DSN: "5.4.6", Reason: "alias database loop for :include:" + name}
	}
	if e.lists[key] == listDone {
		return nil
	}
	content, s, err := e.readInclude(ctx, s, name)
	if err != nil {
		return err
	}
	s.source = "include"
	s.depth++
	if s.owner == "" {
		s.owner = s.addr.Internal()
	}
	if !e.r.p.propagate["include"] {
		s.unmatched = ""
	}
	e.lists[key] = listOpen
	for line := range e.lines(name, content) {
		e.members(ctx, s, line.members)
	}
	e.lists[key] = listDone
	return nil
}

// readInclude reads an :include: file with the rights of the list that names
// it, or of its owner where that list is root's. In the latter case what the
// file names has the rights of its owner too: root's list does not lend its own.
func (e *localExpansion) readInclude(ctx context.Context, s scope, name string) (string, scope, error) {
	refused := func(why string, err error) (string, scope, error) {
		e.r.log.Warningf(":include:%s: %s", name, why)
		return "", s, &DeliveryError{DSN: "5.3.5", Reason: "mail system configuration error", Err: err}
	}
	if !path.IsAbs(name) {
		return refused("need an absolute path", nil)
	}
	id, err := e.identity(ctx, s.rights)
	if err != nil {
		return "", s, err
	}
	_, info, err := e.r.files.ReadFile(ctx, id, name, 0)
	var content []byte
	if err == nil {
		content, _, err = e.r.files.ReadFile(ctx, id, name, maxList)
	}
	if s.rights.UID == 0 && info.UID > 0 {
		var failed error
		if s.rights, id, failed = e.listOwner(ctx, name, info.UID); failed != nil {
			return "", s, failed
		}
		if errors.Is(err, unix.EACCES) {
			content, info, err = e.r.files.ReadFile(ctx, id, name, maxList)
		}
	}
	switch {
	case err != nil && !isAbsent(err) || errors.Is(err, unix.EACCES) && s.rights.UID == 0:
		// Postfix would read it as root.
		e.r.log.Warningf(":include:%s: %v, as %v", name, err, id)
		return "", s, misconfigured(err)
	case err != nil:
		return refused(err.Error(), err)
	case !info.Regular:
		return refused("not a regular file", nil)
	case info.Mode&worldWritable != 0:
		return refused("is world writable", nil)
	case int64(len(content)) < info.Size || info.Size > maxList:
		return refused(fmt.Sprintf("larger than %d octets", len(content)), nil)
	}
	return string(content), s, nil
}

// listOwner is the user whose number a file has.
func (e *localExpansion) listOwner(ctx context.Context, name string, uid int) (User, privsep.Identity, error) {
	u, ok, err := e.r.users.LookupID(ctx, uid)
	if err != nil || !ok {
		e.r.log.Warningf("%s: cannot find :include: file owner username for uid %d", name, uid)
		return u, privsep.Identity{}, misconfigured(err)
	}
	id, err := e.identity(ctx, u)
	return u, id, err
}

// isAbsent reports whether an error means that there is no such file for that
// user. Of all others one cannot say, and mail has to wait.
func isAbsent(err error) bool {
	for _, why := range [...]error{unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.EPERM, unix.ELOOP, unix.ENAMETOOLONG,
		privsep.ErrRoot} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

// listLine is a line of a list with its members.
type listLine struct {
	at      origin.At
	members []address.Address
}

// lines yields the lines of an :include: or .forward file that name somebody:
// members as in aliases(5), except that lines which begin with '#' do not count.
func (e *localExpansion) lines(name, content string) func(yield func(listLine) bool) {
	return func(yield func(listLine) bool) {
		number := 0
		for text := range strings.Lines(content) {
			number++
			if text = strings.TrimRight(text, "\r\n"); strings.HasPrefix(text, "#") {
				continue
			}
			at := origin.At{File: name, Line: number, Text: text}
			members, err := address.ParseList(text)
			if err != nil {
				e.r.log.Warningf("%v: %v", at, err)
			}
			if len(members) > 0 && !yield(listLine{at, members}) {
				return
			}
		}
	}
}
