package mailboxes

import (
	"cmp"
	"errors"
	"fmt"
	system "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// identity is who would do something.
type identity struct {
	uid    int
	groups []int // the group, then the supplementary ones
}

// element is a file or directory on a way.
type element struct {
	path string
	st   unix.Stat_t
}

func (e *element) isDir() bool     { return e.st.Mode&unix.S_IFMT == unix.S_IFDIR }
func (e *element) isRegular() bool { return e.st.Mode&unix.S_IFMT == unix.S_IFREG }
func (e *element) isSocket() bool  { return e.st.Mode&unix.S_IFMT == unix.S_IFSOCK }

// String is "/var/vmail root:root 0755".
func (e *element) String() string {
	return fmt.Sprintf("%s %s:%s %04o", e.path, userName(int(e.st.Uid)), groupName(int(e.st.Gid)), e.st.Mode&0o7777)
}

func userName(uid int) string {
	if u, err := system.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func groupName(gid int) string {
	if g, err := system.LookupGroupId(strconv.Itoa(gid)); err == nil {
		return g.Name
	}
	return strconv.Itoa(gid)
}

// The bits of what may be done (path_resolution(7)).
const (
	search = 1
	write  = 2
)

// denied says of an element whether these bits are certainly not granted. An access
// control list (acl(5)) may grant what the mode does not show: then nothing is
// certain. Root may do everything.
func (id identity) denied(e *element, bits uint32) bool {
	mode := e.st.Mode
	switch {
	case id.uid == 0:
		return false
	case int(e.st.Uid) == id.uid:
		mode >>= 6
	case slices.Contains(id.groups, int(e.st.Gid)):
		mode >>= 3
	}
	return mode&bits != bits && !hasACL(e.path)
}

func hasACL(path string) bool {
	n, err := unix.Lgetxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}

// way is what lies between the root directory and a file.
type way struct {
	passed  []*element // directories, in the order in which they are entered
	end     *element   // what is there; nil: nothing
	missing string     // the first name that does not exist
	blocked *element   // not a directory, where one is needed
	outside string     // a symbolic link that leaves the directory it must stay in
}

// last is the directory in which the way ends.
func (w *way) last() *element { return w.passed[len(w.passed)-1] }

// errUnknown says that a way cannot be seen to its end.
var errUnknown = errors.New("cannot be looked at")

// maxLinks is how many symbolic links the kernel follows.
const maxLinks = 40

// views are what was seen of directories that many ways pass, each looked at once.
type views map[string]view

type view struct {
	element *element // nil: see err
	err     error
}

// maxViews is how many are kept. Neighbours stand beside each other in a table.
const maxViews = 4096

// look looks at what is there. What is kept is not looked at again.
func (v views) look(path string, keep bool) (*element, error) {
	if seen, ok := v[path]; ok {
		return seen.element, seen.err
	}
	e := &element{path: path}
	err := lstat(path, &e.st)
	if err != nil {
		e = nil
	}
	if keep && v != nil {
		if len(v) >= maxViews {
			clear(v)
		}
		v[path] = view{e, err}
	}
	return e, err
}

// climb is views.climb of somebody who goes one way only.
func climb(start, rel string, below bool) (way, error) { return views(nil).climb(start, rel, below) }

// climb goes from the directory start along a relative path. Where below is true
// the way must not leave start: what is stored in a mailbox goes only where
// symbolic links are relative and stay inside.
func (v views) climb(start, rel string, below bool) (way, error) {
	c := climber{views: v, start: start, at: start, below: below}
	c.names = split(rel)
	if err := c.enter(start); err != nil {
		return c.way, err
	}
	for len(c.names) > 0 && !c.over {
		if err := c.step(); err != nil {
			return c.way, err
		}
	}
	if !c.over {
		c.end = c.last()
	}
	return c.way, nil
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

// climber is on its way.
type climber struct {
	way
	views     views
	start, at string
	below     bool
	names     []string // still to go
	links     int
	via       string // the last symbolic link
	over      bool
}

// enter goes into a directory.
func (c *climber) enter(path string) error {
	e, err := c.views.look(path, false)
	if err != nil {
		return errUnknown
	}
	c.at, c.passed = path, append(c.passed, e)
	return nil
}

// step goes along one name.
func (c *climber) step() error {
	name := c.names[0]
	c.names = c.names[1:]
	if name == ".." {
		if c.below && c.at == c.start {
			c.over, c.outside = true, cmp.Or(c.via, c.at+"/..")
			return nil
		}
		return c.enter(filepath.Dir(c.at))
	}
	path := strings.TrimSuffix(c.at, "/") + "/" + name
	e, err := c.views.look(path, len(c.names) > 0)
	switch {
	case err == unix.ENOENT:
		c.over, c.missing = true, path
		return nil
	case err != nil:
		return errUnknown
	}
	switch {
	case e.st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return c.link(e.path)
	case e.isDir():
		c.at, c.passed = e.path, append(c.passed, e)
	case len(c.names) > 0:
		c.over, c.blocked = true, e
	default:
		c.over, c.end = true, e
	}
	return nil
}

// link follows a symbolic link.
func (c *climber) link(path string) error {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlink(path, buffer)
	if c.links++; err != nil || c.links > maxLinks {
		return errUnknown
	}
	target := string(buffer[:n])
	c.via = path
	c.names = append(split(target), c.names...)
	if !strings.HasPrefix(target, "/") {
		return nil
	}
	if c.below {
		c.over, c.outside = true, path
		return nil
	}
	return c.enter("/")
}

func lstat(path string, st *unix.Stat_t) error {
	for {
		if err := unix.Lstat(path, st); err != unix.EINTR {
			return err
		}
	}
}

// barrier is the first element of the way that the identity may not enter, nil when
// there is none.
func (w *way) barrier(id identity) *element {
	for _, e := range w.passed {
		if id.denied(e, search) {
			return e
		}
	}
	return nil
}

// String is every element of the way.
func (w *way) String() string {
	var list []string
	for _, e := range w.passed {
		list = append(list, e.String())
	}
	if w.end != nil && !w.end.isDir() {
		list = append(list, w.end.String())
	}
	return strings.Join(list, ", ")
}
