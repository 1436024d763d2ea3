package lmdb

import "bytes"

// page is a leaf or branch page. Its bytes may be anything, and may change from
// one look to the next: a number is read once, examined, and then used.
type page struct {
	b     []byte
	no    uint64
	n     int // nodes, at least 1
	upper int // where the first of them begins
}

// page returns a page that must be of this kind.
func (f *file) page(no uint64, kind uint16) (page, error) {
	if no < 2 || no >= f.pages {
		return page{}, damaged(no, "it is in use and not in the file")
	}
	b := f.data[no*f.pageSize:][:f.pageSize]
	if le.Uint64(b) != no {
		return page{}, damaged(no, "it has another number")
	}
	if k := le.Uint16(b[10:]); k != kind {
		return page{}, damaged(no, "it is of the wrong kind")
	}
	lower, upper := int(le.Uint16(b[12:])), int(le.Uint16(b[14:]))
	if lower < pageHeader+2 || lower%2 != 0 || lower > upper || upper > len(b)-nodeHeader {
		return page{}, damaged(no, "its parts overlap")
	}
	return page{b, no, (lower - pageHeader) / 2, upper}, nil
}

// node returns the head of node i and what follows it to the end of the page.
func (p *page) node(i int) (head uint64, rest []byte, err error) {
	off := int(le.Uint16(p.b[pageHeader+2*i:]))
	if off < p.upper || off > len(p.b)-nodeHeader {
		return 0, nil, damaged(p.no, "a node is outside it")
	}
	return le.Uint64(p.b[off:]), p.b[off+nodeHeader:], nil
}

// key is the key of node i. Most of a search happens here.
func (p *page) key(i int) ([]byte, error) {
	off := int(le.Uint16(p.b[pageHeader+2*i:]))
	if off < p.upper || off > len(p.b)-nodeHeader {
		return nil, damaged(p.no, "a node is outside it")
	}
	rest := p.b[off+nodeHeader:]
	size := int(le.Uint16(p.b[off+6:]))
	if size > len(rest) {
		return nil, damaged(p.no, "a key is outside it")
	}
	return rest[:size:size], nil
}

// child is the number of the page that node i of a branch page points to.
func (p *page) child(i int) (uint64, error) {
	head, _, err := p.node(i)
	return head & (1<<48 - 1), err
}

// search finds the first node, of those from first on, whose key is not less
// than key, and says whether it is equal. The keys next to that place must ascend:
// one damaged key that has misled the search does not.
func (p *page) search(key []byte, first int) (i int, found bool, err error) {
	i, end := first, p.n
	for i < end && !found {
		mid := int(uint(i+end) >> 1)
		k, err := p.key(mid)
		if err != nil {
			return 0, false, err
		}
		switch c := bytes.Compare(k, key); {
		case c < 0:
			i = mid + 1
		case c > 0:
			end = mid
		default:
			i, found = mid, true
		}
	}
	before := i - 2
	if found {
		before = i - 1
	}
	if before >= first {
		err = p.ascend(before)
	}
	if err == nil && i+1 < p.n {
		err = p.ascend(i)
	}
	return i, found, err
}

// ascend examines whether the keys of nodes i and i+1 ascend.
func (p *page) ascend(i int) error {
	a, err := p.key(i)
	if err != nil {
		return err
	}
	b, err := p.key(i + 1)
	if err == nil && bytes.Compare(a, b) >= 0 {
		err = p.disorder()
	}
	return err
}

func (p *page) disorder() error { return damaged(p.no, "its keys do not ascend") }

// extent is where node i of a leaf or a branch page begins and where it ends.
func (p *page) extent(i int, leaf bool) (begin, end int, err error) {
	head, rest, err := p.node(i)
	if err != nil {
		return 0, 0, err
	}
	begin = len(p.b) - len(rest) - nodeHeader
	end = begin + nodeHeader + int(head>>48)
	if leaf {
		if head>>32&bigNode != 0 {
			end += 8
		} else {
			end += int(head & (1<<32 - 1))
		}
	}
	return begin, end + end&1, nil
}

// sound examines whether node i of a leaf ends where the next one begins. In a
// file that was made in the order of its keys, that is node i-1.
func (p *page) sound(i int) error {
	begin, end, err := p.extent(i, true)
	if err != nil {
		return err
	}
	if i > 0 && int(le.Uint16(p.b[pageHeader+2*(i-1):])) == end {
		return nil
	}
	next := len(p.b)
	for offsets := p.b[pageHeader:][:2*p.n]; len(offsets) >= 2; offsets = offsets[2:] {
		if o := int(le.Uint16(offsets)); o > begin {
			next = min(next, o)
		}
	}
	if next != end {
		return damaged(p.no, "a record is longer or shorter than its place")
	}
	return nil
}

// full examines whether the nodes fill the space that is used for nodes: none
// has been lost at the end.
func (p *page) full(leaf bool) error {
	sum := p.upper
	for i := range p.n {
		begin, end, err := p.extent(i, leaf)
		if err != nil {
			return err
		}
		sum += end - begin
	}
	if sum != len(p.b) {
		return damaged(p.no, "its nodes do not fill their space")
	}
	return nil
}

// value is the data of node i of a leaf.
func (f *file) value(p *page, i int) ([]byte, error) {
	head, rest, err := p.node(i)
	if err != nil {
		return nil, err
	}
	keySize, flags, size := int(head>>48), head>>32&0xffff, head&(1<<32-1)
	switch flags {
	case 0, bigNode:
	case treeNode:
		return nil, alien("an lmdb file with named databases in it, which Postfix does not use")
	case dupNode, treeNode | dupNode:
		return nil, alien("an lmdb database with several values to a key (MDB_DUPSORT), which Postfix does not use")
	default:
		return nil, damaged(p.no, "a node with unknown flags")
	}
	here := size
	if flags == bigNode {
		here = 8
	}
	if uint64(keySize)+here > uint64(len(rest)) {
		return nil, damaged(p.no, "a value is outside it")
	}
	value := rest[keySize : keySize+int(here) : keySize+int(here)]
	if flags == bigNode {
		return f.overflow(le.Uint64(value), size)
	}
	return value, nil
}

// overflow is a value on pages of its own. The run may be longer than it needs
// to be, because liblmdb puts a shorter value in its place.
func (f *file) overflow(no, size uint64) ([]byte, error) {
	if no < 2 || no >= f.pages {
		return nil, damaged(no, "it is in use and not in the file")
	}
	b := f.data[no*f.pageSize:]
	if le.Uint64(b) != no || le.Uint16(b[10:]) != overflowPage {
		return nil, damaged(no, "it is not the page of a long value")
	}
	run := uint64(le.Uint32(b[12:]))
	if run > f.pages-no || pageHeader+size > run*f.pageSize {
		return nil, damaged(no, "a long value is outside it")
	}
	return b[pageHeader:][:size:size], nil
}
