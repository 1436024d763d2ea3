package bdb

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync/atomic"

	"postern/internal/table/index"
)

// Kinds of pages.
const (
	untouched     = 0 // never used, or no longer
	hashUnsorted  = 2
	btreeInternal = 3
	btreeLeaf     = 5
	overflow      = 7
	hashMeta      = 8
	btreeMeta     = 9
	hashSorted    = 13
)

// Kinds of items.
const (
	inline      = 1
	offPage     = 3
	deletedFlag = 0x80
)

const (
	headerSize = 26  // of a page
	metaSize   = 512 // of page 0; the rest of that page is unused
	offPageLen = 12  // of an item that lies elsewhere

	hashMagic  = 0x00061561
	btreeMagic = 0x00053162
)

// file is the bytes of a file, and what its first page says about all of them.
type file struct {
	data  []byte
	meta  []byte // a copy of the beginning of page 0
	size  int    // of a page
	pages uint32
	big   bool // endian
	// checked has a bit for every page that was looked through. The safety of a
	// reader does not depend on it: the bytes may have changed since.
	checked []atomic.Uint32
}

// damaged is an error for damage.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", index.ErrDamaged, fmt.Sprintf(format, args...))
}

// access is what tells the files of one access method from the others.
type access struct {
	name     string
	magic    uint32
	kind     byte // of page 0
	versions [2]uint32
}

// others are the names of what else may be found in a file.
var others = map[uint32]string{
	hashMagic:  "hash",
	btreeMagic: "btree",
	0x00042253: "queue",
	0x00074582: "heap",
}

// openFile reads what all kinds of files have in common on page 0.
func openFile(data []byte, method access) (*file, error) {
	switch {
	case len(data) == 0:
		return nil, damaged("the file is empty")
	case len(data) < metaSize:
		return nil, damaged("the file has %d bytes, fewer than the first page", len(data))
	}
	f := &file{data: data, meta: append([]byte(nil), data[:metaSize]...)}
	if err := f.identify(method); err != nil {
		return nil, err
	}
	size, last := f.field(20), f.field(32)
	if size < 512 || size > 65536 || size&(size-1) != 0 {
		return nil, damaged("a page size of %d", size)
	}
	f.size = int(size)
	f.pages = uint32(min(uint64(len(data))/uint64(size), 1<<32-1))
	switch {
	case uint64(last)+1 > uint64(f.pages) || len(data)%f.size != 0:
		return nil, damaged("the file has %d bytes, its first page says %d pages of %d bytes", len(data), uint64(last)+1, size)
	case f.field(8) != 0 || f.meta[25] != method.kind:
		return nil, damaged("the first page says it is page %d of kind %d", f.field(8), f.meta[25])
	}
	f.checked = make([]atomic.Uint32, (f.pages+31)/32)
	return f, nil
}

// identify finds the byte order, and refuses what is of another kind.
func (f *file) identify(method access) error {
	f.big = false
	magic := f.field(12)
	if _, ok := others[magic]; !ok {
		f.big = true
		magic = f.field(12)
	}
	if magic != method.magic {
		if name, ok := others[magic]; ok {
			return fmt.Errorf("the file is a Berkeley DB %s, not a %s", name, method.name)
		}
		if first := binary.LittleEndian.Uint32(f.meta); others[first] != "" || others[bits.ReverseBytes32(first)] != "" {
			return fmt.Errorf("the file is of Berkeley DB 1.85, which is too old")
		}
		return damaged("the file is not a Berkeley DB %s", method.name)
	}
	switch version := f.field(16); {
	case version < method.versions[0]:
		return fmt.Errorf("the file is a Berkeley DB %s of version %d, which is too old: please build it again", method.name, version)
	case version > method.versions[1]:
		return fmt.Errorf("the file is a Berkeley DB %s of version %d, which is not known", method.name, version)
	case f.meta[24] != 0:
		return fmt.Errorf("the file is encrypted")
	case f.meta[26]&1 != 0:
		return fmt.Errorf("the file has checksums, which are not supported")
	case f.meta[26] != 0 || f.field(36) != 0:
		return fmt.Errorf("the file is divided into partitions, which are not supported")
	}
	return nil
}

// field is a number on page 0.
func (f *file) field(offset int) uint32 { return f.u32(f.meta[offset:]) }

func (f *file) u16(b []byte) int {
	if f.big {
		return int(binary.BigEndian.Uint16(b))
	}
	return int(binary.LittleEndian.Uint16(b))
}

func (f *file) u32(b []byte) uint32 {
	if f.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

// budget is how many pages one call may visit: each page may be looked through, and
// then be used.
func (f *file) budget() uint64 { return 4 * uint64(f.pages) }

// seen says whether this page was looked through before.
func (f *file) seen(n uint32) bool { return f.checked[n/32].Load()&(1<<(n%32)) != 0 }

func (f *file) markSeen(n uint32) { f.checked[n/32].Or(1 << (n % 32)) }

// page is one page and its header, which is read once.
type page struct {
	b                  []byte
	number, prev, next uint32
	items              int
	low                int // where the lowest item begins; bytes in an overflow page
	level, kind        byte
}

// page finds a page. It holds whatever it says that the offsets end before the lowest
// item, and that this lies on the page. left is how many pages may still be visited.
func (f *file) page(n uint32, left *uint64) (page, error) {
	if *left == 0 {
		return page{}, damaged("more pages are linked than there are")
	}
	*left--
	if n >= f.pages {
		return page{}, damaged("a link to page %d of %d", n, f.pages)
	}
	b := f.data[int(n)*f.size:][:f.size:f.size]
	p := page{
		b:      b,
		number: f.u32(b[8:]),
		prev:   f.u32(b[12:]),
		next:   f.u32(b[16:]),
		items:  f.u16(b[20:]),
		low:    f.u16(b[22:]),
		level:  b[24],
		kind:   b[25],
	}
	if p.kind == untouched || p.kind == overflow {
		return p, nil
	}
	if p.low == 0 { // 65536 in 16 bits
		p.low = 65536
	}
	switch {
	case p.number != n:
		return p, damaged("page %d says it is page %d", n, p.number)
	case p.low > f.size || headerSize+2*p.items > p.low:
		return p, damaged("page %d with %d items from %d", n, p.items, p.low)
	}
	return p, nil
}

// items are found on pages that hold them; i is below p.items.
func (f *file) offset(p *page, i int) int { return f.u16(p.b[headerSize+2*i:]) }

// long assembles what lies on a chain of overflow pages: a part of the file where it
// is one page, in buf otherwise, which grows as needed.
func (f *file) long(first, length uint32, buf *[]byte, left *uint64) ([]byte, error) {
	if uint64(length) > uint64(len(f.data)) || length == 0 {
		return nil, damaged("an item of %d bytes in a file of %d", length, len(f.data))
	}
	long := (*buf)[:0]
	for prev, n := uint32(0), first; ; {
		p, err := f.page(n, left)
		if err != nil {
			return nil, err
		}
		if p.kind != overflow || p.number != n || p.prev != prev || p.level != 0 {
			return nil, damaged("page %d is not the overflow page that is looked for", n)
		}
		if p.low == 0 || headerSize+p.low > f.size {
			return nil, damaged("overflow page %d has %d bytes", n, p.low)
		}
		part := p.b[headerSize:][:p.low:p.low]
		if missing := int(length) - len(long) - len(part); missing < 0 || (missing == 0) != (p.next == 0) {
			return nil, damaged("the chain from page %d is not of %d bytes", first, length)
		}
		if prev == 0 && p.next == 0 {
			return part, nil
		}
		long = append(long, part...)
		if p.next == 0 {
			*buf = long
			return long, nil
		}
		prev, n = n, p.next
	}
}

// record is where a key and a value are put together that lie on overflow pages.
type record struct {
	key, value []byte
}

// item is a key or a value on a page.
type item struct {
	body          []byte // where it lies on the page
	first, length uint32 // where it does not
	long          bool
	deleted       bool
}

// read is the bytes of an item: a part of the file where that is possible.
func (f *file) read(it item, buf *[]byte, left *uint64) ([]byte, error) {
	if !it.long {
		return it.body, nil
	}
	return f.long(it.first, it.length, buf, left)
}
