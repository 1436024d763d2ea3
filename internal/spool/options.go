package spool

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"strings"
	"time"
)

// Errors of this package that callers tell apart with errors.Is.
var (
	// ErrFull: there is no room for another message now (452 4.3.1). What was
	// accepted before is not touched, and room may come back.
	ErrFull = errors.New("insufficient system storage")
	// ErrUnwritten: a change without anything new counts from now on, and is
	// written as soon as there is space; the end of the process before that takes
	// it back. Such an error is an ErrFull as well.
	ErrUnwritten = errors.New("done, but not on the disk yet")
	// ErrLocked: another process holds this spool; a *LockedError says which.
	ErrLocked = errors.New("spool is in use")
	// ErrFormat: the directory is a spool of a version this program cannot read.
	ErrFormat = errors.New("unknown spool format")
	// ErrDamaged: bytes do not match their checksum.
	ErrDamaged = errors.New("damaged")
	// ErrGone: the message is done with and its text no longer kept.
	ErrGone = errors.New("message is no longer in the spool")
	// ErrTooLarge: a change does not fit a segment of the log.
	ErrTooLarge = errors.New("change too large for the spool")
	// ErrClosed: the spool was closed.
	ErrClosed = errors.New("spool is closed")
)

// Logger takes what an administrator should read. *maillog.Program is one.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Options are the knobs of a spool. The zero value of each field means its
// default.
type Options struct {
	Mail               Mail          // looks after delivered files; nil: the spool does, by FS
	FS                 FS            // file system; nil: the real one
	InlineLimit        int64         // bodies up to this size stand in the log, larger ones in a file of their own (spool_inline_limit); 256 KiB
	SegmentSize        int64         // size of a log segment; 32 MiB
	QueueMinFree       int64         // Create fails with ErrFull below so many free bytes (queue_minfree)
	CheckpointBytes    int64         // a checkpoint after so many bytes of log; 32 MiB
	CheckpointInterval time.Duration // and after so much time when there is something to strike off; 10 s
	// MailboxSync is "auto" (a checkpoint makes deliveries durable) or "each"
	// (agents have synced before they settle, Outcome.Applied is not used).
	MailboxSync string
	Now         func() time.Time
	// Observe is told how long an operation took: "log sync", "mailbox sync"
	// (one file system), "checkpoint", "snapshot". nil: nobody is told.
	Observe func(what string, took time.Duration)
	Command bool          // opened by a command, for a moment: LockedError tells others
	Rand    io.Reader     // random bytes for the identity of a new spool
	BootID  func() string // identity of the running kernel; /proc/sys/kernel/random/boot_id
	Log     Logger
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = osFS{}
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = 32 << 20
	}
	if o.InlineLimit <= 0 {
		o.InlineLimit = 256 << 10
	}
	o.InlineLimit = min(o.InlineLimit, o.SegmentSize/8)
	if o.CheckpointBytes <= 0 {
		o.CheckpointBytes = 32 << 20
	}
	if o.CheckpointInterval <= 0 {
		o.CheckpointInterval = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.BootID == nil {
		o.BootID = bootID
	}
	if o.Observe == nil {
		o.Observe = func(string, time.Duration) {}
	}
	if o.Log == nil {
		o.Log = silent{}
	}
	return o
}

// bootID is "" where the kernel does not tell; then no two runs share a boot.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

type silent struct{}

func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}
