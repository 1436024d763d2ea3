// Package mailbox writes messages into mailboxes on disk: Maildir directories
// and mbox files. Both the virtual and the local agent deliver through it.
//
// # What is written
//
// A delivery is a few header lines made here (see Header), then the text of the
// message with LF line ends. Everything is done as the owner of the mailbox, by
// way of privsep; directories made have mode 0700 and files 0600.
//
// # Maildir
//
// A file is written in tmp/ and then renamed into new/, never over an existing
// name. Its name follows from the message and the recipient alone:
//
//	1716730000.Q18D3A5F00C2R4.mx.example.org
//	|          |           |  `- host name, "/" as \057 and ":" as \072
//	|          |           `---- index of the recipient in the envelope
//	|          `---------------- queue id
//	`--------------------------- arrival, seconds since 1970
//
// So a delivery that is repeated, because the server died before it had
// recorded the first, finds its own file and makes no second one. On the first
// attempt (Message.Attempt 0) the refused rename into new/ shows it. On later
// ones new/ and cur/ are searched before anything is written; the host name and
// the flags behind ":" do not matter there. The queue counts a message that was
// recovered at start as attempted. A file of that name which is not the same in
// length and CRC was damaged by a power cut; it stays, and the message is
// written once more as ...R4_1.mx.example.org. A file left in tmp/ by a crash
// is replaced. A message that its reader has moved to another folder, or
// deleted, in the time between is not found: it is delivered again.
//
// Missing directories below the base are made: the Maildir with its parents,
// tmp, new and cur. The base itself never is: when virtual_mailbox_base is missing
// (a file system that is not mounted) mail waits; without mail_spool_directory the
// local agent bounces it (5.2.0), as Postfix does.
//
// Nothing is synced where spool.SyncMode says Shared; the file is described in
// the Receipt, and the spool keeps the message until a checkpoint has made it
// durable. Where it says Each (NFS, FUSE), or when Message.Durable is set, the
// file, new/ and directories that were made are synced before Deliver returns.
// The write-back of files of 32 KiB and more is begun early (sync_file_range), so
// that a checkpoint finds little to write; of smaller ones it is not: on ext4 that
// was measured to halve the rate of deliveries.
//
// # Mbox
//
// The message is appended to the file, in the form mboxo:
//
//	From sender@client.example  Mon Jun  3 14:05:09 2024
//	Return-Path: <sender@client.example>
//	...
//	>From the start of a line is quoted
//	<empty line>
//
// MAILER-DAEMON stands for the null sender. Locks are taken as configured
// (fcntl, flock, dotlock); the file must be regular, with one name, no symbolic
// link, and, with Options.StrictOwner, belong to the recipient. Parent
// directories are not made. A file that does not end in an empty line, because
// somebody died while writing, gets one first. The file is synced before Deliver
// returns; a failed append is cut off again.
//
// An append that is repeated, because the server died before it had recorded the
// first, finds that one. On the first attempt nothing is looked for. On later
// ones the file, under its locks, is searched from its end for the header lines
// made for this recipient followed by a Received line with the queue id, behind
// a From line for the sender: no other delivery writes that, since an id is never
// used twice. Then it is compared with what would be written:
//
//	the same                         it was delivered; it is synced now
//	the file ends within it          it is cut off, and written anew
//	longer, with the same end        a reader has marked it (Status, X-UID): delivered
//	anything else                    it is written once more
//
// So an append that was killed at any octet leaves one copy, which is whole. While
// a message is appended, the file has an extended attribute with its length before
// and the From line (user.postern.append); it is not synced by itself. When another
// message of ours comes first after the kill, it is told by that where a torn one
// begins, and cuts it off: if there is nothing behind the mark but a part of one
// message with that From line. The search asks
// for a text that begins with a Received line with the id, which all mail has;
// one without is appended again. A message that its reader has removed in the
// time between is delivered again. Two recipients of one message whose copies are
// the same in every header line count as one here.
//
// A file that an alias or a .forward file names (route.Mailbox.File) may belong to
// anybody who lets the user write to it, but must not be executable; where no
// lock file can be made beside it, the other locks have to do.
//
// # Staying inside
//
// A mailbox path has to lie below its base, both as text and on disk. Symbolic
// links are followed as long as they are relative and stay inside; all others
// are refused (openat2(2) with RESOLVE_BENEATH). On kernels without openat2
// (before Linux 5.6) symbolic links below the base are refused altogether. The
// base itself may be reached through symbolic links.
//
// # Failures
//
// Failures are an *Error with an enhanced status code. Quota exceeded and file
// too large (also Options.Limit) are permanent, 5.2.2; all others are temporary:
// 4.3.0 for a full disk, 4.3.5 for a path that leaves its base or an owner that
// the process cannot become, else 4.2.0. Nothing half-written stays behind.
//
// Not here: quotas other than the size limit, Maildir++ folders, index files,
// notification of readers, mailboxes in any other format.
//
// It imports privsep, route (for its Mailbox), spool (for its Applied) and
// golang.org/x/sys/unix.
package mailbox
