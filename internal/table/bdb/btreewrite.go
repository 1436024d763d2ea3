package bdb

import (
	"fmt"
	"io"
	"math"

	"postern/internal/table/index"
)

// writeBtree writes a btree, whatever the order of the records. The same key twice is an
// error.
func writeBtree(w io.Writer, records *index.Records) error {
	return writeBtreePages(w, records, pageSize)
}

func writeBtreePages(w io.Writer, records *index.Records, size int) error {
	if uint64(records.Len()) > math.MaxUint32 {
		return fmt.Errorf("%d records are too many for a Berkeley DB file", records.Len())
	}
	order, err := sorted(records)
	if err != nil {
		return err
	}
	t := &btreeWriter{records: records, order: order, size: size, maxInline: (size-headerSize)/4 - 10}
	const chunk = 1 << 13 // records
	leaves := make([]leafChunk, max((records.Len()+chunk-1)/chunk, 1))
	first := uint32(2) // behind page 0 and the root
	if t.fit(0, records.Len()) == records.Len() {
		first = 1 // the only leaf is the root
	}
	next, err := spread(len(leaves), first, func(i int, claim func(int) uint32) error {
		leaves[i] = t.leaves(i*chunk, min((i+1)*chunk, records.Len()), claim)
		return nil
	})
	if err != nil {
		return err
	}
	parts := [][]byte{make([]byte, int(first)*size)}
	var level []node
	for i, c := range leaves {
		if i > 0 {
			c.linkTo(&leaves[i-1], size)
		}
		parts = append(parts, c.b)
		level = append(level, c.nodes...)
	}
	if first == 2 {
		above := t.above(level, next, parts[0][size:])
		parts = append(parts, above.b)
		next = above.next
	}
	t.meta(parts[0][:size], next-1)
	return writeAll(w, parts)
}

// btreeWriter is records and their order.
type btreeWriter struct {
	records   *index.Records
	order     []uint32 // nil: as they are
	size      int      // of a page
	maxInline int      // the longest key or value that is not put elsewhere
}

func (t *btreeWriter) record(i int) int {
	if t.order == nil {
		return i
	}
	return int(t.order[i])
}

func (t *btreeWriter) key(i int) []byte { return t.records.Key(t.record(i)) }

// node is a page of the level below: its number, and the record at which it begins.
type node struct {
	page   uint32
	record int
}

// room is what a key or value takes on a page, with its offset; head lies before it.
func (t *btreeWriter) room(head, n int) int {
	switch {
	case n <= t.maxInline:
		return (head+n+3)&^3 + 2
	case head == leafHead:
		return offPageLen + 2
	default:
		return head + offPageLen + 2
	}
}

// fit is how many of the records from begin to end fit on a leaf.
func (t *btreeWriter) fit(begin, end int) int {
	room := t.size - headerSize
	for i := begin; i < end; i++ {
		r := t.record(i)
		room -= t.room(leafHead, len(t.records.Key(r))) + t.room(leafHead, len(t.records.Value(r)))
		if room < 0 {
			return i - begin
		}
	}
	return end - begin
}

// leafChunk is some leaves in a row, and behind them the overflow pages they refer to.
type leafChunk struct {
	b     []byte
	nodes []node
}

// leaves makes leaves of some records, an empty one of none.
func (t *btreeWriter) leaves(begin, end int, claim func(int) uint32) leafChunk {
	var c leafChunk
	long := 0
	for i := begin; ; {
		n := t.fit(i, end)
		c.nodes = append(c.nodes, node{record: i})
		if i += n; i == end {
			break
		}
	}
	for i := begin; i < end; i++ {
		r := t.record(i)
		long += t.longPages(len(t.records.Key(r))) + t.longPages(len(t.records.Value(r)))
	}
	base := claim(len(c.nodes) + long)
	pages := newStack(base, len(c.nodes)+long, t.size)
	for range c.nodes {
		pages.page()
	}
	for j := range c.nodes {
		number := base + uint32(j)
		c.nodes[j].page = number
		last, prev, next := end, number-1, number+1
		if j == 0 {
			prev = 0
		}
		if j+1 < len(c.nodes) {
			last = c.nodes[j+1].record
		} else {
			next = 0
		}
		s := newSheet(pages.b[j*t.size : (j+1)*t.size])
		for i := c.nodes[j].record; i < last; i++ {
			r := t.record(i)
			t.put(&s, t.records.Key(r), pages)
			t.put(&s, t.records.Value(r), pages)
		}
		s.finish(number, prev, next, 1, btreeLeaf)
	}
	c.b = pages.b
	return c
}

// longPages is how many overflow pages a key or a value of n bytes has.
func (t *btreeWriter) longPages(n int) int {
	if n > t.maxInline {
		return longPages(n, t.size)
	}
	return 0
}

// linkTo links the first leaf and the last one before it.
func (c *leafChunk) linkTo(before *leafChunk, size int) {
	last := len(before.nodes) - 1
	le.PutUint32(before.b[last*size+16:], c.nodes[0].page)
	le.PutUint32(c.b[12:], before.nodes[last].page)
}

// put adds a key or a value to a leaf.
func (t *btreeWriter) put(s *sheet, data []byte, pages *stack) {
	b := s.take(t.room(leafHead, len(data)) - 2)
	if len(data) <= t.maxInline {
		le.PutUint16(b, uint16(len(data)))
		b[2] = inline
		copy(b[leafHead:], data)
		return
	}
	putLong(b, data, pages)
}

// putLong writes the item for data that lies on overflow pages.
func putLong(b, data []byte, pages *stack) {
	b[2] = offPage
	le.PutUint32(b[4:], pages.long(data))
	le.PutUint32(b[8:], uint32(len(data)))
}

// above makes the levels above the leaves, and the root in a place of its own.
func (t *btreeWriter) above(nodes []node, first uint32, root []byte) *stack {
	pages := newStack(first, 0, t.size)
	for level := byte(2); ; level++ {
		var up []node
		s := newSheet(make([]byte, t.size))
		begin := nodes[0].record
		flush := func() {
			b, number := pages.page()
			s.finish(number, 0, 0, level, btreeInternal)
			copy(b, s.b)
			up = append(up, node{number, begin})
		}
		for i, n := range nodes {
			separator := t.separator(nodes, i)
			if t.room(internalHead, len(separator)) > s.free() {
				flush()
				clear(s.b)
				s = newSheet(s.b)
				begin, separator = n.record, nil
			}
			t.putNode(&s, n.page, separator, pages)
		}
		if len(up) == 0 {
			s.finish(1, 0, 0, level, btreeInternal)
			copy(root, s.b)
			return pages
		}
		flush()
		nodes = up
	}
}

// separator is the shortest key that tells node i from the one before.
func (t *btreeWriter) separator(nodes []node, i int) []byte {
	if i == 0 {
		return nil
	}
	first := nodes[i].record
	key := t.key(first)
	return key[:commonPrefix(key, t.key(first-1))+1]
}

// putNode adds an item to an internal page.
func (t *btreeWriter) putNode(s *sheet, page uint32, separator []byte, pages *stack) {
	b := s.take(t.room(internalHead, len(separator)) - 2)
	le.PutUint32(b[4:], page)
	if len(separator) <= t.maxInline {
		le.PutUint16(b, uint16(len(separator)))
		b[2] = inline
		copy(b[internalHead:], separator)
		return
	}
	le.PutUint16(b, offPageLen)
	b[2] = offPage
	putLong(b[internalHead:], separator, pages)
}

// meta writes page 0.
func (t *btreeWriter) meta(b []byte, last uint32) {
	putMeta(b, btreeMagic, btreeMeta, last)
	le.PutUint32(b[76:], 2)    // keys that must fit on a page
	le.PutUint32(b[84:], 0x20) // what short records are padded with, in files of records
	le.PutUint32(b[88:], 1)    // the root
}
