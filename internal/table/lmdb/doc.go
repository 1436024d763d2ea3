// Package lmdb reads and writes the files of lmdb: tables: the format of the
// Lightning Memory-Mapped Database, as Postfix uses it.
//
// # The file
//
// A file is a row of pages of one size, 4096 bytes on most machines, numbered
// from 0. Its numbers are in the byte order of the machine that wrote it, and
// ours is little-endian. A page begins with 16 bytes: its own number (8 bytes),
// 2 bytes of no use here, 2 bytes that say what kind of page it is, and two
// offsets of 2 bytes that are explained below.
//
// Pages 0 and 1 are meta pages. Each describes the whole file as it was after
// one transaction: where its tree begins, how deep it is, how many records it
// holds, and the number of the transaction. A writer never changes a page that
// is in use. It writes changed copies to free pages and then overwrites the
// older of the two meta pages, so the other one stays good until the last
// moment. Transactions with an even number go to page 0, with an odd number to
// page 1, and the higher number counts.
//
// The records are a B+tree. Its leaves hold them in the order of their keys
// (compared byte by byte, the shorter of two first where one begins the other).
// Above the leaves are branch pages, which hold for each page below them its
// number and the least key that it may contain; the key of the first one is
// empty and means "anything less". All leaves are equally deep.
//
//	leaf or branch page
//	+--------+-------------------+----------+----------------------+
//	| header | offsets of nodes  |   free   |        nodes         |
//	+--------+-------------------+----------+----------------------+
//	0        16               lower       upper              page size
//
// The offsets, 2 bytes each, are in the order of the keys, the nodes lie in the
// order of their coming, without a gap. A node is 8 bytes of sizes and flags,
// the key and the data, filled up to an even length. Where the data of a leaf
// would leave no room for a second record on the page, it lies on a run of pages
// of its own, of which only the first has a header, and the node says where.
//
// Postfix stores every key and every value with a NUL byte at its end.
//
// # Damage
//
// Nothing in the format is a checksum. What it does hold twice is compared: each
// page says its number, both meta pages must be sound and of transactions that
// follow each other, nodes lie side by side, keys ascend and keep within the bounds
// that the pages above have set. Before a key is said to be missing, its
// surroundings are examined. So one damaged byte leads to the right answer or to
// an error, except for the record that it lies in, which may have another value
// or be found under another key, and except where it makes the older meta page
// look newer or turns the number of a page into that of an old copy, which the
// file may still contain.
//
// The package does no input and output: the bytes come from its caller, who
// locks the file, and go to a writer. It imports only index.
package lmdb
