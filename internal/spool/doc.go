// Package spool is the durable store of messages in transit: what a client was
// told 250 for is here until every recipient is done with, whatever happens to
// the process, the system or the power.
//
// # How it is used
//
//	s, err := spool.Open(dir, spool.Options{QueueMinFree: 1 << 20, Log: log})
//	for p := range s.Pending() { ... }            // what is left from before
//
//	d, err := s.Create(size)                      // ErrFull: 452
//	defer d.Abort()
//	d.Write(text)                                 // LF line ends
//	m, err := s.Commit(ctx, spool.Change{New: []spool.New{{Draft: d, Envelope: e}}})
//	                                              // nil: 250
//	body, err := m[0].Open()                      // deliver it
//	s.Commit(ctx, spool.Change{Settle: ...})      // or Defer
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
// A delivery into a Maildir is not synced by itself. It is settled with an
// Applied, which says how to recognise the file. A checkpoint syncs all of the
// mail file system with one syncfs, records that, and only then are messages
// struck off. Recovery in the same boot trusts what was settled; after another
// boot it looks for each file that no checkpoint covers, in new/ and cur/, and
// opens the recipient again when the file is not there or not whole. So agents
// name files after message and recipient and look for that name first; then a
// repeat makes no second copy.
//
// The log is freed at its old end only, because later records tell the fate of
// earlier ones. A message that stays is moved to the head of the log with its
// state, when more than half of the log is dead.
//
// The order that everything rests on:
//
//  1. large texts and their directory are synced, then the record is written;
//  2. the record is synced, then Commit returns;
//  3. a segment is synced to its end, then the next one is begun;
//  4. deliveries are synced, then the mark that covers them is written;
//  5. the mark is synced, then segments are used again and files removed;
//  6. the new name of a segment is synced, then records go there.
//
// # When things go wrong
//
// A write or sync of the log that fails makes the spool ill: everybody who
// waits gets the error, Err tells it, and nothing is accepted or recorded until
// the spool is opened again. No space is not an illness: it is ErrFull, for new
// messages only, while room is kept for the records of those that are here.
// Damaged bytes are copied to quarantine/ with a warning, and everything else
// is recovered; only the end of the log that was never acknowledged is dropped
// in silence.
//
// # Limits
//
// A change, without the texts that have files, is at most half a segment. The
// index holds every pending message's envelope in memory. Recovery reads the
// whole log. Appends to mbox files are not covered: their agent syncs by
// itself, and settles without an Applied. Replication is not here.
//
// The format on the disk is in docs/spool-format.md.
//
// It imports only the standard library and golang.org/x/sys/unix.
package spool
