package mailbox

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/spool"
)

// Logger takes what an administrator should see besides the result.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Options make a Store. All fields but As and Hostname may be zero.
type Options struct {
	As       privsep.Runner // who does the work as the owner of the mailbox
	Hostname string         // in Maildir names; gethostname, as for Postfix
	// Limit is the largest file: an mbox, or a single message in a Maildir; 0
	// is no limit (virtual_mailbox_limit, mailbox_size_limit).
	Limit       int64
	Locks       Locks // of an mbox (virtual_mailbox_lock, mailbox_delivery_lock); zero: fcntl and dotlock
	Timing      LockTiming
	StrictOwner bool // strict_mailbox_ownership
	// Mode says whether deliveries below a path have to be synced one by one
	// (mailbox_sync). It is asked once for each device; nil: spool.SyncMode.
	Mode func(path string) spool.Mode
	// Lend says whether the directory of an mbox, a mail spool directory, may lend
	// its group to the user while the file is written; nil: it never does.
	Lend func(box *route.Mailbox, gid int) bool
	Now  func() time.Time // nil: time.Now
	// Sleep waits for a lock and returns early with the error of ctx; nil: by
	// the clock.
	Sleep func(ctx context.Context, d time.Duration) error
	Log   Logger // nil: nothing is logged
}

// Deliverer stores messages in mailboxes. A Store does it in this process; the
// client of the helper process has it done there.
type Deliverer interface {
	Deliver(ctx context.Context, box route.Mailbox, m *Message) (Receipt, error)
}

var (
	_ Deliverer = (*Store)(nil)
	_ Batcher   = (*Store)(nil)
)

// Store writes into mailboxes. It is safe for concurrent use.
type Store struct {
	o     Options
	host  string
	boxes turns

	mu    sync.RWMutex
	modes map[uint64]spool.Mode // by device
}

// New returns a Store. It panics when there is no Runner: without one nobody
// could be the owner of anything.
func New(o Options) *Store {
	if o.As == nil {
		panic("mailbox: Options.As is missing")
	}
	if o.Locks == 0 {
		o.Locks = LockFcntl | LockDot
	}
	o.Timing = o.Timing.withDefaults()
	if o.Mode == nil {
		o.Mode = spool.SyncMode
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Log == nil {
		o.Log = silent{}
	}
	return &Store{o: o, host: hostInName(o.Hostname), modes: make(map[uint64]spool.Mode)}
}

// Deliver stores the message in the mailbox, as the owner of the mailbox. The
// error is an *Error, or that of ctx when it ended while the mailbox was locked
// by others.
func (s *Store) Deliver(ctx context.Context, box route.Mailbox, m *Message) (Receipt, error) {
	rel, err := relative(box.Base, box.Path)
	if err != nil {
		return Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	if box.Format == route.Mbox {
		return s.deliverMbox(ctx, &box, rel, m)
	}
	var receipt Receipt
	err = s.as(s.identity(&box, rel), func() error {
		base, err := openBase(box.Base)
		if err != nil {
			return err
		}
		defer unix.Close(base)
		d := maildir{store: s, box: &box, base: base, rel: rel}
		receipt, err = d.deliver(m)
		return err
	})
	if err != nil {
		s.warn(&box, err)
	}
	return receipt, err
}

// DeliverAll implements Batcher. Maildirs of one owner and base that follow each
// other are written without a change of identity between them.
func (s *Store) DeliverAll(ctx context.Context, list []Delivery) []Outcome {
	out := make([]Outcome, len(list))
	for i := 0; i < len(list); {
		n := alike(list[i:])
		if n == 1 {
			out[i].Receipt, out[i].Err = s.Deliver(ctx, list[i].Box, list[i].Message)
		} else {
			s.deliverRun(ctx, list[i:i+n], out[i:i+n])
		}
		i += n
	}
	return out
}

// alike counts the deliveries at the start of a list that go into Maildirs of the
// same owner below the same base.
func alike(list []Delivery) int {
	first := &list[0].Box
	for n := 1; n < len(list); n++ {
		b := &list[n].Box
		if b.Format != route.Maildir || b.UID != first.UID || b.GID != first.GID || b.Base != first.Base || first.Format != b.Format {
			return n
		}
	}
	return len(list)
}

// deliverRun writes into Maildirs of one owner.
func (s *Store) deliverRun(ctx context.Context, list []Delivery, out []Outcome) {
	done := 0
	err := s.as(s.identity(&list[0].Box, ""), func() error {
		base, err := openBase(list[0].Box.Base)
		if err != nil {
			return err
		}
		defer unix.Close(base)
		for ; done < len(list); done++ {
			box := &list[done].Box
			d := maildir{store: s, box: box, base: base}
			if d.rel, err = relative(box.Base, box.Path); err == nil {
				err = ctx.Err()
			}
			if err == nil {
				out[done].Receipt, err = d.deliver(list[done].Message)
			}
			out[done].Err = err
		}
		return nil
	})
	if err != nil && done == len(list) {
		s.o.Log.Warningf("%v", err) // of the way back; the files are there
	}
	for ; done < len(list); done++ {
		out[done].Err = err
	}
	for i := range out {
		if out[i].Err != nil {
			s.warn(&list[i].Box, out[i].Err)
		}
	}
}

// as runs f as id and classes the errors of privsep itself.
func (s *Store) as(id privsep.Identity, f func() error) error {
	err := s.o.As.Do(id, f)
	var known *Error
	if err == nil || errors.As(err, &known) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return failure("mailbox owner", err)
}

// identity is the owner of the mailbox. A mail spool directory that its group
// may write to (/var/mail is root:mail 2775) lends its group for as long as the
// user's own file in it is written, since the lock file has to be made beside it.
// Which directories are such, Options.Lend knows.
func (s *Store) identity(box *route.Mailbox, rel string) privsep.Identity {
	id := privsep.Identity{UID: box.UID, GID: box.GID}
	if s.o.Lend == nil || box.Format != route.Mbox || rel != box.User || strings.Contains(rel, "/") {
		return id
	}
	var st unix.Stat_t
	if unix.Stat(box.Base, &st) == nil && st.Mode&0o022 == 0o020 && st.Gid > 0 && s.o.Lend(box, int(st.Gid)) {
		id.Groups = []int{box.GID, int(st.Gid)}
	}
	return id
}

// warn says what the reason of a deferral leaves out (virtual(8), diagnostics).
func (s *Store) warn(box *route.Mailbox, err error) {
	if errors.Is(err, unix.EACCES) {
		s.o.Log.Warningf("maildir access problem for UID/GID=%d/%d: %v", box.UID, box.GID, err)
		s.o.Log.Warningf("perhaps you need to create the maildirs in advance")
	}
}

// mode says how files on a device become durable; dir is a directory there. If
// it turns out to be elsewhere (the owner of a Maildir may make tmp/ or new/ a
// link to a file system of his own), every file is synced.
func (s *Store) mode(dev uint64, dir string) spool.Mode {
	s.mu.RLock()
	mode, ok := s.modes[dev]
	s.mu.RUnlock()
	if !ok {
		mode = spool.Each
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil && st.Dev == dev {
			mode = s.o.Mode(dir)
		}
		s.mu.Lock()
		s.modes[dev] = mode
		s.mu.Unlock()
	}
	return mode
}

// room is Options.Limit as output counts it: negative for none.
func (s *Store) room() int64 {
	if s.o.Limit > 0 {
		return s.o.Limit
	}
	return -1
}

// relative is the part of p below base; "." when they are the same directory.
func relative(base, p string) (string, error) {
	cleanBase, clean := path.Clean(base), path.Clean(p)
	if !path.IsAbs(cleanBase) || !path.IsAbs(clean) {
		return "", refusal("4.3.5", "mailbox "+p+" of base "+base+" is not an absolute path")
	}
	if clean == cleanBase {
		return ".", nil
	}
	prefix := strings.TrimSuffix(cleanBase, "/") + "/"
	rel, ok := strings.CutPrefix(clean, prefix)
	if !ok || strings.IndexByte(rel, 0) >= 0 {
		return "", leaves(p, base)
	}
	return rel, nil
}

func leaves(p, base string) *Error {
	return refusal("4.3.5", "path "+p+" leaves its base directory "+base)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

type silent struct{}

func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}
