// Package helper keeps the rights of root out of the process that faces the
// network. Started by root, the server is two processes:
//
//	helper (root)                      server (mail_owner)
//	  reads main.cf and master.cf        sessions, queue, SMTP out
//	  Supervise, Helper  <- sockets ->   Client
//
// The helper starts the server as mail_owner (Supervise), with no capability and
// no way to get one, and stays behind. It does what needs the rights of root:
//
//   - stores mail as its owner (mailbox.Store), and runs commands and reads
//     .forward files as somebody
//   - opens the listeners of master.cf, and a control socket that lies where
//     only root may make one
//   - opens files that only root may read, for reading: keys, tables, main.cf
//   - opens the log file, anew after a rotation
//   - makes delivered mail durable for the spool (MailFS)
//
// It parses nothing that comes from the network but the lengths in front of it.
//
// # What the server may ask for
//
// That is the Policy, which the helper makes of the configuration itself, at the
// start and at every reload; nothing the server says goes into it. Whatever the
// policy says, nothing is done as user or group 0, as mail_owner or as
// setgid_group. A mailbox lies below virtual_mailbox_base, is where local(8) puts
// mail of that very user, or is named in a .forward file of the user. A command
// is the program of a pipe service as its user, or runs as default_privs, as the
// owner of an alias file, or as a user who has a command in a .forward file.
//
// A server that was taken over can still read the mail that passes through it,
// deliver what it likes to the mailboxes there are, and run commands as the users
// just named. It cannot read mail that was delivered, become root or another
// user, change the configuration, or leave anything behind outside its queue
// directory.
//
// # The wire
//
// Both processes are the same program, so there is one version of the format. A
// frame is a length (4 bytes), a kind (1 byte) and fields: numbers as varints,
// texts with a length in front. A request is answered before the next one on that
// connection; the server makes as many connections as it needs, by sending one
// end of a socket pair over the control socket. Small message texts are part of
// the request, large ones are asked for in pieces. Descriptors travel as
// SCM_RIGHTS. The control socket brings log lines the other way, and tells each
// process of the other's end.
//
// When the server ends, the helper kills the commands that run, lets deliveries
// finish, and ends with the server's status. When the helper ends, every delivery
// is deferred (ErrGone), and the server stops.
//
// Not here: the directories of the server and what its configuration means
// (package server), Landlock (package privsep).
//
// It imports command, control, mailbox, privsep, route, spool and
// golang.org/x/sys/unix.
package helper
