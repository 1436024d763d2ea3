package mailboxes

import (
	"context"
	"fmt"
	"net"
	"strings"

	"postern/internal/address"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/smtpc"
)

// refusal is a user whom the mailbox server does not take.
type refusal struct {
	user
	reply smtp.Reply
}

// converse asks an LMTP server for users that the mailbox table knows. What it does
// not answer in time is not judged.
func (x *examination) converse(ctx context.Context, d *destination, conn net.Conn) []finding.Finding {
	sample := x.sample(ctx, d)
	if d.program != "lmtp" || len(sample) == 0 {
		_ = conn.Close() // nothing was said
		return nil
	}
	limit := smtpc.Timeouts{Helo: x.ServerTime, Mail: x.ServerTime, Rcpt: x.ServerTime, Rset: x.ServerTime, Quit: x.ServerTime / 3}
	hello := x.i.Setup.Settings.String("lmtp_lhlo_name")
	if hello == "" {
		hello = "localhost"
	}
	c := smtpc.New(conn, smtpc.Options{LMTP: true, Hello: hello, Timeouts: limit, WaitQuit: true})
	if err := c.Open(ctx); err != nil {
		c.Close()
		return nil
	}
	defer c.Quit()
	// The null sender, and no text: Probe ends with RSET.
	tx := &smtpc.Transaction{Probe: true}
	for _, u := range sample {
		tx.Recipients = append(tx.Recipients, smtpc.Recipient{Address: u.addr.Internal()})
	}
	var refused []refusal
	for n, o := range c.Send(ctx, tx) {
		if o.Err == nil && o.Phase == smtpc.Rcpt && o.Reply.Code/100 == 5 {
			refused = append(refused, refusal{sample[n], o.Reply})
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return []finding.Finding{d.unknownUsers(refused, len(sample))}
}

// sample chooses users that the server is asked for: those whose own mail comes to
// them, which no alias sends elsewhere.
func (x *examination) sample(ctx context.Context, d *destination) []user {
	var list []user
	for tries, n := range x.Perm(len(d.users)) {
		if len(list) == Sample || tries == 5*Sample {
			break
		}
		if u := d.users[n]; x.arrives(ctx, u.addr) {
			list = append(list, u)
		}
	}
	return list
}

func (x *examination) arrives(ctx context.Context, a address.Address) bool {
	list, err := x.router.Expand(ctx, []route.Recipient{{Address: a, Original: a.Internal()}}, nil)
	if err != nil {
		return false
	}
	for _, r := range list {
		if r.Address.Equal(a) {
			return true
		}
	}
	return false
}

// unknownUsers is the finding for users that only one of two lists has.
func (d *destination) unknownUsers(refused []refusal, asked int) finding.Finding {
	first := refused[0]
	text := first.reply.String()
	f := finding.Finding{
		Code: "VD203", Severity: finding.Error, At: refusedAt(refused),
		Message: fmt.Sprintf("the mailbox table knows %s, the LMTP server (%s) refuses the address: %s", first.addr.Internal(), d.nextHop, text),
	}
	if len(refused) > 1 || asked > 1 {
		f.Message += fmt.Sprintf(" (%d of %d users that it was asked for)", len(refused), asked)
	}
	f.Fix = cureOf(first.addr, text)
	return f
}

// refusedAt are the rows of users.
func refusedAt(list []refusal) []origin.At {
	var at []origin.At
	for _, r := range list {
		at = withPlace(at, r.from.At())
	}
	return at
}

// cureOf reads what a server says when it refuses an address. Dovecot names the user
// it looked for.
func cureOf(a address.Address, reply string) string {
	lower := strings.ToLower(reply)
	switch {
	case strings.Contains(lower, " 5.2.") || strings.HasPrefix(lower, "552"):
		return "make room in the mailbox of " + a.Internal() + ", or raise its quota"
	case strings.HasSuffix(lower, ": "+strings.ToLower(a.Local)):
		return "let the mailbox server look users up by the whole address: it looked for \"" + a.Local + "\" (Dovecot: clear auth_username_format in protocol lmtp)"
	}
	return "let both read one list of users: create the mailbox of " + a.Internal() + " there, or remove its row here"
}
