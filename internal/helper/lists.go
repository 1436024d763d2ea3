package helper

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/address"
	"postern/internal/privsep"
)

// members are the members of a list that need the rights of somebody: "|command",
// "/file", "~/file" and ":include:/file".
type members map[string]bool

const includeWord = ":include:"

// add takes the members of a text as package route takes them.
func (m members) add(list string) {
	if !strings.ContainsAny(list, "|/") {
		return // addresses
	}
	found, _ := address.ParseList(list) // what can be read counts
	for _, a := range found {
		name := a.Internal()
		switch {
		case len(name) >= len(includeWord) && strings.EqualFold(name[:len(includeWord)], includeWord):
			m[includeWord+strings.Trim(name[len(includeWord):], `" `)] = true
		case strings.HasPrefix(name, "|"):
			m[name] = true
		case strings.HasPrefix(name, "/"), strings.HasPrefix(name, "~/"):
			if name = path.Clean(name); name[0] == '/' || strings.HasPrefix(name, "~/") { // "~/.." leads out
				m[name] = true
			}
		}
	}
}

// parseMembers reads an :include: or .forward file.
func parseMembers(content []byte) members {
	m := members{}
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "#") {
			m.add(strings.TrimRight(line, "\r\n"))
		}
	}
	return m
}

// Kinds of lists, as allow_mail_to_commands and allow_mail_to_files name them.
const (
	kindAlias   = "alias"
	kindForward = "forward"
	kindInclude = "include"
)

// maxListSize bounds an :include: or .forward file, as for package route.
const maxListSize = 4 << 20

// maxListFiles bounds the files of one search.
const maxListFiles = 1000

// search looks in lists for a member that has the rights of one user.
type search struct {
	p    *Policy
	as   privsep.Runner
	want int // user id
	// is says whether a member of a list of this kind is the one.
	is   func(kind, member string) bool
	deep bool            // it may be in an :include: file
	seen map[string]bool // files that were read
}

func (p *Policy) search(as privsep.Runner, want int, deep bool, is func(kind, member string) bool) *search {
	return &search{p, as, want, is, deep, map[string]bool{}}
}

// anywhere looks in the .forward files of the user and in all alias files.
func (s *search) anywhere(ctx context.Context) bool {
	for _, u := range s.p.users(s.want) {
		for _, name := range s.p.forwards(s.as, &u) {
			if !s.first(name, u.UID) {
				continue
			}
			content, info, err := privsep.Files{As: s.as}.ReadFile(ctx, u.identity(), name, maxListSize)
			if err == nil && trusted(&u, &info) && s.in(ctx, kindForward, parseMembers(content), u.UID) {
				return true
			}
		}
	}
	for _, name := range s.p.Aliases {
		m, owner := s.p.texts.aliases(name)
		if s.in(ctx, kindAlias, m, owner) {
			return true
		}
	}
	return false
}

// first reports whether a file is still to be read: with these rights it was not
// read before, and there were not too many.
func (s *search) first(name string, owner int) bool {
	key := fmt.Sprintf("%d %s", owner, name)
	if s.seen[key] || len(s.seen) >= maxListFiles {
		return false
	}
	s.seen[key] = true
	return true
}

// worldWritable is a file that anybody may change.
const worldWritable = 0o002

// trusted says whether a .forward file counts, as package route has it.
func trusted(u *User, info *privsep.FileInfo) bool {
	return info.Regular && !info.Link && (info.UID == 0 || info.UID == u.UID) && info.Mode&worldWritable == 0
}

// in looks in a list that has the rights of owner, and in what it includes. For
// root it is default_privs. Files are read last.
func (s *search) in(ctx context.Context, kind string, m members, owner int) bool {
	rights := s.p.Default
	if owner > 0 {
		rights = s.p.identityOf(owner)
	}
	var files []string
	for member := range m {
		if rights.UID == s.want && s.is(kind, member) { // an :include: file is read with these rights too
			return true
		}
		if file, ok := strings.CutPrefix(member, includeWord); ok && path.IsAbs(file) {
			if _, reader := s.ofInclude(file, owner); reader.UID == s.want && s.is(kind, member) {
				return true
			}
			files = append(files, file)
		}
	}
	return s.deep && slices.ContainsFunc(files, func(file string) bool { return s.included(ctx, file, owner) })
}

// ofInclude is who owns the rights of an :include: file and who reads it. Where
// the list that names it is root's, that is the owner of the file.
func (s *search) ofInclude(file string, owner int) (int, privsep.Identity) {
	var st unix.Stat_t
	if owner == 0 && unix.Stat(file, &st) == nil {
		owner = int(st.Uid)
	}
	if owner == 0 {
		return 0, s.p.Default
	}
	return owner, s.p.identityOf(owner)
}

// included looks in an :include: file.
func (s *search) included(ctx context.Context, file string, owner int) bool {
	if !s.first(file, owner) {
		return false
	}
	owner, reader := s.ofInclude(file, owner)
	if s.p.identity(reader.UID, reader.GID) != nil {
		return false
	}
	content, info, err := privsep.Files{As: s.as}.ReadFile(ctx, reader, file, maxListSize)
	return err == nil && info.Mode&worldWritable == 0 && s.in(ctx, kindInclude, parseMembers(content), owner)
}

// identityOf is the first user with this number; nobody when there is none.
func (p *Policy) identityOf(uid int) privsep.Identity {
	for _, u := range p.users(uid) {
		return u.identity()
	}
	return privsep.Identity{}
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

// isForward reports whether a name is that of a .forward file of the user.
func (p *Policy) isForward(u *User, name string) bool {
	if path.Clean(name) != name {
		return false
	}
	for _, start := range p.forwardStarts(u) {
		if rest, ok := strings.CutPrefix(name, start); ok && !strings.Contains(rest, "/") {
			return true
		}
	}
	return false
}

// forwards are the names of the user's .forward files that there are.
func (p *Policy) forwards(as privsep.Runner, u *User) []string {
	var found []string
	for _, start := range p.forwardStarts(u) {
		dir, prefix := path.Split(start)
		for _, name := range namesAs(as, u.identity(), dir, prefix) {
			found = append(found, dir+name)
		}
	}
	return found
}

// namesAs lists names in a directory as somebody; none where that fails.
func namesAs(as privsep.Runner, id privsep.Identity, dir, prefix string) (found []string) {
	_ = as.Do(id, func() error {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		for len(found) < maxListFiles {
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
