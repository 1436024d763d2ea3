package intake

import (
	"context"
	"fmt"
	"io"

	"postern/internal/header"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/spool"
)

// Internal prepares a message that was made here, a notification or what a
// local alias sends on: its recipients are expanded, but nobody gets a copy
// (always_bcc and its like are for mail from outside), the text gets a Received
// header, and a notification the fields that it lacks. e.Recipients are the
// recipients before expansion, and e.Arrival the time of its arrival if that is
// not now, as of a message that is put in anew (postsuper -r). The caller commits what comes back, or aborts
// its draft.
func (in *Intake) Internal(ctx context.Context, e spool.Envelope, text io.WriterTo, size int64) (spool.New, error) {
	letter, reply := in.Begin(size)
	if !reply.IsZero() {
		return spool.New{}, fmt.Errorf("cannot store the message: %s", reply)
	}
	letter.Start(Source{Local: e.Bounce})
	if _, err := text.WriteTo(letter); err != nil {
		letter.Abort()
		return spool.New{}, err
	}
	if !letter.inBody {
		letter.endHeader()
	}
	if letter.err != nil {
		letter.Abort()
		return spool.New{}, letter.err
	}
	list, err := in.expandInternal(ctx, e)
	if err != nil {
		letter.Abort()
		return spool.New{}, err
	}
	e.Recipients, e.MessageID = list, letter.head.messageID
	if e.Arrival.IsZero() {
		e.Arrival = letter.arrival
	}
	in.logMessageID(letter)
	return spool.New{Draft: letter.draft, Envelope: e}, nil
}

func (in *Intake) expandInternal(ctx context.Context, e spool.Envelope) ([]spool.Recipient, error) {
	given := make([]route.Recipient, len(e.Recipients))
	for i, r := range e.Recipients {
		given[i] = routeRecipient(r)
	}
	list, err := in.router.Expand(ctx, given, nil)
	if err != nil {
		return nil, err
	}
	return spoolRecipients(list), nil
}

// Pickup takes in a message that was submitted on the command line. A reply
// that is not positive leaves it where it is: 4xx to be tried again, 5xx for good.
func (in *Intake) Pickup(ctx context.Context, m Submitted) smtp.Reply {
	letter, reply := in.Begin(m.Size)
	if !reply.IsZero() {
		return reply
	}
	in.pickupLog.Infof("%s: uid=%d from=<%s>", letter.ID(), m.UID, m.Sender)
	src := Source{Local: true, FullName: m.FullName, Sender: m.Sender,
		Received: header.Received{Local: true, UserID: m.UID}}
	for _, r := range m.Recipients {
		src.Success = src.Success || spool.Notify(r.Notify)&spool.NotifySuccess != 0
	}
	letter.Start(src)
	if _, err := io.Copy(letter, m.Text); err != nil {
		letter.Abort()
		in.log.Warningf("%s: read the submitted message: %v", letter.ID(), err)
		return replyIll
	}
	return letter.Commit(ctx, Envelope{Sender: m.Sender, Recipients: m.Recipients, Params: m.Params, Verify: m.Verify, Report: m.Report})
}
