// Package index is the lookup table that is a compiled file: hash:, btree:,
// lmdb:, cdb:.
//
// It imports address, origin, syntax, table and table/text.
package index
