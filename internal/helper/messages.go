package helper

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/spool"
)

// StoreOptions are the options of a mailbox.Store that runs in the helper.
type StoreOptions struct {
	Hostname    string             // in Maildir names
	Limit       int64              // of a file; 0: none
	Locks       mailbox.Locks      // of an mbox
	Timing      mailbox.LockTiming // of these locks
	StrictOwner bool               // strict_mailbox_ownership
	SyncEach    bool               // mailbox_sync = each
	Log         string             // key of the Logger that the server gave to Client.Logs
}

func (o *StoreOptions) append(b []byte) []byte {
	b = appendString(b, o.Hostname)
	b = appendInt(b, o.Limit)
	b = appendUint(b, uint64(o.Locks))
	b = appendInt(b, int64(o.Timing.Attempts))
	b = appendInt(b, int64(o.Timing.Delay))
	b = appendInt(b, int64(o.Timing.Stale))
	b = appendBool(b, o.StrictOwner)
	b = appendBool(b, o.SyncEach)
	return appendString(b, o.Log)
}

func (f *fields) storeOptions() StoreOptions {
	return StoreOptions{
		Hostname: f.hostname(), Limit: f.int(), Locks: mailbox.Locks(f.uint(255)),
		Timing:      mailbox.LockTiming{Attempts: int(f.int()), Delay: f.duration(), Stale: f.duration()},
		StrictOwner: f.bool(), SyncEach: f.bool(), Log: f.string(1 << 10),
	}
}

// appendDelivery is one delivery of an askDeliver, without the text.
func appendDelivery(b []byte, d *mailbox.Delivery) []byte {
	box, m := &d.Box, d.Message
	b = appendString(b, box.Path)
	b = appendString(b, box.Base)
	b = appendUint(b, uint64(box.Format))
	b = appendCount(b, box.UID)
	b = appendCount(b, box.GID)
	b = appendString(b, box.User)
	b = appendBool(b, box.File)
	b = appendString(b, m.ID)
	b = appendCount(b, m.Index)
	b = appendTime(b, m.Arrival)
	b = appendString(b, m.Sender)
	b = appendBytes(b, m.Header)
	b = appendCount(b, m.Attempt)
	return appendBool(b, m.Durable)
}

func (f *fields) delivery() mailbox.Delivery {
	return mailbox.Delivery{
		Box: route.Mailbox{
			Path: f.string(maxPath), Base: f.string(maxPath), Format: route.Format(f.uint(uint64(route.Mbox))),
			UID: f.id(), GID: f.id(), User: f.string(1 << 10), File: f.bool(),
		},
		Message: &mailbox.Message{
			ID: f.queueID(), Index: int(f.uint(1<<31 - 1)), Arrival: f.time(), Sender: f.string(maxPath),
			Header: f.header(), Attempt: int(f.uint(1<<31 - 1)), Durable: f.bool(),
		},
	}
}

// queueID is an id as the spool gives them out: it becomes part of a file name.
func (f *fields) queueID() string {
	id := f.string(16)
	if _, ok := spool.ParseID(id); !ok {
		f.fail()
	}
	return id
}

// hostname becomes part of a file name too, which does without the characters
// that mean something there.
func (f *fields) hostname() string {
	name := f.string(255)
	if strings.ContainsFunc(name, unicode.IsControl) {
		f.fail()
	}
	return name
}

// header is whole lines of a header, none of which could be taken for the end of
// it, or for the begin of another message in an mbox.
func (f *fields) header() []byte {
	b := f.bytes(maxHeader)
	for rest := b; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		name, _, named := bytes.Cut(line, []byte(":"))
		if !whole || !named || len(name) == 0 || bytes.ContainsAny(name, " \t\r\x00") {
			f.fail()
			return nil
		}
		rest = after
	}
	return b
}

// appendReceipt is the answer to one delivery.
func appendReceipt(b []byte, r *mailbox.Receipt, err error) []byte {
	if err != nil {
		return appendFailure(append(b, 1), err)
	}
	b = appendBool(append(b, 0), r.Repeated)
	if r.Applied == nil {
		return append(b, 0)
	}
	return appendApplied(append(b, 1), r.Applied)
}

func appendApplied(b []byte, a *spool.Applied) []byte {
	b = appendString(b, a.Path)
	b = appendUint(b, a.Dev)
	b = appendInt(b, a.Length)
	return appendUint(b, uint64(a.CRC))
}

func (f *fields) applied() *spool.Applied {
	return &spool.Applied{Path: f.string(maxPath), Dev: f.uint(1<<64 - 1), Length: f.int(), CRC: uint32(f.uint(1<<32 - 1))}
}

func (f *fields) receipt() (mailbox.Receipt, error) {
	if f.bool() {
		return mailbox.Receipt{}, f.failure()
	}
	r := mailbox.Receipt{Repeated: f.bool()}
	if f.bool() {
		r.Applied = f.applied()
		r.Applied.Found = r.Repeated
	}
	return r, nil
}

// failure classes that errors.Is has to find on the other side.
const (
	failedOther = iota
	failedRoot
	failedNotRoot
	failedCanceled
	failedDeadline
	failedRefused
)

// Failure is an error of the helper as it arrives in the server. errors.Is and
// errors.As find in it what mattered in the original.
type Failure struct {
	Text  string
	Cause error // a unix.Errno, privsep.ErrRoot, an error of context; nil: another
}

func (e *Failure) Error() string { return e.Text }

func (e *Failure) Unwrap() error { return e.Cause }

// appendFailure describes an error: its text, its class, its error number, and
// what a *mailbox.Error says besides.
func appendFailure(b []byte, err error) []byte {
	class := failedOther
	for n, known := range [...]error{failedRoot: privsep.ErrRoot, failedNotRoot: privsep.ErrNotRoot,
		failedCanceled: context.Canceled, failedDeadline: context.DeadlineExceeded, failedRefused: ErrRefused} {
		if known != nil && errors.Is(err, known) {
			class = n
		}
	}
	var errno unix.Errno
	errors.As(err, &errno)
	b = appendUint(b, uint64(class))
	b = appendUint(b, uint64(errno))
	var box *mailbox.Error
	if !errors.As(err, &box) {
		return appendString(append(b, 0), clip(err.Error()))
	}
	b = appendString(append(b, 1), clip(box.Reason))
	b = appendString(b, box.DSN)
	return appendBool(b, box.Temporary)
}

func clip(s string) string { return s[:min(len(s), maxPath/2)] }

func (f *fields) failure() error {
	class, errno := f.uint(failedRefused), unix.Errno(f.uint(1<<12))
	var cause error
	switch {
	case class == failedRoot:
		cause = privsep.ErrRoot
	case class == failedNotRoot:
		cause = privsep.ErrNotRoot
	case class == failedCanceled:
		cause = context.Canceled
	case class == failedDeadline:
		cause = context.DeadlineExceeded
	case class == failedRefused:
		cause = ErrRefused
	case errno != 0:
		cause = errno
	}
	if !f.bool() {
		return &Failure{f.string(maxPath), cause}
	}
	return &mailbox.Error{Reason: f.string(maxPath), DSN: f.string(16), Temporary: f.bool(), Err: cause}
}

func appendIdentity(b []byte, id privsep.Identity) []byte {
	b = appendCount(b, id.UID)
	b = appendCount(b, id.GID)
	b = appendUint(b, uint64(len(id.Groups)))
	for _, g := range id.Groups {
		b = appendCount(b, g)
	}
	return b
}

func (f *fields) identity() privsep.Identity {
	id := privsep.Identity{UID: f.id(), GID: f.id()}
	n := f.uint(1 << 10)
	for range n {
		if f.bad {
			break
		}
		id.Groups = append(id.Groups, f.id())
	}
	return id
}

func appendSpec(b []byte, s *command.Spec) []byte {
	b = appendIdentity(b, s.As)
	for _, list := range [...][]string{s.Argv, s.Env} {
		b = appendUint(b, uint64(len(list)))
		for _, word := range list {
			b = appendString(b, word)
		}
	}
	b = appendString(b, s.Dir)
	b = appendInt(b, int64(s.Limit))
	return appendCount(b, s.Output)
}

func (f *fields) spec() command.Spec {
	return command.Spec{As: f.identity(), Argv: f.strings(maxFrame), Env: f.strings(maxFrame), Dir: f.string(maxPath),
		Limit: f.duration(), Output: int(f.uint(maxResult / 2))}
}

func appendResult(b []byte, r *command.Result) []byte {
	b = appendInt(b, int64(r.Status))
	b = appendInt(b, int64(r.Signal))
	b = appendBool(b, r.TimedOut)
	return appendBytes(b, r.Output)
}

func (f *fields) result() command.Result {
	r := command.Result{Status: int(f.int()), Signal: int(f.int()), TimedOut: f.bool()}
	r.Output = append(r.Output, f.bytes(maxResult)...)
	return r
}

func appendFileInfo(b []byte, i *privsep.FileInfo) []byte {
	b = appendCount(b, i.UID)
	b = appendCount(b, i.GID)
	b = appendUint(b, uint64(i.Mode))
	b = appendInt(b, i.Size)
	b = appendBool(b, i.Regular)
	return appendBool(b, i.Link)
}

func (f *fields) fileInfo() privsep.FileInfo {
	return privsep.FileInfo{UID: int(f.uint(1<<32 - 1)), GID: int(f.uint(1<<32 - 1)), Mode: uint32(f.uint(0o7777)),
		Size: f.int(), Regular: f.bool(), Link: f.bool()}
}

// appendLine is a log line of the helper, sent over the control socket.
func appendLine(b []byte, warning bool, log, text string) []byte {
	b = appendBool(b, warning)
	b = appendString(b, log)
	return appendString(b, clip(text))
}

// hangupInterval is how often a request that lasts is checked for a server that
// does not want it any more.
const hangupInterval = 100 * time.Millisecond
