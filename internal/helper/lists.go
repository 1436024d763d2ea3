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
// "/file", "~/file" and ":include:/file". They are sorted and distinct.
type members []string

const includeWord = ":include:"

// memberList collects members.
type memberList struct{ found members }

// members are those that were added.
func (l *memberList) members() members {
	slices.Sort(l.found)
	return slices.Clip(slices.Compact(l.found))
}

// add takes the members of a text as package route takes them.
func (l *memberList) add(list string) {
	if !strings.ContainsAny(list, "|/") {
		return // addresses
	}
	found, _ := address.ParseList(list) // what can be read counts
	for _, a := range found {
		name := a.Internal()
		switch {
		case len(name) >= len(includeWord) && strings.EqualFold(name[:len(includeWord)], includeWord):
			l.found = append(l.found, includeWord+strings.Trim(name[len(includeWord):], `" `))
		case strings.HasPrefix(name, "|"):
			l.found = append(l.found, name)
		case strings.HasPrefix(name, "/"), strings.HasPrefix(name, "~/"):
			if name = path.Clean(name); name[0] == '/' || strings.HasPrefix(name, "~/") { // "~/.." leads out
				l.found = append(l.found, name)
			}
		}
	}
}

// parseMembers reads an :include: or .forward file.
func parseMembers(content []byte) members {
	var list memberList
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "#") {
			list.add(strings.TrimRight(line, "\r\n"))
		}
	}
	return list.members()
}

// Kinds of lists, as allow_mail_to_commands and allow_mail_to_files name them.
const (
	kindAlias   = "alias"
	kindForward = "forward"
	kindInclude = "include"
)

// maxListSize bounds an :include: or .forward file, as for package route.
const maxListSize = 4 << 20

// Bounds of one search. The depth is that of package route. What a file
// costs is its size, and fileCost at least; to name one costs namingCost.
const (
	maxListDepth = 100       // lists that include one another
	maxSearch    = 128 << 20 // cost of all lists
	fileCost     = 4 << 10
	namingCost   = 256
	maxForwards  = 10000 // .forward files of a user
)

// search looks in lists for a member that has the rights of one user.
type search struct {
	p    *Policy
	as   privsep.Runner
	want int // user id
	// is says whether a member of a list of this kind is the one.
	is    func(kind, member string) bool
	deep  bool            // it may be in an :include: file
	seen  map[naming]bool // files that were looked at
	next  []include       // :include: files that are to be read
	spent int64           // cost of the lists that were read
	cut   bool            // a bound was reached
}

// naming is a file that a list with the rights of somebody names.
type naming struct {
	file  string
	owner int
}

// include is an :include: file: who reads it, and whose rights its members have.
type include struct {
	file   string
	owner  int
	reader privsep.Identity
}

func (p *Policy) search(as privsep.Runner, want int, deep bool, is func(kind, member string) bool) *search {
	return &search{p: p, as: as, want: want, is: is, deep: deep, seen: map[naming]bool{}}
}

// anywhere looks in the .forward files of the user and in all alias files, and
// then in what they include, the nearest first.
func (s *search) anywhere(ctx context.Context) bool {
	for _, u := range s.p.users(s.want) {
		for _, name := range s.forwards(&u) {
			if !s.first(name, u.UID) {
				continue
			}
			m, info, ok := s.read(ctx, s.p.rightsOf(&u), name)
			if ok && trusted(&u, &info) && s.in(kindForward, m, u.UID) {
				return true
			}
		}
	}
	for _, name := range s.p.Aliases {
		if m, owner := s.p.texts.aliases(name); s.in(kindAlias, m, owner) {
			return true
		}
	}
	for depth := 0; len(s.next) > 0; depth++ {
		if depth == maxListDepth {
			s.cut = true
			return false
		}
		level := s.next
		s.next = nil
		if slices.ContainsFunc(level, func(f include) bool { return s.included(ctx, f) }) {
			return true
		}
	}
	return false
}

// shortfall says that not all lists were looked at; "" where they were.
func (s *search) shortfall() string {
	if !s.cut {
		return ""
	}
	return fmt.Sprintf(" among those that are searched: %d MiB of lists, %d lists deep, %d .forward files", maxSearch>>20, maxListDepth, maxForwards)
}

// first reports whether a file is still to be read with these rights.
func (s *search) first(name string, owner int) bool {
	key := naming{name, owner}
	if s.seen[key] {
		return false
	}
	s.seen[key] = true
	return true
}

// read reads the members of a list as somebody. Where nothing has changed since
// that somebody read it last, they are known.
func (s *search) read(ctx context.Context, id privsep.Identity, name string) (members, privsep.FileInfo, bool) {
	if s.spent >= maxSearch {
		s.cut = true
		return nil, privsep.FileInfo{}, false
	}
	l, err := s.p.lists.read(ctx, s.as, id, name)
	s.spent += max(fileCost, min(l.info.Size, maxListSize))
	return l.members, l.info, err == nil
}

// worldWritable is a file that anybody may change.
const worldWritable = 0o002

// trusted says whether a .forward file counts, as package route has it.
func trusted(u *User, info *privsep.FileInfo) bool {
	return info.Regular && !info.Link && (info.UID == 0 || info.UID == u.UID) && info.Mode&worldWritable == 0
}

// in looks in a list that has the rights of owner, and notes what it includes.
// For root it is default_privs.
func (s *search) in(kind string, m members, owner int) bool {
	rights := s.p.Default
	if owner > 0 {
		rights = s.p.identityOf(owner)
	}
	for _, member := range m {
		if rights.UID == s.want && s.is(kind, member) { // an :include: file is read with these rights too
			return true
		}
		file, ok := strings.CutPrefix(member, includeWord)
		if !ok || !path.IsAbs(file) {
			continue
		}
		if s.spent >= maxSearch { // commands may still stand behind the files
			s.cut = true
			continue
		}
		if !s.first(file, owner) {
			continue
		}
		s.spent += namingCost
		f := s.include(file, owner)
		if f.reader.UID == s.want && s.is(kind, member) {
			return true
		}
		if s.deep {
			s.next = append(s.next, f)
		}
	}
	return false
}

// include finds out who owns the rights of an :include: file and who reads it.
// Where the list that names it is root's, that is the owner of the file.
func (s *search) include(file string, owner int) include {
	var st unix.Stat_t
	if owner == 0 && unix.Stat(file, &st) == nil {
		owner = int(st.Uid)
	}
	if owner == 0 {
		return include{file, 0, s.p.Default}
	}
	return include{file, owner, s.p.identityOf(owner)}
}

// included looks in an :include: file.
func (s *search) included(ctx context.Context, f include) bool {
	if s.p.identity(f.reader.UID, f.reader.GID) != nil {
		return false
	}
	m, info, ok := s.read(ctx, f.reader, f.file)
	return ok && info.Mode&worldWritable == 0 && s.in(kindInclude, m, f.owner)
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
func (s *search) forwards(u *User) []string {
	var found []string
	for _, start := range s.p.forwardStarts(u) {
		dir, prefix := path.Split(start)
		names := namesAs(s.as, s.p.rightsOf(u), dir, prefix)
		s.cut = s.cut || len(names) >= maxForwards
		for _, name := range names {
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
