package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/maillog"
	"postern/internal/metrics"
	"postern/internal/privsep"
)

// Check looks whether a server would start, or reload, with the settings: it
// makes all parts of them and throws them away, and looks at mail_owner, the
// directories, and, unless a server runs, the addresses to listen on. It changes
// nothing. The error joins what a start would refuse; warn is told of the rest, as
// the server would log it.
//
// It reads with the rights of the caller. A database of sqlite: that mail_owner may
// not read is found by the server only.
func Check(ctx context.Context, v *config.Settings, running bool, warn func(text string)) error {
	quiet := maillog.Options{Name: v.String("syslog_name"), Socket: "/nonexistent", Stderr: io.Discard}
	log, err := maillog.Open(quiet)
	if err != nil {
		return err
	}
	defer log.Close()
	log.Tap(func(_, text string) { warn(text) })
	s := &Server{o: Options{Dir: v.Dir()}, log: log, main: log.Program("postern"), hostname: v.String("myhostname"),
		runner: privsep.New(), metrics: metrics.New(Version)}
	s.warn(v)
	errs := []error{checkQueueDirectory(v, s.runner, warn), checkLog(v)}
	if !running {
		errs = append(errs, checkControl(v))
	}
	g, err := s.generate(ctx, v)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer g.tables.Close()
	return errors.Join(append(errs, s.checkListeners(g, running))...)
}

// checkQueueDirectory looks whether the server can have its directory.
func checkQueueDirectory(v *config.Settings, as privsep.Runner, warn func(text string)) error {
	fail := func(err error) error {
		return fmt.Errorf("%v: queue_directory: %w", v.Value("queue_directory").At, err)
	}
	queue, dir := v.String("queue_directory"), spoolDirectory(v)
	if info, err := os.Stat(queue); err == nil && info.Mode()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
		warn("group or other writable: " + queue)
	}
	there, err := existing(dir)
	if err != nil {
		return fail(err)
	}
	separated := os.Geteuid() == 0 && v.Bool("privilege_separation")
	if !separated {
		if err := mayWrite(there); err != nil {
			return fail(err)
		}
		return nil
	}
	owner, err := mailOwner(v)
	if err != nil {
		return err
	}
	if there == dir {
		if err := belongs(v, dir, owner); err != nil {
			return fail(err)
		}
	}
	return reach(v, as, owner, there)
}

// existing is dir, or the nearest directory above it that is there.
func existing(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is not a directory", dir)
		case err == nil:
			return dir, nil
		case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) || dir == filepath.Dir(dir):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

// mayWrite looks whether this process may make files in a directory.
func mayWrite(dir string) error { return may(dir, unix.W_OK|unix.X_OK) }

func may(name string, rights uint32) error {
	if err := unix.Faccessat(unix.AT_FDCWD, name, rights, unix.AT_EACCESS); err != nil {
		return &os.PathError{Op: "write to", Path: name, Err: err}
	}
	return nil
}

// belongs refuses a directory of the server that somebody else made.
func belongs(v *config.Settings, dir string, owner privsep.Identity) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if st.Uid != 0 && int(st.Uid) != owner.UID {
		return somebodys(v, dir, st.Uid)
	}
	return nil
}

// mayTakeOver keeps a server that runs as root off the directory of a user's server,
// who could not start his any more.
func mayTakeOver(v *config.Settings, dir string) error {
	owner, err := privsep.LookupUser(v.String("mail_owner"))
	if err != nil {
		owner.UID = 0
	}
	return belongs(v, dir, owner)
}

// somebodys is the error of a directory of the server that somebody else made.
func somebodys(v *config.Settings, dir string, uid uint32) error {
	return fmt.Errorf("%s belongs to uid %d, neither root nor %s (mail_owner): start the server as that user, or chown -R it", dir, uid, v.String("mail_owner"))
}

// checkLog looks whether the log could be written.
func checkLog(v *config.Settings) error {
	name := v.String("maillog_file")
	if name == "" {
		return nil
	}
	err := may(name, unix.W_OK)
	if errors.Is(err, os.ErrNotExist) {
		err = mayWrite(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("%v: maillog_file: %w", v.Value("maillog_file").At, err)
	}
	return nil
}

// checkControl looks whether the control socket could be made.
func checkControl(v *config.Settings) error {
	dir := filepath.Dir(ControlSocket(v))
	if dir == spoolDirectory(v) {
		return nil // which the server makes
	}
	if err := mayWrite(dir); err != nil {
		return fmt.Errorf("%v: control_socket: %w", v.Value("control_socket").At, err)
	}
	return nil
}

// checkListeners opens the sockets of a generation for a moment. Those of a server
// that runs are in use.
func (s *Server) checkListeners(g *generation, running bool) error {
	want, err := wanted(g)
	if err != nil || running {
		return err
	}
	for key := range want {
		if strings.HasPrefix(key, "unix ") {
			delete(want, key)
		}
	}
	sockets, err := newListeners(s).bind(want)
	for _, socket := range sockets {
		defer socket.Close()
	}
	return errors.Join(err, checkMetrics(g.settings))
}

// checkMetrics looks whether metrics_listen could be listened on.
func checkMetrics(v *config.Settings) (err error) {
	spec := v.String("metrics_listen")
	var l net.Listener
	switch path, isUnix := strings.CutPrefix(spec, "unix:"); {
	case spec == "":
		return nil
	case isUnix:
		err = mayWrite(filepath.Dir(path))
	default:
		if l, err = metrics.Listen(spec); err == nil {
			err = l.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("%v: metrics_listen: %w", v.Value("metrics_listen").At, listenHint(err))
	}
	return nil
}
