package helper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/route"
)

// worker carries out the requests of one connection, one after the other.
type worker struct {
	helper *Helper
	*link
}

// serve returns when the connection ends, which is io.EOF, or is not worth
// anything any more. Whoever sends what is not a request is not answered.
func (w *worker) serve(ctx context.Context) error {
	for {
		k, payload, err := w.receive()
		if err != nil {
			return err
		}
		f := fields{b: payload}
		if err := w.carryOut(ctx, k, &f); err != nil {
			return err
		}
		w.shrink()
	}
}

// carryOut answers one request. An error is one of the connection.
func (w *worker) carryOut(ctx context.Context, k kind, f *fields) error {
	switch k {
	case askDeliver:
		return w.deliver(ctx, f)
	case askRun:
		return w.run(ctx, f)
	case askRead:
		return w.readAs(ctx, f)
	case askOpen, askLog, askListen:
		return w.open(k, f)
	case askRefresh:
		step := f.uint(refreshAbort)
		if err := f.end(); err != nil {
			return err
		}
		return w.answer(w.helper.refresh(step), nil)
	case askPresent:
		if err := f.end(); err != nil {
			return err
		}
		return w.answer(nil, nil)
	case askMaildir:
		return w.maildir(f)
	case askDevice:
		return w.device(f)
	case askSync:
		return w.syncDevice(f)
	case askMail:
		return w.mail(f)
	}
	return fmt.Errorf("%w: unknown request %d", errFrame, k)
}

// answer sends the end of a request: an error, or what more appends.
func (w *worker) answer(err error, more func([]byte) []byte) error {
	b := frame(w.out, answer)
	if err != nil {
		return w.send(appendFailure(append(b, 1), err))
	}
	b = append(b, 0)
	if more != nil {
		b = more(b)
	}
	return w.send(b)
}

// deliver stores messages in mailboxes, one after the other.
func (w *worker) deliver(ctx context.Context, f *fields) error {
	options := f.bytes(4 << 10)
	list, texts := w.deliveries(f)
	if err := f.end(); err != nil || len(texts) == 0 {
		return errFrame
	}
	store, err := w.helper.store(options)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(d mailbox.Delivery) bool { return d.Box.Format == route.Mbox }) {
		var done func()
		ctx, done = w.untilHangup(ctx)
		defer done()
	}
	out := w.helper.deliver(ctx, store, list)
	if err := texts[0].broken; err != nil {
		return err
	}
	b := frame(w.out, answer)
	b = append(b, 0)
	for i := range out {
		b = appendReceipt(b, &out[i].Receipt, out[i].Err)
	}
	return w.send(b)
}

// deliveries takes the rest of a request apart: lists of deliveries, each with
// the text of it behind it. A text that is not in the request is asked for, and
// is the only one.
func (w *worker) deliveries(f *fields) (list []mailbox.Delivery, texts []*pulled) {
	for len(f.b) > 0 {
		from := len(list)
		n := int(f.uint(uint64(maxList - from)))
		if n > len(f.b) { // each takes an octet at least
			f.fail()
			return nil, nil
		}
		list = slices.Grow(list, n)
		for range n {
			list = append(list, f.delivery())
		}
		text := &pulled{w: w, size: int64(f.uint(1<<62 - 1))}
		text.inline = f.bytes(maxInline)
		for i := range list[from:] {
			list[from+i].Message.Body = text
		}
		texts = append(texts, text)
		if inline := int64(len(text.inline)); inline != text.size && (inline > 0 || len(texts) > 1 || len(f.b) > 0) {
			f.fail()
		}
	}
	return list, texts
}

// deliver stores messages in those mailboxes that the policy allows.
func (h *Helper) deliver(ctx context.Context, store mailbox.Deliverer, list []mailbox.Delivery) []mailbox.Outcome {
	policy := h.policy.Load()
	out := make([]mailbox.Outcome, len(list))
	allowed, index := list[:0], make([]int, 0, len(list))
	for i := range list {
		d := list[i]
		if err := policy.mayStore(ctx, h.o.As, &d.Box); err != nil {
			out[i].Err = refusal(err)
			continue
		}
		allowed, index = append(allowed, d), append(index, i)
	}
	for i, done := range mailbox.DeliverAll(ctx, store, allowed) {
		out[index[i]] = done
	}
	return out
}

// refusal words an error of the policy as that of a mailbox.
func refusal(err error) error {
	return &mailbox.Error{DSN: "4.3.5", Reason: "mailbox owner: " + err.Error(), Temporary: true, Err: err}
}

// pulled is a message text that is in the request, or is asked of the server
// piece by piece.
type pulled struct {
	w      *worker
	inline []byte
	size   int64
	broken error // the connection is of no use any more
}

func (t *pulled) Size() int64 { return t.size }

func (t *pulled) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= t.size {
		return 0, io.EOF
	}
	if len(t.inline) > 0 {
		n := copy(p, t.inline[off:])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	whole := p
	p = p[:min(int64(len(p)), t.size-off)]
	for n := 0; n < len(p); {
		piece := p[n:min(len(p), n+maxPiece)]
		if err := t.pull(piece, off+int64(n)); err != nil {
			return n, err
		}
		n += len(piece)
	}
	if len(p) < len(whole) {
		return len(p), io.EOF
	}
	return len(p), nil
}

func (t *pulled) pull(p []byte, off int64) error {
	if t.broken != nil {
		return t.broken
	}
	var buffer [32]byte
	b := appendInt(frame(buffer[:], wantPiece), off)
	b = appendUint(b, uint64(len(p)))
	b, err := seal(b)
	if err == nil {
		err = t.w.write(b)
	}
	if err == nil {
		err = t.w.receivePiece(p)
	}
	var known textError
	if err != nil && !errors.As(err, &known) {
		t.broken = err
	}
	return err
}

// untilHangup ends the context when the server hangs up while the request
// lasts. done has to be called.
func (w *worker) untilHangup(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(hangupInterval)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				if hungUp(w.fd) {
					cancel()
				}
			}
		}
	}()
	return ctx, func() {
		close(ended)
		<-stopped
		cancel()
	}
}

// hungUp reports that nothing more will come from the other side.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// run runs a command. Its input comes when the helper is ready for it.
func (w *worker) run(ctx context.Context, f *fields) error {
	spec := f.spec()
	if err := f.end(); err != nil {
		return err
	}
	if err := w.helper.mayRun(ctx, &spec); err != nil {
		return w.answer(err, nil)
	}
	if err := w.send(frame(w.out, wantInput)); err != nil {
		return err
	}
	k, _, fd, err := w.receiveFile()
	if err != nil {
		return err
	}
	if k != sayInput || fd < 0 {
		closeFile(fd)
		return errFrame
	}
	ctx, done := w.untilHangup(ctx)
	result, err := w.helper.o.Commands.Run(ctx, spec, os.NewFile(uintptr(fd), "input"))
	done()
	return w.answer(err, func(b []byte) []byte { return appendResult(b, &result) })
}

// mayRun asks the policy.
func (h *Helper) mayRun(ctx context.Context, s *command.Spec) error {
	if h.o.Commands == nil {
		return errors.New("the helper runs no commands")
	}
	return h.policy.Load().mayRun(ctx, h.o.As, s)
}
