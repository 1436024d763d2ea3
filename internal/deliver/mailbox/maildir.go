package mailbox

import (
	"errors"

	"golang.org/x/sys/unix"

	"postern/internal/route"
	"postern/internal/spool"
)

// maxCopies bounds the names tried when earlier files of a name are damaged.
const maxCopies = 10

// earlyLength is the length of a file whose write-back is begun at once. Of such
// files a checkpoint would find so many octets to write that the syncs of the log
// have to wait for them.
const earlyLength = 32 << 10

// maildir is one delivery into a Maildir, running as its owner.
type maildir struct {
	store *Store
	box   *route.Mailbox
	base  int    // descriptor of the base directory
	rel   string // the Maildir below it
	tmp   int    // descriptors of tmp/ and new/
	new   int
}

// content is what identifies a file besides its name.
type content struct {
	dev    uint64
	length int64
	crc    uint32
}

func (d *maildir) deliver(m *Message) (Receipt, error) {
	stem, err := m.stem()
	if err != nil {
		return Receipt{}, err
	}
	if err := d.open(m.Durable); err != nil {
		return Receipt{}, err
	}
	defer unix.Close(d.tmp)
	defer unix.Close(d.new)
	if m.Attempt > 0 {
		receipt, err := d.findEarlier(m, stem)
		if receipt.Repeated || err != nil {
			return receipt, err
		}
	}
	name := fileName(stem, 0, d.store.host)
	made, err := d.write(m, name)
	if err != nil {
		return Receipt{}, err
	}
	return d.publish(m, stem, name, made)
}

// open opens tmp/ and new/, and makes the Maildir when it is not there.
func (d *maildir) open(durable bool) error {
	err := d.openDirs()
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := d.makeDirs(durable); err != nil {
		return err
	}
	return d.openDirs()
}

func (d *maildir) openDirs() (err error) {
	if d.tmp, err = beneath(d.base, d.rel+"/tmp"); err != nil {
		return d.failed("open maildir ", "/tmp", err)
	}
	if d.new, err = beneath(d.base, d.rel+"/new"); err != nil {
		unix.Close(d.tmp)
		return d.failed("open maildir ", "/new", err)
	}
	return nil
}

func (d *maildir) makeDirs(durable bool) error {
	if !durable {
		var st unix.Stat_t
		if err := unix.Fstat(d.base, &st); err != nil {
			return d.failed("create maildir ", "", err)
		}
		durable = d.store.mode(st.Dev, d.box.Base) == spool.Each
	}
	dir := -1
	err := makeBeneath(d.base, d.rel, durable)
	if err == nil {
		dir, err = beneath(d.base, d.rel)
	}
	if err != nil {
		return d.failed("create maildir ", "/tmp", err)
	}
	defer unix.Close(dir)
	for _, sub := range [...]string{"tmp", "new", "cur"} {
		if err := again(func() error { return unix.Mkdirat(dir, sub, 0o700) }); err != nil && err != unix.EEXIST {
			return d.failed("create maildir ", "/"+sub, err)
		}
	}
	if durable {
		if err := syncDir(dir); err != nil {
			return d.failed("sync maildir ", "", err)
		}
	}
	return nil
}

// write makes the file in tmp/. One that a crash has left there is replaced:
// nobody else makes this name.
func (d *maildir) write(m *Message, name string) (content, error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := openat(d.tmp, name, flags, 0o600)
	if err == unix.EEXIST {
		if err = unix.Unlinkat(d.tmp, name, 0); err == nil {
			fd, err = openat(d.tmp, name, flags, 0o600)
		}
	}
	if err != nil {
		return content{}, d.failed("create maildir file ", "/tmp/"+name, err)
	}
	made, err := d.fill(fd, m)
	if closed := unix.Close(fd); err == nil && closed != nil && closed != unix.EINTR {
		err = closed // NFS and quotas may tell here
	}
	if err != nil {
		d.discard(name)
		return content{}, failure("error writing message", err)
	}
	return made, nil
}

func (d *maildir) fill(fd int, m *Message) (content, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return content{}, err
	}
	room := d.store.room()
	if room >= 0 && int64(len(m.Header))+m.Body.Size() > room {
		return content{}, unix.EFBIG
	}
	made, err := emit(fd, room, m)
	made.dev = st.Dev
	switch {
	case err != nil:
	case d.mustSync(st.Dev, m):
		err = again(func() error { return unix.Fsync(fd) })
	case made.length >= earlyLength:
		_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) // a hint: the checkpoint's sync is what counts
	}
	return made, err
}

// emit writes the message to fd; with fd -1 it only says what it would write.
func emit(fd int, room int64, m *Message) (content, error) {
	out := newOutput(fd, room)
	defer out.release()
	out.Write(m.Header) // its error sticks
	out.readBody(m.Body)
	err := out.flush()
	return content{length: out.n, crc: out.crc}, err
}

// publish renames the file from tmp/ into new/. A name that exists there is an
// earlier delivery, or what a power cut left of it.
func (d *maildir) publish(m *Message, stem, name string, made content) (Receipt, error) {
	for copy := range maxCopies {
		to := fileName(stem, copy, d.store.host)
		err := d.rename(name, to)
		if err == nil {
			if d.mustSync(made.dev, m) {
				if err := syncDir(d.new); err != nil {
					return Receipt{}, d.failed("sync maildir ", "/new", err)
				}
			}
			return d.receipt(m, to, made), nil
		}
		if err != unix.EEXIST {
			d.discard(name)
			return Receipt{}, failure("create maildir file "+d.box.Path+"/new/"+to, err)
		}
		same, err := d.holds(d.new, to, made, m)
		if err != nil || same {
			d.discard(name)
			if err != nil {
				return Receipt{}, d.failed("read maildir file ", "/new/"+to, err)
			}
			return d.repeated(m, to, made), nil
		}
	}
	d.discard(name)
	return Receipt{}, refusal("4.2.0", "create maildir file "+d.box.Path+"/new/"+name+": too many damaged copies")
}

// rename moves a file from tmp/ into new/, never over another.
func (d *maildir) rename(from, to string) error {
	err := again(func() error {
		return unix.Renameat2(d.tmp, from, d.new, to, unix.RENAME_NOREPLACE)
	})
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	return d.link(from, to)
}

// link is rename for file systems that do not know the flag (NFS): a link is
// never made over an existing name.
func (d *maildir) link(from, to string) error {
	if err := again(func() error { return unix.Linkat(d.tmp, from, d.new, to, 0) }); err != nil {
		return err
	}
	d.discard(from)
	return nil
}

// discard removes the file in tmp/. What cannot be removed does no harm: the
// next attempt replaces it, and mail readers clear tmp/.
func (d *maildir) discard(name string) {
	if err := unix.Unlinkat(d.tmp, name, 0); err != nil && err != unix.ENOENT {
		d.store.o.Log.Warningf("remove %s/tmp/%s: %v", d.box.Path, name, err)
	}
}

func (d *maildir) mustSync(dev uint64, m *Message) bool {
	return m.Durable || d.store.mode(dev, d.box.Path) == spool.Each
}

func (d *maildir) receipt(m *Message, name string, made content) Receipt {
	if d.mustSync(made.dev, m) {
		return Receipt{}
	}
	return Receipt{Applied: &spool.Applied{
		Path:   d.box.Path + "/new/" + name,
		Dev:    made.dev,
		Length: made.length,
		CRC:    made.crc,
	}}
}

// failed names the place and classes the error.
func (d *maildir) failed(doing, sub string, err error) error {
	if errors.Is(err, unix.EXDEV) {
		return leaves(d.box.Path+sub, d.box.Base)
	}
	return failure(doing+d.box.Path+sub, err)
}
