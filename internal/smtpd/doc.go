// Package smtpd is the server's side of an SMTP session (RFC 5321): an explicit
// state machine that reads commands, asks its hooks, and answers in Postfix's
// words.
//
// One goroutine runs one session. Its states are those of the type state, its
// commands those of the table in commands.go: each row names a command, its
// handler, and what is true of it (may come before STARTTLS, must be the last of
// a pipelined group, counts as junk). The handlers are in one file a family:
// greet.go (HELO, EHLO), mail.go, rcpt.go, data.go, starttls.go, other.go.
//
// # A session and its hooks
//
//	S: 220 mx.example.org ESMTP Postern     Policy.Connect, before it
//	C: EHLO client.example                  Policy.Helo
//	S: 250-mx.example.org ...
//	C: MAIL FROM:<joe@client.example>       Profile taken anew, Policy.Mail, Intake.Room
//	S: 250 2.1.0 Ok
//	C: RCPT TO:<john@example.org>           Policy.Rcpt; the first that passes: Intake.Begin
//	S: 250 2.1.5 Ok
//	C: DATA                                 Policy.Data
//	S: 354 End data with <CR><LF>.<CR><LF>
//	C: ...                                  Body.Write
//	C: .                                    Policy.EndOfData, Body.Commit
//	S: 250 2.0.0 Ok: queued as 4F1C0A9E7B21
//
// A Profile bundles the settings with the policy and the intake behind them. A
// session takes the newest one whenever no transaction is open, so a reload
// changes what the next transaction meets and drops no connection.
//
// The order of a check is fixed: the syntax of the command, its place in the
// dialogue, limits, then the hook. What a hook refuses is logged here, in the
// form of Postfix: "NOQUEUE: reject: RCPT from H[IP]: 550 5.1.1 ...; from=<s>
// to=<r> proto=ESMTP helo=<h>".
//
// # Bounds
//
// Command lines, recipients, errors, connections in all and per client, message
// size and every wait have a limit in Config or Server. Replies to pipelined
// commands are collected and sent when no further whole command is at hand (RFC
// 2920).
//
// Ten thousand idle sessions are to cost little: about 7 KiB each, the stack of the
// goroutine included, and 20 KiB with TLS, most of it state of crypto/tls. So a
// session that waits holds 256 octets of buffer; those for longer commands and for
// message text are lent while they are needed, and a TLS handshake runs on a stack
// that goes with it. TestIdleSessions looks at the memory of a whole process.
//
// # What is not here
//
// AUTH, BDAT, XCLIENT and XFORWARD are not announced and are answered as Postfix
// answers them where they are not configured. Whether a recipient exists, what a
// client may do, whose mail ETRN may ask for, where text goes and header fields
// are the hooks' affair.
//
// The package imports address and smtp.
package smtpd
