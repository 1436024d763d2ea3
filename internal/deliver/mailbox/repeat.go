package mailbox

import (
	"hash/crc32"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// findEarlier looks for a delivery of this message in new/ and cur/.
func (d *maildir) findEarlier(m *Message, stem string) (Receipt, error) {
	var want content // known once there is something to compare with
	for _, sub := range [...]string{"/new", "/cur"} {
		dir, err := beneathFlags(d.base, d.rel+sub, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return Receipt{}, d.failed("open maildir ", sub, err)
		}
		name, err := d.findIn(dir, stem, m, &want)
		unix.Close(dir)
		if err != nil {
			return Receipt{}, d.failed("search maildir ", sub, err)
		}
		if name != "" {
			name, _, _ = strings.Cut(name, ":") // what the spool wants to know is the name without flags
			return d.repeated(m, name, want), nil
		}
	}
	return Receipt{}, nil
}

// findIn returns the name of a whole file made for stem, or "".
func (d *maildir) findIn(dir int, stem string, m *Message, want *content) (string, error) {
	names, err := namesOf(dir, stem)
	if err != nil || len(names) == 0 {
		return "", err
	}
	if want.length == 0 {
		if *want, err = emit(-1, -1, m); err != nil {
			return "", err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return "", err
	}
	want.dev = st.Dev
	for _, name := range names {
		same, err := d.holds(dir, name, *want, m)
		if err != nil {
			return "", err
		}
		if same {
			return name, nil
		}
	}
	return "", nil
}

// namesOf lists the names in a directory that were made for stem.
func namesOf(dir int, stem string) ([]string, error) {
	fd, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "maildir")
	defer f.Close()
	var found []string
	for {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			if sameDelivery(name, stem) {
				found = append(found, name)
			}
		}
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// holds reports whether the file is whole: same length, same sum. A file that
// its owner has moved meanwhile cannot be looked at, and counts as damaged: one
// copy too many is better than none. When the delivery has to be durable, the
// file and its name are synced: the first attempt may have ended before.
func (d *maildir) holds(dir int, name string, want content, m *Message) (bool, error) {
	fd, err := openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() != want.length {
		return false, err
	}
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, f); err != nil || sum.Sum32() != want.crc {
		return false, err
	}
	if d.mustSync(want.dev, m) {
		if err := again(func() error { return unix.Fsync(fd) }); err != nil {
			return false, err
		}
		return true, syncDir(dir)
	}
	return true, nil
}

// repeated is the receipt of a delivery that was made before.
func (d *maildir) repeated(m *Message, name string, found content) Receipt {
	d.store.o.Log.Infof("%s: message is in %s already, as %s", m.ID, d.box.Path, name)
	r := d.receipt(m, name, found)
	r.Repeated = true
	if r.Applied != nil {
		r.Applied.Found = true
	}
	return r
}
