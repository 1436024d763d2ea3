package lmdb

import (
	"fmt"

	"postern/internal/table/index"
)

// file is the tree of records after the last transaction.
type file struct {
	data     []byte
	pageSize uint64
	pages    uint64 // those with lower numbers are in the file
	root     uint64
	depth    int // 0: there are no records
	entries  uint64
}

// meta is what the reader wants of a meta page.
type meta struct {
	pageSize, flags, depth       uint64
	entries, root, lastPage, txn uint64
}

// open reads the meta pages. Both must be sound, as liblmdb demands it too.
func open(data []byte) (index.Reader, error) {
	m, err := readMeta(data, 0)
	if err != nil {
		return nil, err
	}
	size := m.pageSize
	if uint64(len(data)) < 2*size {
		return nil, damaged(1, "the file ends before its second page")
	}
	other, err := readMeta(data[size:], 1)
	switch {
	case err != nil:
		return nil, err
	case other.pageSize != size:
		return nil, damaged(1, "its page size is not that of page 0")
	case m.txn&1 != 0 || other.txn&1 == 0 && other.txn != 0,
		m.txn+1 != other.txn && other.txn+1 != m.txn && m.txn|other.txn != 0:
		return nil, damaged(1, fmt.Sprintf("transaction %d after %d in page 0", other.txn, m.txn))
	}
	no := uint64(0)
	if other.txn > m.txn {
		m, other, no = other, m, 1
	}
	if m.lastPage < other.lastPage {
		return nil, damaged(no, "the file had more pages before") // it never shrinks
	}
	if err := m.check(no); err != nil {
		return nil, err
	}
	return &file{
		data:     data,
		pageSize: size,
		pages:    min(uint64(len(data))/size, m.lastPage+1),
		root:     m.root,
		depth:    int(m.depth),
		entries:  m.entries,
	}, nil
}

// readMeta reads the meta page with this number, at the beginning of data.
func readMeta(data []byte, no uint64) (meta, error) {
	if len(data) < metaSize {
		return meta{}, damaged(no, "the file ends here")
	}
	switch word := le.Uint32(data[atMagic:]); word {
	case magic:
	case 0xDEC0EFBE:
		return meta{}, alien("this lmdb file is from a machine of the other byte order: make it again with postmap")
	default:
		return meta{}, alien(fmt.Sprintf("not an lmdb file: page %d has the magic number %#x, not %#x", no, word, uint32(magic)))
	}
	if v := le.Uint32(data[atVersion:]); v != version {
		return meta{}, alien(fmt.Sprintf("version %d of the lmdb format, only %d is known", v, version))
	}
	if le.Uint64(data) != no || le.Uint16(data[10:]) != metaPage {
		return meta{}, damaged(no, "it is not marked as a meta page")
	}
	m := meta{
		pageSize: uint64(le.Uint32(data[atPageSize:])),
		flags:    uint64(le.Uint16(data[atFlags:])),
		depth:    uint64(le.Uint16(data[atDepth:])),
		entries:  le.Uint64(data[atEntries:]),
		root:     le.Uint64(data[atRoot:]),
		lastPage: le.Uint64(data[atLastPage:]),
		txn:      le.Uint64(data[atTxn:]),
	}
	if s := m.pageSize; s < minPageSize || s > maxPageSize || s&(s-1) != 0 {
		return meta{}, damaged(no, fmt.Sprintf("a page size of %d", s))
	}
	return m, nil
}

// check examines the meta page that counts.
func (m meta) check(no uint64) error {
	switch {
	case m.flags&dupSorted != 0:
		return alien("an lmdb database with several values to a key (MDB_DUPSORT), which Postfix does not use")
	case m.flags != 0:
		return alien(fmt.Sprintf("an lmdb database with the flags %#x, which Postfix does not use", m.flags))
	case m.lastPage == 0 || m.lastPage == noPage:
		return damaged(no, "the number of the last page is impossible")
	case m.root == noPage && m.depth == 0 && m.entries == 0:
		return nil
	case m.root == noPage || m.depth == 0 || m.depth > maxDepth || m.entries == 0:
		return damaged(no, fmt.Sprintf("%d records in a tree of depth %d from page %d", m.entries, m.depth, m.root))
	}
	return nil
}
