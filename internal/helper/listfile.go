package helper

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
)

// listFiles are the :include: and .forward files that were read. The zero value
// is ready.
type listFiles struct {
	mu    sync.Mutex
	known map[listKey]*listFile
	held  int // octets of known, about
}

// listKey is a file and who has read it: what one user may read is not told to
// another.
type listKey struct {
	name     string
	uid, gid int
}

// listFile is the content of a file.
type listFile struct {
	stamp   listStamp
	info    privsep.FileInfo
	members members
}

// listStamp changes with a file and with who may read it.
type listStamp struct {
	dev, inode        uint64
	size              int64
	modified, changed unix.Timespec
}

// Bounds of what is known. entryCost is what there is beside names.
const (
	maxKnown  = 32 << 20
	entryCost = 200
)

// read returns the file as somebody reads it. It is read again when it has
// changed, or when that cannot be found out.
func (c *listFiles) read(ctx context.Context, as privsep.Runner, id privsep.Identity, name string) (listFile, error) {
	key := listKey{name, id.UID, id.GID}
	stamp, stamped := stampOf(name)
	c.mu.Lock()
	known := c.known[key]
	c.mu.Unlock()
	if known != nil && stamped && known.stamp == stamp {
		return *known, nil
	}
	content, info, err := privsep.Files{As: as}.ReadFile(ctx, id, name, maxListSize)
	if err != nil {
		return listFile{}, err
	}
	fresh := &listFile{stamp, info, parseMembers(content)}
	if stamped {
		c.keep(key, fresh)
	}
	return *fresh, nil
}

// stampOf looks at a file with the rights of this process, which need not suffice
// on a remote file system.
func stampOf(name string) (listStamp, bool) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return listStamp{}, false
	}
	return listStamp{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, true
}

// keep adds a file to those that are known. When there is no room all others are
// forgotten.
func (c *listFiles) keep(key listKey, f *listFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.known[key]; old != nil {
		c.held -= cost(key, old)
	}
	if c.known == nil || c.held > maxKnown {
		c.known, c.held = map[listKey]*listFile{}, 0
	}
	c.known[key] = f
	c.held += cost(key, f)
}

// cost is what a known file takes of memory, about.
func cost(key listKey, f *listFile) int {
	n := entryCost + len(key.name)
	for _, m := range f.members {
		n += len(m) + 16
	}
	return n
}
