package helper

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
)

// TestOpenLog: in a directory of mail_owner the log is opened with mail_owner's
// rights, and nothing else than a file.
func TestOpenLog(t *testing.T) {
	dir := home(t)
	uid, gid := somebody()
	owner := privsep.Identity{UID: uid, GID: gid}
	c := connect(t, &Policy{Owner: owner, Log: dir + "/mail.log"})
	for _, want := range []string{"one\n", "one\ntwo\n"} { // made, and opened again
		f, err := c.OpenLog(dir + "/mail.log")
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(want[len(want)-4:])
		if got, rerr := os.ReadFile(dir + "/mail.log"); err != nil || rerr != nil || string(got) != want {
			t.Errorf("the log has %q, %v, %v; want %q", got, err, rerr, want)
		}
		f.Close()
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/mail.log", &st); err != nil || int(st.Uid) != uid || st.Mode&0o7777 != 0o640 {
		t.Errorf("the log belongs to %d, mode %o, %v", st.Uid, st.Mode&0o7777, err)
	}
	for name, lay := range map[string]func(name string) error{
		"link":      func(name string) error { return os.Symlink(dir+"/mail.log", name) },
		"directory": func(name string) error { return os.Mkdir(name, 0o777) },
		"fifo":      func(name string) error { return unix.Mkfifo(name, 0o666) },
		"closed":    func(name string) error { return os.WriteFile(name, nil, 0o400) }, // root's, when root runs the test
	} {
		name = dir + "/" + name
		if err := lay(name); err != nil {
			t.Fatal(err)
		}
		f, err := OpenLog(privsep.New(), owner, name)
		if err == nil {
			f.Close()
			t.Errorf("OpenLog(%s) opened it", name)
		}
	}
	// A fifo that is read from can be opened, and is no file.
	reader, err := unix.Open(dir+"/fifo", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reader)
	if err := os.Chmod(dir+"/fifo", 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLog(privsep.New(), owner, dir+"/fifo"); !errors.Is(err, errNotRegular) {
		t.Errorf("OpenLog of a fifo = %v, want %v", err, errNotRegular)
	}
	if _, err := OpenLog(privsep.New(), owner, dir+"/no/mail.log"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("OpenLog below no directory = %v, want %v", err, unix.ENOENT)
	}
	if os.Geteuid() == 0 {
		stranger := privsep.Identity{UID: 0, GID: 0}
		if _, err := OpenLog(privsep.New(), stranger, dir+"/mail.log"); !errors.Is(err, privsep.ErrRoot) {
			t.Errorf("OpenLog as root = %v, want %v", err, privsep.ErrRoot)
		}
	}
}
