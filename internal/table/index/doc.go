// Package index is the lookup table that is a compiled file: hash:, btree:,
// lmdb:, cdb:. What lies in such a file is the business of the packages bdb,
// lmdb and cdb, each of which describes it with a Format; here is what they
// have in common.
//
// # Which file answers
//
// A table "hash:/etc/postfix/virtual" has a source text, /etc/postfix/virtual,
// and an index, /etc/postfix/virtual.db. With table_autocompile (the default)
// the source text answers when it is newer than the index or there is no index,
// which the log says once; then nothing is wrong when postmap(1) was forgotten.
// Otherwise, and always with table_autocompile = no, the index answers; then a
// source text that is newer and was changed more than 100 seconds ago is worth
// a warning, as in Postfix. The question is decided anew once a second, and at
// once when the index changes. A source text counts after it has stood still
// for a second, for an editor may be writing it, or been changing for five.
//
// A damaged index is a failing table, not a reason to ask the source text: it
// may be older or be there no more. An index that was removed, or that may not be
// opened any more, stays in use as long as nothing takes its place.
//
// Where this process may not look, Opener.Helper does, for each examination: once
// a second, not for each look-up.
//
// # Keys and values
//
// Postfix stores a NUL byte behind keys and values, or does not; the first key
// that is found decides for the file (postmap -N, -n). A value ends at its first
// NUL. With Use.Fold keys are folded before they are looked up.
//
// Results from an index say that they are in that file. With Opener.Locate they
// say the line of the source text, if it has the same row.
//
// postalias(1) adds three records that are not aliases: "@", YP_LAST_MODIFIED
// and YP_MASTER_NAME. All yields them like all others.
//
// # Reading while others write
//
// The file is mapped into memory, so an open table costs no memory of its own.
// Debian's postmap writes a file in place, under a lock. Readers take the lock
// only to map the file. Afterwards each answer is verified instead: if the inode
// of the file has changed since (stamp), the answer is thrown away, the file is
// mapped again, and the question asked once more. See mapping.
//
// # Writing
//
// Builder replaces files whole, also to add or delete one row: whoever reads
// has the old file or the new one, after a crash too. See Builder.
//
// It imports address, origin, syntax, table, table/text and golang.org/x/sys/unix.
package index
