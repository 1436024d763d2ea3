package lmdb

import (
	"encoding/binary"
	"fmt"

	"postern/internal/table/index"
)

// Format describes lmdb: files to package index.
func Format() index.Format {
	return index.Format{
		Type:        "lmdb",
		Suffix:      ".lmdb",
		Null:        true,
		Lock:        index.FcntlLock,
		Incremental: true,
		MaxKey:      maxKey,
		Open:        open,
		Write:       write,
	}
}

// maxKey is the longest key, with its NUL, that the usual build of liblmdb takes.
const maxKey = 511

// Sizes.
const (
	ourPageSize = 4096  // of files that are written here
	minPageSize = 512   // of files that are read
	maxPageSize = 32768 // offsets are 16 bits
	pageHeader  = 16
	nodeHeader  = 8
	metaSize    = pageHeader + 136 // of a meta page that is in use
	maxDepth    = 32
	minMapSize  = 16 << 20 // lmdb_map_size
)

// Kinds of pages.
const (
	branchPage   = 1
	leafPage     = 2
	overflowPage = 4
	metaPage     = 8
)

// Flags of the nodes of a leaf.
const (
	bigNode  = 1 // the data is the number of an overflow page
	treeNode = 2 // the data describes a tree: a named database
	dupNode  = 4 // the data is a list of values
)

// Words of a meta page.
const (
	magic     = 0xBEEFC0DE
	version   = 1
	noPage    = 1<<64 - 1
	envFlags  = 0x4008 // integer keys in the tree of free pages, no directory
	dupSorted = 4      // a flag of the tree of records
)

// Where the words of a meta page lie.
const (
	atMagic    = pageHeader
	atVersion  = pageHeader + 4
	atMapSize  = pageHeader + 16
	atPageSize = pageHeader + 24 // in the record of the tree of free pages,
	atEnvFlags = pageHeader + 28
	atFreeRoot = pageHeader + 64
	atFlags    = pageHeader + 76 // in that of the tree of records
	atDepth    = pageHeader + 78
	atBranches = pageHeader + 80
	atLeaves   = pageHeader + 88
	atOverflow = pageHeader + 96
	atEntries  = pageHeader + 104
	atRoot     = pageHeader + 112
	atLastPage = pageHeader + 120
	atTxn      = pageHeader + 128
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

// alien is a file that may be sound and is not for us. It counts as damaged,
// without saying so.
type alien string

func (a alien) Error() string { return string(a) }
func (a alien) Unwrap() error { return index.ErrDamaged }

func damaged(page uint64, what string) error {
	return fmt.Errorf("%w: page %d: %s", index.ErrDamaged, page, what)
}
