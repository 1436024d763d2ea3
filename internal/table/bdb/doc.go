// Package bdb reads and writes Berkeley DB files: the hash: and btree: tables of
// Postfix. It is written from the facts of the format alone; there is no C
// library behind it. It imports table/index.
//
// # Pages
//
// A file is a row of pages of one size, 4096 bytes if postmap wrote it; every
// power of two from 512 to 65536 is read. Numbers are little-endian or big-endian,
// whatever the machine of the writer was; the magic number on page 0 tells. Page 0
// describes the file; all others begin with the same 26 bytes: own number, the
// pages before and after in a chain, how many items there are, where the lowest of
// them begins, the level in a tree, the kind of page. Behind them stands a list of
// 16-bit offsets, growing upwards; the items they point at are packed against the end
// of the page, growing downwards. Even items are keys, and each is followed by
// its value:
//
//	┌────────┬────────────────────┬─ free ─┬──────────────────────────────────┐
//	│ header │ offset 0, 1, 2, 3  │        │ value 1 │ key 1 │ value 0 │ key 0 │
//	└────────┴────────────────────┴────────┴──────────────────────────────────┘
//
// A key or a value that would fill a quarter of a page lies elsewhere, on a chain of
// overflow pages that hold nothing else; its item says where the chain begins and
// how long the whole is.
//
// # Hash
//
// The key's hash (FNV with a zero start) says which bucket it belongs to. The number of
// buckets grows one by one: the bucket is the hash masked to the next power of two,
// and, while there is no bucket of that number yet, masked with one bit less.
// The pages of the buckets lie in groups, 1, 1, 2, 4, 8 ... of them together; page 0
// has a list of where each group begins. A bucket that does not fit on its page goes on
// along a chain. On a page the keys are sorted, those that begin with another key before
// that one. A page of nothing but zeros is a bucket that nobody wrote to, or one that
// is not there yet.
//
// # Btree
//
// The leaves hold the records in the order of their keys (as unsigned bytes), each
// leaf knows its neighbours. Above them stand pages with one item for every page
// below: its number and a key that is not greater than any key in it, and greater
// than every key before; as short as can be. The first of these keys means
// "smaller than everything" and is empty. The root is page 1.
//
// # Damage
//
// Files of this kind have no checksums. What they have are many facts that are told
// twice, and this package compares them: a page's number with its place, the links there
// with the links back, the lengths of the items with the room they fill, the order
// of the keys, the bucket of a key with the hash of the key. Each page is looked
// through when it is met for the first time, and only then, so that a damaged page
// is an error, not a key that is "not found". A search of a tree that fails at the
// border of a leaf looks at the neighbour too. What remains invisible is a change in a
// value; in a key that is in order and in its bucket all the same; in the last two bits of
// the length of an item of a btree, or in its mark for deleted items; and a link that
// says a bucket ends here when it does not.
//
// # Writing
//
// Whole files are written at once, so there is nothing to split or to balance: the
// records are sorted (by bucket or by key), cut into chunks, and the chunks become
// pages on all cores. The results were verified with db5.3_verify, also after
// postmap added and deleted records in them. The tests do that again.
//
// Not supported, because Postfix never makes such files: duplicate keys, several
// databases in one file, checksums, encryption, partitions, compression, record
// numbers, and versions of the format before Berkeley DB 4.
package bdb
