package privsep

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LookupUser finds the identity of a system user, with all groups that the user
// belongs to. Root, and a user whose group is that of root, is refused; group 0
// among the others is left out.
func LookupUser(name string) (Identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return Identity{}, fmt.Errorf("user %s: %w", name, err)
	}
	id.UID, id.GID = uid, gid
	list, err := u.GroupIds()
	if err != nil {
		return Identity{}, fmt.Errorf("groups of user %s: %w", name, err)
	}
	for _, text := range list {
		if g, err := strconv.Atoi(text); err == nil && g > 0 {
			id.Groups = append(id.Groups, g)
		}
	}
	return id, id.check()
}

// LookupGroup finds the number of a system group.
func LookupGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// Denied says which directory on the way to a file somebody may not enter.
type Denied struct {
	Dir  string      // the directory
	Mode os.FileMode // its permissions
	UID  int         // its owner
	Err  error       // the kernel's word
}

func (e *Denied) Error() string {
	return fmt.Sprintf("directory %s (mode %04o, owner uid %d) may not be entered: %v", e.Dir, e.Mode.Perm(), e.UID, e.Err)
}

func (e *Denied) Unwrap() error { return e.Err }

// Reach looks whether id may enter all directories on the way to dir, and dir
// itself. The error is a *Denied where one of them denies it.
func Reach(as Runner, id Identity, dir string) error {
	names := []string{"/"}
	for i := 1; i <= len(dir); i++ {
		if i == len(dir) || dir[i] == '/' {
			names = append(names, dir[:i])
		}
	}
	if !filepath.IsAbs(dir) || strings.Contains(dir, "/../") {
		return fmt.Errorf("%q is no absolute path", dir)
	}
	for _, name := range names {
		err := as.Do(id, func() error { return enter(name) })
		if err == nil {
			continue
		}
		denied := &Denied{Dir: name, Err: err}
		if info, serr := os.Stat(name); serr == nil {
			denied.Mode = info.Mode()
			var st unix.Stat_t
			if unix.Stat(name, &st) == nil {
				denied.UID = int(st.Uid)
			}
		}
		return denied
	}
	return nil
}

// enter tries to look up a name in a directory, which is what the right to
// search it is for.
func enter(dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstatat(fd, ".", &st, 0)
}
