package queue

import (
	"context"
	"io"
	"strings"
	"time"

	"postern/internal/spool"
)

// submitForwards makes the new messages that take the place of recipients.
// Where that fails, the recipient is deferred.
func (q *Queue) submitForwards(ctx context.Context, l *ledger) {
	made := l.forwards[:0]
	for _, f := range l.forwards {
		err := q.submitForward(ctx, l.item, &f)
		if err != nil {
			abort(f.fresh)
			q.logs.qmgr.Warningf("%s: cannot forward: %v", l.item.message.ID, err)
			status := deferral("4.3.0", "cannot forward: mail system error")
			q.logDelivery(f.log, l.item, f.recipient, status, status.Kind.String(), f.transport, f.began)
			l.deferred = append(l.deferred, verdict{f.index, status, f.address})
			continue
		}
		if q.isTold(l.item, &f.verdict) {
			l.told = append(l.told, f.verdict)
		}
		made = append(made, f)
	}
	l.forwards = made
}

// submitPartial makes the forwards of recipients that bounced in part. Where
// that fails, the recipient is deferred with its reason.
func (q *Queue) submitPartial(ctx context.Context, l *ledger) {
	bounced := l.bounced[:0]
	for _, v := range l.bounced {
		f := forwarded{verdict: v}
		if err := q.submitForward(ctx, l.item, &f); err != nil {
			abort(f.fresh)
			q.logs.qmgr.Warningf("%s: cannot forward: %v", l.item.message.ID, err)
			l.deferred = append(l.deferred, v)
			continue
		}
		bounced = append(bounced, v)
		if len(f.fresh) > 0 {
			l.forwards = append(l.forwards, f)
		}
	}
	l.bounced = bounced
}

// submitForward makes the new messages of one recipient, if it has any.
func (q *Queue) submitForward(ctx context.Context, it *item, f *forwarded) error {
	if len(f.status.Forwards) == 0 {
		return nil
	}
	body, err := it.message.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	original := &it.message.Envelope.Recipients[f.index]
	for _, forward := range f.status.Forwards {
		e := it.message.Envelope
		e.Sender, e.Arrival, e.Recipients = forward.Sender, time.Time{}, nil
		e.Verify, e.Report = false, false
		for _, addr := range forward.Recipients {
			r := spool.Recipient{Address: addr, Original: addr, Notify: withoutSuccess(original.Notify)}
			if forward.Original != "" {
				r.Original, r.ORCPT = forward.Original, original.ORCPT
			}
			e.Recipients = append(e.Recipients, r)
		}
		text := prefixed{forward.Prepend, body}
		fresh, err := q.options.Submit(context.WithoutCancel(ctx), Submission{
			Envelope: e, Text: text, Size: int64(len(forward.Prepend)) + body.Size(),
		})
		if err != nil {
			return err
		}
		f.fresh = append(f.fresh, fresh)
	}
	return nil
}

// withoutSuccess is what is left of a sender's wishes when the expansion is
// reported as the success (RFC 3461, 5.2.7.3).
func withoutSuccess(n spool.Notify) spool.Notify {
	if n == spool.NotifySuccess {
		return spool.NotifyNever
	}
	return n &^ spool.NotifySuccess
}

// prefixed is a text with header fields put in front.
type prefixed struct {
	prefix string
	text   io.WriterTo
}

func (p prefixed) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, p.prefix)
	if err != nil {
		return int64(n), err
	}
	m, err := p.text.WriteTo(w)
	return int64(n) + m, err
}

// forwardText is the reason of a forwarded recipient: what the agent says it
// did besides, and the new queue ids.
func forwardText(reason string, messages []*spool.Message) string {
	var parts []string
	if reason != "" && reason != "forwarded" {
		parts = append(parts, reason)
	}
	for _, m := range messages {
		parts = append(parts, "forwarded as "+m.ID)
	}
	return strings.Join(parts, "; ")
}
