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
//   - opens the log file, anew after a rotation; as mail_owner where the directory
//     is mail_owner's
//   - says of Maildirs whether they are there
//   - makes delivered mail durable for the spool, and says after a crash whether
//     it is there and whole (MailFS, Mail)
//
// It parses nothing that comes from the network but the lengths in front of it.
//
// # What the server may ask for
//
// That is the Policy, which the helper makes of the configuration itself, at the
// start and at every reload; nothing the server says goes into it. Whatever the
// policy says, nothing is done as user or group 0, as mail_owner (but to open the
// log) or as setgid_group.
//
// Nobody gets another group than the one: that of the user in passwd(5), or of
// default_privs where that is root's; of a pipe service, that of its user= and
// group=; of a virtual mailbox, one that virtual_gid_maps has in a text file or as
// static:. Where that parameter has other tables, which the helper does not read,
// any group will do for a mailbox below virtual_mailbox_base.
//
// A reload has two steps. First the helper reads the new configuration and keeps
// it beside the old one: files and listeners of either may be opened, for the
// server has to try them; everything else is judged by the old one. Then the
// server says whether the new one is in force (Client.Refresh, Commit, Abort).
//
// A mailbox lies below virtual_mailbox_base, or is where local(8) puts mail of
// that very user; mail_spool_directory lends its group for that (/var/mail is
// root:mail 2775), and no other directory does. Any other file, every command and every :include: file must be
// named where an administrator or its user has named it, word for word:
//
//	alias_maps              the text files, with the rights of default_privs or of
//	                        the owner of the file
//	.forward                with the rights of the user
//	:include:               files that these name; with the rights of their owner
//	                        where the list that names them is root's
//	mailbox_command         as any system user
//	mailbox_command_maps    the text files: as the user of the row
//	pipe services           the fixed arguments as they are in master.cf, as user=
//
// The helper reads these texts when it is asked, those of users with the rights of
// the user, and again when they have changed. Lists are searched as deep as package
// route follows them and up to 128 MiB in all; where that was not enough, the
// refusal says so. allow_mail_to_commands and allow_mail_to_files count. A command gets
// the environment of export_environment, HOME and SHELL of its user, and what tells
// it about the message, with no characters that command_expansion_filter lacks; its
// working directory is not one of mail_owner.
//
// A table of aliases that has no text (ldap:, inline:, an index alone) cannot be
// compared with: whose rights it gives away, default_privs or its owner, may then
// run anything and write anywhere (Policy.Trusted). With such a table in
// mailbox_command_maps every system user may run anything (Policy.AnyCommand). An
// index that is older than its text (table_autocompile = no) does not count: what
// only it has is refused until it is built.
//
// # What a server that was taken over can do
//
// It can read the mail that passes through it, and deliver what it likes to the
// mailboxes there are and to the files and commands just named, with any input
// and with any sender, recipient or extension. It can open the files that the
// configuration names, for reading: tables with their passwords, keys. Of a file
// in a Maildir it can learn whether it has a length and checksum that it guesses,
// and whether a file is there that a user could see.
//
// It cannot read mail that was delivered, run other programs than those named,
// become root or another user, change the configuration, or leave anything behind
// outside its queue directory.
//
// # The wire
//
// Both processes are the same program, so there is one version of the format. A
// frame is a length (4 bytes), a kind (1 byte) and fields: numbers as varints,
// texts with a length in front. A request is answered before the next one on that
// connection; the server makes as many connections as it needs, by sending one
// end of a socket pair over the control socket. Small message texts are part of
// the request, large ones are asked for in pieces. Small deliveries into Maildirs
// travel together: those that come while a request is under way wait for it, and
// share the next one. As long as a request takes more than 100 ms, others go by
// themselves, as do deliveries that wait for a lock or for the disk (mailbox_sync =
// each). Descriptors travel as
// SCM_RIGHTS. The control socket brings log lines the other way, and tells each
// process of the other's end.
//
// When the server ends, the helper kills the commands that run, lets deliveries
// finish, and ends with the server's status. When the helper ends, its commands
// are killed by the kernel, every delivery is deferred (ErrGone), and the server
// stops.
//
// Not here: the directories of the server and what its configuration means
// (package server), Landlock (package privsep).
//
// It imports address, command, control, mailbox, maillog, privsep, route, spool,
// table/text and golang.org/x/sys/unix.
package helper
