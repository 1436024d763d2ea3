package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"time"
)

// retryInterval is how often a table that could not be opened is tried again.
const retryInterval = time.Second

// failed stands for a table that could not be opened. Every lookup fails with
// the reason, until opening it succeeds.
type failed struct {
	name   string
	reopen func(ctx context.Context) (Table, error) // nil: hopeless
	now    func() time.Time

	mu     sync.Mutex // guards what follows
	reason *Error
	next   time.Time // of the next attempt
	table  Table     // once it could be opened
	closed bool
}

var _ Table = (*failed)(nil)

// newFailed returns a table that fails for good, and its reason.
func newFailed(spec string, use Use, reason error) (Table, error) {
	err := openError(spec, use, reason)
	return &failed{name: spec, reason: err}, err
}

// retrying returns a table that fails until construct succeeds.
func (o *Opener) retrying(construct Constructor, spec, name string, use Use, reason error) (Table, error) {
	err := openError(spec, use, reason)
	f := &failed{name: spec, reason: err, now: o.Clock, next: o.Clock().Add(retryInterval)}
	f.reopen = func(ctx context.Context) (Table, error) { return o.construct(ctx, construct, spec, name, use) }
	return o.keep(shareKey{}, f), err
}

// openError makes an *Error of the reason why a table cannot be opened.
func openError(spec string, use Use, reason error) *Error {
	var e *Error
	if errors.As(reason, &e) {
		return e
	}
	if reason == nil {
		reason = errors.New("no table")
	}
	return &Error{Table: spec, At: use.At, Err: reason}
}

// OpenError words the reason why a file cannot be opened or read as Postfix
// does, `open /etc/postfix/virtual: No such file or directory`. It wraps err.
func OpenError(path string, err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return &fileError{path, err}
}

type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string { return fmt.Sprintf("open %s: %s", e.path, reason(e.err)) }

func (e *fileError) Unwrap() error { return e.err }

// reason is the text of a system error as strerror(3) has it.
func reason(err error) string {
	text := err.Error()
	if _, ok := err.(syscall.Errno); ok && text != "" {
		return strings.ToUpper(text[:1]) + text[1:]
	}
	return text
}

func (f *failed) Name() string { return f.name }

// Traits are those of a pattern table: an unknown table is not asked for parts
// of a key.
func (f *failed) Traits() Traits {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.table != nil {
		return f.table.Traits()
	}
	return Traits{Pattern: true}
}

// Unwrap is the table once it could be opened, else nil.
func (f *failed) Unwrap() Table {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.table
}

func (f *failed) Lookup(ctx context.Context, key string) (Result, error) {
	t, reason := f.open(ctx)
	if t != nil {
		return t.Lookup(ctx, key)
	}
	e := *reason
	e.Key = ""
	return Result{}, &e
}

// open returns the table when it can be opened by now, else the reason.
func (f *failed) open(ctx context.Context) (Table, *Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.table != nil || f.reopen == nil || f.closed || f.now().Before(f.next) {
		return f.table, f.reason
	}
	t, err := f.reopen(ctx)
	f.next = f.now().Add(retryInterval)
	if t == nil {
		if ctx.Err() == nil { // else the reason is that the caller went away
			f.reason = openError(f.name, Use{}, err)
		}
		return nil, f.reason
	}
	f.table = t
	return t, nil
}

func (f *failed) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.table != nil {
		return f.table.Close()
	}
	return nil
}
