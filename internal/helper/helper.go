package helper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/spool"
)

// maxLinks bounds the connections of one server.
const maxLinks = 1024

// Options make a Helper. All fields but Commands are required.
type Options struct {
	As privsep.Runner // who does the work as somebody else
	// Policy reads the configuration and says what the server may ask for.
	Policy   func() (*Policy, error)
	Commands command.Runner // nil: no commands are run
}

// Helper does what the server asks for. It is one per server.
type Helper struct {
	o       Options
	control *link                  // the server's control socket
	policy  atomic.Pointer[Policy] // in force
	next    atomic.Pointer[Policy] // of a reload that may still be refused; nil: there is none
	log     string                 // maillog_file, which counts at the start
	devices devices

	mu     sync.Mutex
	stores map[string]*mailbox.Store // by their encoded options
	links  map[*link]bool            // connections
	lost   int                       // log lines that found no room

	workers sync.WaitGroup
}

// New returns a Helper for the server behind the control socket, which it takes
// over. The error is that of the policy.
func New(control int, o Options) (*Helper, error) {
	h := &Helper{o: o, control: newLink(control), stores: map[string]*mailbox.Store{}, links: map[*link]bool{}}
	p, err := o.Policy()
	if err == nil {
		h.log = p.Log
		h.policy.Store(p)
	}
	return h, err
}

// Serve carries out requests until the server is gone or ctx ends. Then
// commands that run are killed, and what else is under way is finished.
func (h *Helper) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = unix.Shutdown(h.control.fd, unix.SHUT_RDWR) })
	defer stop()
	err := h.accept(ctx)
	cancel()
	h.mu.Lock()
	for l := range h.links {
		_ = unix.Shutdown(l.fd, unix.SHUT_RD)
	}
	h.mu.Unlock()
	h.workers.Wait()
	h.devices.close()
	h.control.close()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// accept takes the connections that the server makes.
func (h *Helper) accept(ctx context.Context) error {
	for {
		_, _, fd, err := h.control.receiveFile()
		if err != nil {
			return err
		}
		if fd < 0 {
			return errFrame
		}
		l := newLink(fd)
		if ctx.Err() != nil || !h.add(l) {
			l.close()
			continue
		}
		h.workers.Go(func() {
			defer h.remove(l)
			w := worker{helper: h, link: l}
			// The end of a connection has no reader but the server, who knows.
			_ = w.serve(ctx)
		})
	}
}

func (h *Helper) add(l *link) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.links) >= maxLinks {
		return false
	}
	h.links[l] = true
	return true
}

func (h *Helper) remove(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.links, l)
	l.close()
}

// maxStores bounds the stores that are kept; reloads make new ones.
const maxStores = 64

// store returns the store with the encoded options.
func (h *Helper) store(encoded []byte) (*mailbox.Store, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.stores[string(encoded)]; s != nil {
		return s, nil
	}
	f := fields{b: encoded}
	so := f.storeOptions()
	if err := f.end(); err != nil {
		return nil, err
	}
	o := mailbox.Options{As: h.o.As, Hostname: so.Hostname, Limit: so.Limit, Locks: so.Locks, Timing: so.Timing,
		StrictOwner: so.StrictOwner, Log: &logger{h, so.Log}, Lend: h.mayLend}
	if so.SyncEach {
		o.Mode = func(string) spool.Mode { return spool.Each }
	}
	if len(h.stores) >= maxStores {
		clear(h.stores)
	}
	s := mailbox.New(o)
	h.stores[string(encoded)] = s
	return s, nil
}

// logger sends log lines to the server. A line that finds no room is lost, and
// the next one says so: the helper waits for nobody.
type logger struct {
	h   *Helper
	log string
}

func (l *logger) Infof(format string, args ...any)    { l.line(false, format, args) }
func (l *logger) Warningf(format string, args ...any) { l.line(true, format, args) }

func (l *logger) line(warning bool, format string, args []any) {
	text := fmt.Sprintf(format, args...)
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.h.lost > 0 {
		text = fmt.Sprintf("%s (%d lines before were lost)", text, l.h.lost)
	}
	b := appendLine(nil, warning, l.log, text)
	if err := unix.Sendto(l.h.control.fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil); err != nil {
		l.h.lost++
		return
	}
	l.h.lost = 0
}

// devices are file systems that are kept open, so that their sync reports the
// errors since then.
type devices struct {
	mu   sync.Mutex
	open map[uint64]*os.File
}

// maxDevices bounds the file systems that are kept open.
const maxDevices = 256

// keep opens the file system of a directory unless it is open already.
func (d *devices) keep(dir *os.File, number uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[number] != nil {
		return dir.Close()
	}
	if len(d.open) >= maxDevices {
		return errors.Join(unix.EMFILE, dir.Close())
	}
	if d.open == nil {
		d.open = map[uint64]*os.File{}
	}
	d.open[number] = dir
	return nil
}

// sync makes all files of a file system durable.
func (d *devices) sync(number uint64) error {
	d.mu.Lock()
	f := d.open[number]
	d.mu.Unlock()
	if f == nil {
		return unix.ENODEV
	}
	return again(func() error { return unix.Syncfs(int(f.Fd())) })
}

func (d *devices) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.open {
		f.Close()
	}
	clear(d.open)
}

// again calls f until it was not interrupted by a signal.
func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
