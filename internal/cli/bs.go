package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"strconv"
	"time"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/maildrop"
	"postern/internal/server"
	"postern/internal/smtp"
	"postern/internal/smtpd"
)

// sendmailSMTP is sendmail -bs: an SMTP session on standard input and output with
// the parameters of smtpd, whose messages go into the maildrop as those of sendmail
// do. A local user needs no TLS. The error is that of a parameter.
func sendmailSMTP(ctx context.Context, env Env, settings *config.Settings) error {
	cfg, err := server.SessionConfig(settings, "smtpd")
	if err != nil {
		return err
	}
	cfg.ForbidBareNewline = smtp.BareNewlineAllow // lines of a local user end in LF
	cfg.ForbidUnauthPipe = false                  // a file on standard input is all there at once
	profile := &smtpd.Profile{Config: cfg, Policy: permitAll{}, Intake: maildropIntake{server.MaildropDirectory(settings)}}
	s := &smtpd.Server{Profile: func() *smtpd.Profile { return profile }, Log: quiet{}}
	s.ServeConn(ctx, stdio{env.Stdin, env.Stdout})
	return nil
}

// permitAll lets a local user send to anybody: what cannot be delivered comes
// back as a report.
type permitAll struct{}

func (permitAll) Connect(context.Context, *smtpd.Client) smtpd.Verdict   { return smtpd.Verdict{} }
func (permitAll) Helo(context.Context, *smtpd.Client) smtpd.Verdict      { return smtpd.Verdict{} }
func (permitAll) Mail(context.Context, *smtpd.Transaction) smtpd.Verdict { return smtpd.Verdict{} }
func (permitAll) Data(context.Context, *smtpd.Transaction) smtpd.Verdict { return smtpd.Verdict{} }
func (permitAll) EndOfData(context.Context, *smtpd.Transaction) smtpd.Verdict {
	return smtpd.Verdict{}
}
func (permitAll) Etrn(context.Context, *smtpd.Client, string) smtpd.Verdict { return smtpd.Verdict{} }
func (permitAll) Rcpt(context.Context, *smtpd.Transaction, *smtpd.Recipient) smtpd.Verdict {
	return smtpd.Verdict{}
}
func (permitAll) Vrfy(context.Context, *smtpd.Transaction, address.Address) smtpd.Verdict {
	return smtpd.Verdict{}
}

// maildropIntake puts messages into the maildrop.
type maildropIntake struct{ dir string }

func (maildropIntake) Room(context.Context, *smtpd.Transaction) smtp.Reply { return smtp.Reply{} }

func (in maildropIntake) Begin(context.Context, *smtpd.Transaction) (smtpd.Body, smtp.Reply) {
	return &dropBody{dir: in.dir}, smtp.Reply{}
}

// dropBody collects a message; the size limit of the session bounds it.
type dropBody struct {
	dir  string
	text bytes.Buffer
}

func (b *dropBody) QueueID() string             { return "maildrop" }
func (b *dropBody) Write(p []byte) (int, error) { return b.text.Write(p) }
func (b *dropBody) Abort()                      {}
func (b *dropBody) Start(*smtpd.Transaction)    {}

func (b *dropBody) Commit(_ context.Context, t *smtpd.Transaction) smtp.Reply {
	e := maildrop.Envelope{
		Sender: t.Sender.Address.String(), Ret: t.Params.Ret, EnvID: t.Params.EnvID, EightBit: t.Params.Body == "8BITMIME",
	}
	for _, r := range t.Recipients {
		e.Recipients = append(e.Recipients, r.Path.Address.String())
		e.DSN = append(e.DSN, maildrop.DSN{Notify: r.Params.Notify.String(), ORCPT: r.Params.ORCPT})
	}
	switch err := maildrop.Submit(b.dir, e, &b.text); {
	case errors.Is(err, os.ErrNotExist):
		return smtp.R(451, "4.3.0", "Error: no mail system here yet")
	case err != nil:
		return smtp.R(451, "4.3.0", "Error: queue file write error")
	}
	return smtp.R(250, "2.0.0", "Ok: queued as maildrop")
}

// stdio makes a connection of standard input and output.
type stdio struct {
	io.Reader
	io.Writer
}

func (stdio) Close() error                     { return nil }
func (stdio) LocalAddr() net.Addr              { return localUser{} }
func (stdio) RemoteAddr() net.Addr             { return localUser{} }
func (stdio) SetDeadline(time.Time) error      { return nil }
func (stdio) SetReadDeadline(time.Time) error  { return nil }
func (stdio) SetWriteDeadline(time.Time) error { return nil }

// localUser is the address of who called the program.
type localUser struct{}

func (localUser) Network() string { return "unix" }

func (localUser) String() string {
	uid := strconv.Itoa(os.Getuid())
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %s", uid)
}

type quiet struct{}

func (quiet) Infof(string, ...any)    {}
func (quiet) Warningf(string, ...any) {}
