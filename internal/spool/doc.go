// Package spool is the durable store of messages in transit: what a client was
// told 250 for is here until every recipient is done with, whatever happens to
// the process, the system or the power.
//
// # How it is used
//
//	s, err := spool.Open(dir, spool.Options{QueueMinFree: 1 << 20, Log: log})
//	for w := range s.Waiting() { ... }            // what is left, from memory
//	p, err := s.Load(w.Number)                    // one of them, from the log
//
//	err := s.Room()                               // at MAIL; ErrFull: 452
//	d, err := s.Create(size)                      // ErrFull: 452
//	defer d.Abort()
//	d.Write(text)                                 // LF line ends
//	m, err := s.Commit(ctx, spool.Change{New: []spool.New{{Draft: d, Envelope: e}}})
//	                                              // nil: 250
//	body, err := m[0].Open()                      // deliver it
//	s.Commit(ctx, spool.Change{Settle: ...})      // or Defer, Plan, Remove
//
// # How it works
//
// The spool is a log: messages and what becomes of them are records, appended
// to the newest of a row of segment files. Sessions that commit at the same
// time share one fdatasync. Segments are filled with zeros before their first
// use and used again afterwards, so that a sync writes data and no metadata:
// on ext4 it takes a third of the time that a growing file needs. Texts above
// Options.InlineLimit go to files of their own, synced before their record.
//
// The index holds numbers only: of each message where its text and its newest
// state are, when it is tried, and which recipients are done with; 48 bytes for
// a message with up to 16 recipients. Everything else Load reads from the log,
// at one place, because a postponement writes the whole state of its message
// anew, without the text. Texts of new messages are kept in memory for their
// first delivery, 32 MiB of them.
//
// A delivery into a Maildir is not synced by itself. It is settled with an
// Applied, which says how to recognise the file. A checkpoint syncs all of the
// mail file system with one syncfs, records that, and only then are messages
// struck off. Recovery in the same boot trusts what was settled; after another
// boot it looks for each file that no checkpoint covers, in new/ and cur/, and
// opens the recipient again when the file is not there or not whole. So agents
// name files after message and recipient and look for that name first; then a
// repeat makes no second copy.
//
// What a checkpoint cannot sync stays owed, and a record says so behind the place
// up to which all else is covered. An error of the disk is told once, and what it
// is about is then forgotten by the system: so after a syncfs that failed, every
// file there is written again from its own bytes and synced by itself, until the
// spool is opened anew; so is a file that could not be synced; and so are, after
// a crash, those that no checkpoint had covered.
//
// # Snapshots
//
// Now and then a checkpoint writes the index to a file. Open reads the newest
// one, and of the log only what was written since: at most two checkpoints'
// worth, or twice the size of the snapshot. A snapshot is exact. Under the lock
// its place in the log is taken, and the list of the index's blocks; who
// changes one of these blocks while they are written changes a copy. So reading
// the log from that place on does the same as it did when it was written, and
// nothing has to be said about doing it twice. The file gets its name after the
// log is synced: it never tells of what the log does not have.
//
// Two snapshots are kept. A damaged one is passed over for the one before, and
// without any the log is read from its first segment. That all three find the
// same follows from what may be given back:
//
//   - A segment at the old end, of which no message needs anything. Every message
//     left has its text and state in later segments, and what is said of it comes
//     after them. A snapshot from before the first segment is not used then.
//   - Any segment from before the older snapshot, of which no message needs
//     anything. A snapshot may refer to it, but then a later record, which is
//     there, says where the message went or that it is done with.
//
// Only when both snapshots are lost, and segments of the second kind were given
// back, are there finished messages whose end nobody knows: they may be delivered
// again, and a warning says so. None is lost even then.
//
// Segments that keep little are emptied: while more than half of what lies
// before the older snapshot is dead, the messages of the emptiest segments are
// moved to the head of the log. No more is moved than was written; see evacuate.
//
// The order that everything rests on:
//
//  1. large texts and their directory are synced, then the record is written;
//  2. the record is synced, then Commit returns;
//  3. a segment is synced to its end, then the next one is begun;
//  4. deliveries are synced, then the mark that covers them is written;
//  5. the mark is synced, then segments are used again and files removed;
//  6. the new name of a segment is synced, then records go there;
//  7. the log is synced, then a snapshot of it gets its name; that is synced,
//     then an older one is removed.
//
// # When things go wrong
//
// A write or sync of the log that fails makes the spool ill: everybody who
// waits gets the error, Err tells it, and nothing is accepted or recorded until
// the spool is opened again. No space is not an illness: it is ErrFull, as a rule
// for new messages only, while room is kept for the records of those that are
// here; what could not be made for want of space is tried again by itself. A
// change of those that finds none counts all the same, and is written later:
// ErrUnwritten. The exception is
// a sync of the log that reports no space, which only a file system can do that
// does not write in place. Then it is open which of the bytes since the last
// sync are on the disk, records of settlements among them that nobody waited
// for, and the spool is ill: opening it again reads what is really there.
//
// Damaged bytes are copied to quarantine/ with a warning, and everything else
// is recovered; only the end of the log that was never acknowledged is dropped
// in silence. Open sees damage only where it reads; elsewhere it is ErrDamaged
// from Load or Message.Open, or found when the message is to be moved.
//
// # Limits
//
// A change, without the texts that have files, is at most half a segment. Open
// without a spare segment and without space for one fails. Appends to mbox
// files are not covered: their agent syncs by itself, and settles without an
// Applied. Replication is not here.
//
// The format on the disk is in docs/spool-format.md.
//
// It imports only the standard library and golang.org/x/sys/unix.
package spool
