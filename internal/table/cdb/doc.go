// Package cdb reads and writes the files of cdb: tables, D. J. Bernstein's
// constant database.
//
// # The file
//
// All numbers are 4 bytes, the least significant one first. A file has three
// parts:
//
//	0      256 × (position, slots)           where the hash tables are
//	2048   (key length, value length, key, value) …   the records
//	       256 × slots × (hash, position)    the hash tables, one after the other
//
// To find a key, its hash is computed: from 5381, for each byte, times 33, and
// exclusive or with the byte. The lowest 8 bits of it choose the hash table, the
// others, modulo the number of slots, the slot where the search begins. It goes
// on from slot to slot, after the last one at the first, until one holds the
// hash and the position of a record that has the key. A slot with the position 0
// is empty and ends the search. Half of the slots are empty.
//
// A file is made in one go and never changed: Postfix builds a new one and gives
// it the name of the old one. Positions are 32 bits, so it ends at 4 GiB. Keys
// and values are stored as they are, on Debian without a NUL byte at the end.
//
// # Damage
//
// There is no checksum, but the hashes of the keys serve as one. The hash tables
// must fill the end of the file without gaps; before a key is said to be missing,
// every record that the search met must have the hash that its slot claims; and
// behind a record there must be another one, or the hash tables. So one damaged
// byte leads to the right answer or to an error, except where it lies in a value,
// or, rarely, in the length of one. Going through all records does not look at
// the hashes.
//
// The package does no input and output: the bytes come from its caller and go to
// a writer. It imports only index.
package cdb
