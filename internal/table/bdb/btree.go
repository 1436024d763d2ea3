package bdb

import (
	"bytes"
	"fmt"
	"iter"

	"postern/internal/table/index"
)

// Btree is the format of btree: tables. A file that is a hash, is encrypted, has
// checksums or duplicate keys is refused by an error that says so.
func Btree() index.Format {
	return index.Format{
		Type: "btree", Suffix: ".db", Null: true, Lock: index.Flock, Incremental: true,
		Open: func(data []byte) (index.Reader, error) {
			t, err := openBtree(data)
			if err != nil {
				return nil, err
			}
			return t, nil
		},
		Write: writeBtree,
	}
}

// Flags of page 0 of a btree.
const (
	flagDup      = 0x01
	flagRecno    = 0x02
	flagRecnum   = 0x04 // internal pages count records: harmless
	flagSubdb    = 0x20
	flagDupSort  = 0x40
	flagCompress = 0x80
)

// What lies before the bytes of an item: length and kind, and on internal pages an
// unused byte, the page below, and the number of records there.
const (
	leafHead     = 3
	internalHead = 12
)

// btreeFile reads a btree.
type btreeFile struct {
	*file
	root uint32
}

var _ index.Reader = (*btreeFile)(nil)

func openBtree(data []byte) (*btreeFile, error) {
	f, err := openFile(data, access{"btree", btreeMagic, btreeMeta, [2]uint32{8, 10}})
	if err != nil {
		return nil, err
	}
	switch flags := f.field(48); {
	case flags&(flagDup|flagDupSort) != 0:
		return nil, fmt.Errorf("the file may hold duplicate keys, which are not supported")
	case flags&flagSubdb != 0:
		return nil, fmt.Errorf("the file holds several databases, which are not supported")
	case flags&flagCompress != 0:
		return nil, fmt.Errorf("the file is compressed, which is not supported")
	case flags&flagRecno != 0:
		return nil, fmt.Errorf("the file is a Berkeley DB recno, not a btree")
	case flags&^flagRecnum != 0:
		return nil, fmt.Errorf("the file has unknown flags %#x", flags)
	}
	root := f.field(88)
	if root == 0 || root >= f.pages {
		return nil, damaged("the root is page %d of %d", root, f.pages)
	}
	return &btreeFile{f, root}, nil
}

// Get implements index.Reader.
func (t *btreeFile) Get(key []byte) ([]byte, error) {
	left := t.budget()
	p, err := t.treePage(t.root, 0, &left)
	for err == nil && p.kind == btreeInternal {
		var i int
		if i, _, err = t.search(&p, key, &left); err == nil {
			p, err = t.child(&p, max(i-1, 0), &left)
		}
	}
	if err != nil {
		return nil, err
	}
	i, found, err := t.search(&p, key, &left)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, t.absent(&p, i, key, &left)
	}
	it, _, err := t.item(&p, 2*i-1)
	if err != nil {
		return nil, err
	}
	if it.deleted {
		return nil, index.ErrNone
	}
	var buf []byte
	return t.read(it, &buf, &left)
}

// child descends from an internal page.
func (t *btreeFile) child(p *page, i int, left *uint64) (page, error) {
	if i < 0 || i >= p.items {
		return page{}, damaged("page %d has no pages below it", p.number)
	}
	offset := t.offset(p, i)
	if offset+8 > t.size {
		return page{}, damaged("item %d on page %d at %d", i, p.number, offset)
	}
	return t.treePage(t.u32(p.b[offset+4:]), p.level, left)
}

// treePage finds a page below one of this level, 0 for the root, and looks through it
// when it is new.
func (t *btreeFile) treePage(n uint32, above byte, left *uint64) (page, error) {
	p, err := t.page(n, left)
	if err != nil {
		return p, err
	}
	switch {
	case p.kind != btreeInternal && p.kind != btreeLeaf || p.level == 0 || (p.kind == btreeLeaf) != (p.level == 1):
		return p, damaged("page %d is of kind %d, level %d and not of a btree", n, p.kind, p.level)
	case above != 0 && p.level != above-1:
		return p, damaged("page %d of level %d lies below level %d", n, p.level, above)
	case p.kind == btreeLeaf && p.items%2 != 0:
		return p, damaged("page %d has a key without a value", n)
	}
	if !t.seen(n) {
		if err := t.check(&p, left); err != nil {
			return p, err
		}
		t.markSeen(n)
	}
	return p, nil
}

// check looks through a page.
func (t *btreeFile) check(p *page, left *uint64) error {
	step := p.step()
	var room room
	var last []byte
	for i := range p.items {
		it, size, err := t.item(p, i)
		if err != nil {
			return err
		}
		if begin := t.offset(p, i); begin < p.low || begin+size > t.size || !room.take(begin, size) {
			return damaged("item %d on page %d lies upon another", i, p.number)
		}
		if i%step != 0 || p.kind == btreeInternal && i == 0 {
			continue
		}
		var buf []byte
		key, err := t.read(it, &buf, left)
		if err != nil {
			return err
		}
		if last != nil && bytes.Compare(last, key) >= 0 {
			return damaged("the keys on page %d are not in order", p.number)
		}
		last = key
	}
	if room.taken != t.size-p.low {
		return damaged("page %d has %d bytes of items and says %d", p.number, room.taken, t.size-p.low)
	}
	return nil
}

// room is which parts of a page belong to an item. Items begin and end at multiples of
// four bytes.
type room struct {
	words [65536 / 4 / 64]uint64
	taken int
}

// take takes a part. It is false if some of it was taken before.
func (r *room) take(begin, size int) bool {
	if begin%4 != 0 {
		return false
	}
	for at := begin / 4; at < (begin+size)/4; at++ {
		if r.words[at/64]&(1<<(at%64)) != 0 {
			return false
		}
		r.words[at/64] |= 1 << (at % 64)
	}
	r.taken += size
	return true
}

// step is how many items belong to a key.
func (p *page) step() int {
	if p.kind == btreeLeaf {
		return 2
	}
	return 1
}

// head is how much lies before the bytes of an item.
func (p *page) head() int {
	if p.kind == btreeLeaf {
		return leafHead
	}
	return internalHead
}

// item is item i of a page, and the room it takes.
func (t *btreeFile) item(p *page, i int) (it item, size int, err error) {
	begin := t.offset(p, i)
	head := p.head()
	if begin < headerSize+2*p.items || begin+head > t.size {
		return it, 0, damaged("item %d on page %d at %d", i, p.number, begin)
	}
	b := p.b[begin:]
	length, kind := t.u16(b), b[2]
	it.deleted = kind&deletedFlag != 0
	long := b // of a leaf; an internal item holds a whole one as its key
	switch kind &^ deletedFlag {
	case inline:
		if head+length > len(b) {
			return it, 0, damaged("item %d on page %d with %d bytes", i, p.number, length)
		}
		it.body = b[head:][:length:length]
		return it, (head + length + 3) &^ 3, nil
	case offPage:
		if p.kind == btreeInternal {
			long = b[head:]
			size = head
		}
		if len(long) < offPageLen {
			return it, 0, damaged("item %d on page %d at %d", i, p.number, begin)
		}
		it.long, it.first, it.length = true, t.u32(long[4:]), t.u32(long[8:])
		return it, size + offPageLen, nil
	default:
		return it, 0, damaged("item %d on page %d is of kind %d", i, p.number, kind)
	}
}

// key is item i of a page, put together if it lies elsewhere.
func (t *btreeFile) key(p *page, i int, left *uint64) ([]byte, error) {
	head := p.head()
	if begin := t.offset(p, i); begin+head <= len(p.b) && p.b[begin+2] == inline {
		if length := t.u16(p.b[begin:]); begin+head+length <= len(p.b) {
			return p.b[begin+head:][:length:length], nil
		}
	}
	it, _, err := t.item(p, i)
	if err != nil {
		return nil, err
	}
	var buf []byte
	return t.read(it, &buf, left)
}

// search is the number of keys on a page that are not greater than key, and whether
// the last of them is equal. The first key of an internal page is smaller than all.
func (t *btreeFile) search(p *page, key []byte, left *uint64) (n int, found bool, err error) {
	step := p.step()
	low, high := 0, p.items/step
	if p.kind == btreeInternal {
		low = min(1, high)
	}
	for low < high {
		middle := int(uint(low+high) / 2)
		stored, err := t.key(p, middle*step, left)
		if err != nil {
			return 0, false, err
		}
		switch c := bytes.Compare(stored, key); {
		case c == 0:
			return middle + 1, true, nil
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return low, false, nil
}

// absent is ErrNone for a key that belongs behind the first n keys of a leaf. Where that is
// at the border of the leaf, the tree may have led to the wrong one: the key must
// not lie beyond the border of the neighbour too.
func (t *btreeFile) absent(p *page, n int, key []byte, left *uint64) error {
	if n == 0 {
		for q := *p; q.prev != 0; {
			before, err := t.neighbour(&q, q.prev, left)
			if err != nil {
				return err
			}
			if before.items > 0 {
				return t.compare(&before, before.items-2, key, -1, left)
			}
			q = before
		}
	}
	if 2*n == p.items {
		for q := *p; q.next != 0; {
			after, err := t.neighbour(&q, q.next, left)
			if err != nil {
				return err
			}
			if after.items > 0 {
				return t.compare(&after, 0, key, 1, left)
			}
			q = after
		}
	}
	return index.ErrNone
}

// neighbour is the leaf n, to which p is linked.
func (t *btreeFile) neighbour(p *page, n uint32, left *uint64) (page, error) {
	q, err := t.treePage(n, 2, left)
	if err == nil && (n == p.prev && q.next != p.number || n == p.next && q.prev != p.number) {
		err = damaged("page %d is linked to page %d, but not the other way round", p.number, n)
	}
	return q, err
}

// compare is ErrNone if item i of a leaf compares to the key as it should.
func (t *btreeFile) compare(p *page, i int, key []byte, want int, left *uint64) error {
	stored, err := t.key(p, i, left)
	if err != nil {
		return err
	}
	if bytes.Compare(stored, key) != want {
		return damaged("the tree does not lead to the key, which is near page %d", p.number)
	}
	return index.ErrNone
}

// All implements index.Reader: in the order of the keys.
func (t *btreeFile) All() iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		if err := t.all(yield); err != nil {
			yield(index.Record{}, err)
		}
	}
}

// all yields the records of all leaves, until it is told to stop.
func (t *btreeFile) all(yield func(index.Record, error) bool) error {
	left := t.budget()
	end, err := t.edge(func(p *page) int { return p.items - 1 }, &left)
	if err != nil {
		return err
	}
	p, err := t.edge(func(*page) int { return 0 }, &left)
	if err == nil && p.prev != 0 {
		err = damaged("page %d lies before the first page", p.prev)
	}
	var bufs record
	var last []byte // key of the page before
	for err == nil {
		var more bool
		if more, err = t.records(&p, &bufs, &last, &left, yield); !more || err != nil {
			return err
		}
		if p.next == 0 {
			break
		}
		p, err = t.neighbour(&p, p.next, &left)
	}
	if err == nil && p.number != end.number {
		err = damaged("page %d says it is the last, which is page %d", p.number, end.number)
	}
	return err
}

// edge is the first or the last leaf.
func (t *btreeFile) edge(which func(*page) int, left *uint64) (page, error) {
	p, err := t.treePage(t.root, 0, left)
	for err == nil && p.kind == btreeInternal {
		p, err = t.child(&p, which(&p), left)
	}
	return p, err
}

// records yields what is on one leaf, and says whether to go on. last is the last key of
// the leaf before, and then of this one.
func (t *btreeFile) records(p *page, bufs *record, last *[]byte, left *uint64, yield func(index.Record, error) bool) (bool, error) {
	for i := 0; i < p.items; i += 2 {
		k, _, err := t.item(p, i)
		if err != nil {
			return false, err
		}
		v, _, err := t.item(p, i+1)
		if err != nil {
			return false, err
		}
		var r index.Record
		if r.Key, err = t.read(k, &bufs.key, left); err != nil {
			return false, err
		}
		if i == 0 && *last != nil && bytes.Compare(*last, r.Key) >= 0 {
			return false, damaged("the keys of page %d do not follow those before", p.number)
		}
		if i+2 == p.items {
			*last = append((*last)[:0], r.Key...)
		}
		if v.deleted {
			continue
		}
		if r.Value, err = t.read(v, &bufs.value, left); err != nil {
			return false, err
		}
		if !yield(r, nil) {
			return false, nil
		}
	}
	return true, nil
}
