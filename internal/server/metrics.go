package server

import (
	"context"

	"golang.org/x/sys/unix"

	"postern/internal/metrics"
	"postern/internal/smtp"
	"postern/internal/smtpd"
	"postern/internal/table"
)

// watch tells the metrics whom to ask for what is the case, and has the lines of
// the log counted.
func (s *Server) watch() {
	dir := spoolDirectory(s.current.Load().settings)
	s.metrics.Watch(metrics.Sources{
		Queue: s.queue.Stats, Spool: s.spool.Stats, Started: s.started,
		Free:     func() (int64, error) { return freeBytes(dir) },
		Sessions: func() int { return s.listening.sessions() },
	})
	s.log.Tap(func(severity, _ string) { s.metrics.Logged(severity) })
}

// freeBytes is how much the file system of a directory has left for us.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// counted has what a session asks for counted.
func (s *Server) counted(p *smtpd.Profile) {
	p.Policy, p.Intake = countedPolicy{p.Policy, s.metrics}, countedIntake{p.Intake, s.metrics}
}

// countedPolicy counts connections and refusals.
type countedPolicy struct {
	smtpd.Policy
	m *metrics.Metrics
}

func (p countedPolicy) count(command string, v smtpd.Verdict) smtpd.Verdict {
	if v.Hangup || !v.Reply.IsZero() {
		p.m.Rejected(command, v.Reply.Code)
	}
	return v
}

func (p countedPolicy) Connect(ctx context.Context, c *smtpd.Client) smtpd.Verdict {
	p.m.Connected()
	return p.count("connect", p.Policy.Connect(ctx, c))
}

func (p countedPolicy) Helo(ctx context.Context, c *smtpd.Client) smtpd.Verdict {
	return p.count("helo", p.Policy.Helo(ctx, c))
}

func (p countedPolicy) Mail(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return p.count("mail", p.Policy.Mail(ctx, t))
}

func (p countedPolicy) Rcpt(ctx context.Context, t *smtpd.Transaction, r *smtpd.Recipient) smtpd.Verdict {
	return p.count("rcpt", p.Policy.Rcpt(ctx, t, r))
}

func (p countedPolicy) Data(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return p.count("data", p.Policy.Data(ctx, t))
}

func (p countedPolicy) EndOfData(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return p.count("end-of-data", p.Policy.EndOfData(ctx, t))
}

// countedIntake counts messages by what their client was told.
type countedIntake struct {
	smtpd.Intake
	m *metrics.Metrics
}

func (i countedIntake) Begin(ctx context.Context, t *smtpd.Transaction) (smtpd.Body, smtp.Reply) {
	b, reply := i.Intake.Begin(ctx, t)
	if b == nil {
		return nil, reply
	}
	return countedBody{b, i.m}, reply
}

type countedBody struct {
	smtpd.Body
	m *metrics.Metrics
}

func (b countedBody) Commit(ctx context.Context, t *smtpd.Transaction) smtp.Reply {
	reply := b.Body.Commit(ctx, t)
	b.m.Ended(reply.Code)
	return reply
}

// tableLog is the log of lookup tables; it counts their warnings.
type tableLog struct {
	table.Logger
	m *metrics.Metrics
}

func (l tableLog) Warningf(format string, args ...any) {
	l.m.TableTrouble()
	l.Logger.Warningf(format, args...)
}
