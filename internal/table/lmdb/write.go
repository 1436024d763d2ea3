package lmdb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"postern/internal/table/index"
)

// write lays out the tree in memory, as lists of the pages of each level, and
// then writes page after page: the meta pages, the leaves from left to right,
// each after the long values of its records, and the levels of branches above.
func write(w io.Writer, records *index.Records) error {
	return writePages(w, records, ourPageSize)
}

// writePages writes a file with pages of this size.
func writePages(w io.Writer, records *index.Records, pageSize int) error {
	b := builder{
		records: sorted(records),
		next:    2,
		out:     bufio.NewWriterSize(w, 1<<20),
		page:    make([]byte, pageSize),
	}
	if err := b.planLeaves(); err != nil {
		return err
	}
	for len(b.levels) > 0 && len(b.top()) > 1 {
		b.planBranches()
	}
	b.writeMetas()
	for i, level := range b.levels {
		for j := range level {
			if i == 0 {
				b.writeLeaf(j)
			} else {
				b.writeBranch(i, j)
			}
		}
	}
	return b.out.Flush() // and the first error of all writes
}

// builder is a file on its way.
type builder struct {
	records *sequence
	levels  [][]ref // of pages: the leaves first, the root last
	next    uint64  // the first page without a use
	long    uint64  // pages of long values

	out  *bufio.Writer
	page []byte // being filled
}

// ref is a page of the tree.
type ref struct {
	no     uint64
	record int // the rank of the first record in it or below it
	first  int // the first page below it, in its level; for a leaf the record
}

func (b *builder) top() []ref { return b.levels[len(b.levels)-1] }

// room is the part of a page that is for nodes and their offsets.
func (b *builder) room() int { return len(b.page) - pageHeader }

// leafNode is the size of the node of a record, with its offset, and the number
// of pages that its value takes if it lies elsewhere: if there would be no room
// for two such nodes.
func (b *builder) leafNode(key, value int) (size, run int) {
	size = nodeHeader + key + value
	if size > b.room()/2&^1-2 {
		size = nodeHeader + key + 8
		run = (pageHeader-1+value)/len(b.page) + 1
	}
	return size + size&1 + 2, run
}

func branchNode(key int) (size int) {
	return nodeHeader + key + key&1 + 2
}

// planLeaves distributes the records to leaves, filled to the brim.
func (b *builder) planLeaves() error {
	var leaves []ref
	used := b.room() // no page yet
	var last []byte
	for i := range b.records.Len() {
		record := b.records.at(i)
		key, value := b.records.Key(record), b.records.Value(record)
		if err := check(last, key, value, i == 0); err != nil {
			return err
		}
		last = key
		size, run := b.leafNode(len(key), len(value))
		if used+size > b.room() {
			b.close(leaves)
			leaves = append(leaves, ref{record: i, first: i})
			used = 0
		}
		used += size
		b.next += uint64(run)
		b.long += uint64(run)
	}
	if leaves != nil {
		b.close(leaves)
		b.levels = append(b.levels, leaves)
	}
	return nil
}

// close gives the last page its number: the long values of its records are
// before it.
func (b *builder) close(pages []ref) {
	if len(pages) > 0 {
		pages[len(pages)-1].no = b.next
		b.next++
	}
}

// check examines a record before it is taken, after the one with the key last.
func check(last, key, value []byte, first bool) error {
	switch {
	case len(key) == 0:
		return errors.New("MDB_BAD_VALSIZE: Unsupported size of key: an empty key")
	case len(key) > maxKey:
		return fmt.Errorf("MDB_BAD_VALSIZE: Unsupported size of key: %d bytes, at most %d are possible, begins %.60q", len(key), maxKey, key)
	case uint64(len(value)) > math.MaxUint32:
		return fmt.Errorf("MDB_BAD_VALSIZE: Unsupported size of data: %d bytes for the key %q", len(value), key)
	case !first && bytes.Equal(last, key):
		return fmt.Errorf("MDB_KEYEXIST: the key %q is there twice", key)
	}
	return nil
}

// planBranches adds a level of branches for the pages of the highest one. A
// branch has two pages below it at least, because liblmdb insists on it.
func (b *builder) planBranches() {
	below := b.top()
	var branches []ref
	used := b.room()
	for i, page := range below {
		size := branchNode(b.keyLen(page.record))
		if used+size > b.room() {
			if i == len(below)-1 { // it would be alone
				i--
				page = below[i]
			}
			branches = append(branches, ref{no: b.next, record: page.record, first: i})
			b.next++
			size = branchNode(0)
			used = 0
		}
		used += size
	}
	b.levels = append(b.levels, branches)
}

func (b *builder) keyLen(rank int) int {
	return len(b.records.Key(b.records.at(rank)))
}

// writeMetas writes page 0 of an empty file, and page 1 of the full one.
func (b *builder) writeMetas() {
	b.writeMeta(0, meta{root: noPage, lastPage: 1}, 0)
	m := meta{root: noPage, lastPage: 1}
	var branches uint64
	if len(b.levels) > 0 {
		for _, level := range b.levels[1:] {
			branches += uint64(len(level))
		}
		m = meta{
			depth:    uint64(len(b.levels)),
			entries:  uint64(b.records.Len()),
			root:     b.top()[0].no,
			lastPage: b.next - 1,
			txn:      1,
		}
	}
	b.writeMeta(1, m, branches)
}

func (b *builder) writeMeta(no uint64, m meta, branches uint64) {
	p := b.start(no, metaPage)
	le.PutUint32(p[atMagic:], magic)
	le.PutUint32(p[atVersion:], version)
	le.PutUint64(p[atMapSize:], max(minMapSize, b.next*uint64(len(p))))
	le.PutUint32(p[atPageSize:], uint32(len(p)))
	le.PutUint16(p[atEnvFlags:], envFlags)
	le.PutUint64(p[atFreeRoot:], noPage)
	le.PutUint16(p[atDepth:], uint16(m.depth))
	if m.depth > 0 {
		le.PutUint64(p[atBranches:], branches)
		le.PutUint64(p[atLeaves:], uint64(len(b.levels[0])))
		le.PutUint64(p[atOverflow:], b.long)
	}
	le.PutUint64(p[atEntries:], m.entries)
	le.PutUint64(p[atRoot:], m.root)
	le.PutUint64(p[atLastPage:], m.lastPage)
	le.PutUint64(p[atTxn:], m.txn)
	b.out.Write(p)
}

// start empties the page buffer for page no.
func (b *builder) start(no uint64, kind uint16) []byte {
	p := b.page
	clear(p)
	le.PutUint64(p, no)
	le.PutUint16(p[10:], kind)
	return p
}

// writeLeaf writes leaf j, after the long values of its records.
func (b *builder) writeLeaf(j int) {
	leaf, end := b.levels[0][j], b.records.Len()
	if j+1 < len(b.levels[0]) {
		end = b.levels[0][j+1].first
	}
	p := b.start(leaf.no, leafPage)
	lower, upper := pageHeader, len(p)
	overflow := uint64(2)
	if j > 0 {
		overflow = b.levels[0][j-1].no + 1
	}
	for i := leaf.first; i < end; i++ {
		record := b.records.at(i)
		key, value := b.records.Key(record), b.records.Value(record)
		size, run := b.leafNode(len(key), len(value))
		upper -= size - 2
		le.PutUint16(p[lower:], uint16(upper))
		lower += 2
		node := p[upper:]
		le.PutUint32(node, uint32(len(value)))
		le.PutUint16(node[6:], uint16(len(key)))
		copy(node[nodeHeader:], key)
		if run == 0 {
			copy(node[nodeHeader+len(key):], value)
			continue
		}
		node[4] = bigNode
		le.PutUint64(node[nodeHeader+len(key):], overflow)
		b.writeOverflow(overflow, run, value)
		overflow += uint64(run)
	}
	b.finish(lower, upper)
}

// writeOverflow writes a long value on pages of its own.
func (b *builder) writeOverflow(no uint64, run int, value []byte) {
	var head [pageHeader]byte
	le.PutUint64(head[:], no)
	le.PutUint16(head[10:], overflowPage)
	le.PutUint32(head[12:], uint32(run))
	b.out.Write(head[:])
	b.out.Write(value)
	for range run*len(b.page) - pageHeader - len(value) {
		b.out.WriteByte(0)
	}
}

// writeBranch writes branch j of this level.
func (b *builder) writeBranch(level, j int) {
	below := b.levels[level-1]
	branch, end := b.levels[level][j], len(below)
	if j+1 < len(b.levels[level]) {
		end = b.levels[level][j+1].first
	}
	p := b.start(branch.no, branchPage)
	lower, upper := pageHeader, len(p)
	for i := branch.first; i < end; i++ {
		var key []byte
		if i > branch.first {
			key = b.records.Key(b.records.at(below[i].record))
		}
		upper -= branchNode(len(key)) - 2
		le.PutUint16(p[lower:], uint16(upper))
		lower += 2
		node := p[upper:]
		le.PutUint64(node, below[i].no|uint64(len(key))<<48)
		copy(node[nodeHeader:], key)
	}
	b.finish(lower, upper)
}

// finish writes the page buffer.
func (b *builder) finish(lower, upper int) {
	le.PutUint16(b.page[12:], uint16(lower))
	le.PutUint16(b.page[14:], uint16(upper))
	b.out.Write(b.page)
}
