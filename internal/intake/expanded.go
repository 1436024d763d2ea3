package intake

import (
	"bytes"
	"context"
	"slices"

	"postern/internal/bounce"
	"postern/internal/route"
	"postern/internal/spool"
)

// maxKept bounds the header that is kept for a report.
const maxKept = 100 << 10

// noteExpanded remembers the recipients that asked for a report of success and in
// whose place aliases put others. For those the report is due now (RFC 3461,
// 5.2.7.3: "expanded"); the others are not asked for theirs.
func (l *Letter) noteExpanded(list []route.Recipient) {
	for _, r := range list {
		known := func(e bounce.Recipient) bool { return e.Address == r.Original && e.ORCPT == r.ORCPT }
		if r.Expanded && !slices.ContainsFunc(l.expanded, known) {
			l.expanded = append(l.expanded, bounce.Recipient{
				Address: r.Original, ORCPT: r.ORCPT, Action: "expanded", Status: "2.0.0", Reason: "alias expanded",
			})
		}
	}
}

// reportExpanded makes the report about the recipients that aliases replaced. A
// report that cannot be made is left out, with a warning: the message itself
// matters more.
func (l *Letter) reportExpanded(ctx context.Context, e *spool.Envelope) (spool.New, bool) {
	if len(l.expanded) == 0 || e.Sender == "" || e.Verify {
		return spool.New{}, false
	}
	report := bounce.Report{
		Kind: bounce.Success, Hostname: l.in.hostname, Origin: l.in.myorigin, To: e.Sender, ID: l.ID(), Original: *e,
		Recipients: l.expanded, Now: l.arrival, Templates: l.in.templates, Threaded: l.in.threaded,
	}
	n, err := report.Compose(bytes.NewReader(l.kept))
	var fresh spool.New
	if err == nil {
		fresh, err = l.in.Internal(ctx, spool.Envelope{
			Recipients: []spool.Recipient{{Address: e.Sender, Original: e.Sender, Notify: spool.NotifyNever}},
			Bounce:     true, EightBit: n.EightBit, SMTPUTF8: n.SMTPUTF8,
		}, n, n.Size())
	}
	if err != nil {
		l.in.log.Warningf("%s: no report of success can be made: %v", l.ID(), err)
		return spool.New{}, false
	}
	return fresh, true
}
