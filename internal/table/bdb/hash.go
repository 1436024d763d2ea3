package bdb

import (
	"bytes"
	"fmt"
	"iter"
	"math/bits"

	"postern/internal/table/index"
)

// Hash is the format of hash: tables. A file that is a btree, is encrypted, has
// checksums or duplicate keys is refused by an error that says so.
func Hash() index.Format {
	return index.Format{
		Type: "hash", Suffix: ".db", Null: true, Lock: index.Flock, Incremental: true,
		Open: func(data []byte) (index.Reader, error) {
			h, err := openHash(data)
			if err != nil {
				return nil, err
			}
			return h, nil
		},
		Write: writeHash,
	}
}

const (
	hashPrime  = 16777619
	hashCheck  = 0x5E688DD1 // hash of a text that libdb chose; page 0 tells it
	hashGroups = 32         // of buckets, at most
)

// hashOf is the hash of a key, as it is stored (with its NUL).
func hashOf(key []byte) uint32 {
	var h uint32
	for _, c := range key {
		h = h*hashPrime ^ uint32(c)
	}
	return h
}

// hashFile reads a hash.
type hashFile struct {
	*file
	max       uint32            // the last bucket
	low, high uint32            // masks
	groups    [hashGroups]int64 // what to add to a bucket of n bits to find its page
}

var _ index.Reader = (*hashFile)(nil)

func openHash(data []byte) (*hashFile, error) {
	f, err := openFile(data, access{"hash", hashMagic, hashMeta, [2]uint32{7, 9}})
	if err != nil {
		return nil, err
	}
	switch flags := f.field(48); {
	case flags&(1|4) != 0:
		return nil, fmt.Errorf("the file may hold duplicate keys, which are not supported")
	case flags&2 != 0:
		return nil, fmt.Errorf("the file holds several databases, which are not supported")
	case flags != 0:
		return nil, fmt.Errorf("the file has unknown flags %#x", flags)
	case f.field(92) != hashCheck:
		return nil, fmt.Errorf("the file was made with another hash function")
	}
	h := &hashFile{file: f, max: f.field(72), high: f.field(76), low: f.field(80)}
	mask := uint32(1)<<bits.Len32(h.max) - 1
	if h.max >= f.pages || bits.Len32(h.max) >= hashGroups || h.high != mask || h.low != h.high>>1 {
		return nil, damaged("%d buckets with the masks %#x and %#x", uint64(h.max)+1, h.high, h.low)
	}
	if err := h.findGroups(); err != nil {
		return nil, err
	}
	return h, nil
}

// findGroups reads where the buckets' pages begin.
func (h *hashFile) findGroups() error {
	end := int64(1) // of the pages of the groups before
	for i := range bits.Len32(h.max) + 1 {
		h.groups[i] = int64(h.field(96 + 4*i))
		first, count := int64(0), int64(1)
		if i > 0 {
			first, count = 1<<(i-1), 1<<(i-1)
		}
		begin := h.groups[i] + first
		if begin < end || begin+count > int64(h.pages) {
			return damaged("buckets %d to %d from page %d, of %d", first, first+count-1, begin, h.pages)
		}
		end = begin + count
	}
	return nil
}

// bucket is the bucket of a hash.
func (h *hashFile) bucket(sum uint32) uint32 {
	if b := sum & h.high; b <= h.max {
		return b
	}
	return sum & h.low
}

// first is the number of the first page of a bucket.
func (h *hashFile) first(bucket uint32) uint32 {
	return uint32(int64(bucket) + h.groups[bits.Len32(bucket)])
}

// Get implements index.Reader.
func (h *hashFile) Get(key []byte) ([]byte, error) {
	left := h.budget()
	sum := hashOf(key)
	bucket := h.bucket(sum)
	for n, prev := h.first(bucket), uint32(0); n != 0; {
		p, err := h.bucketPage(n, prev, bucket, &left)
		if err != nil {
			return nil, err
		}
		i, err := h.find(&p, key, &left)
		if err != nil {
			return nil, err
		}
		if i >= 0 {
			return h.at(&p, i+1, &left)
		}
		prev, n = n, p.next
	}
	if later := sum & h.high; later > h.max {
		if err := h.future(later, &left); err != nil {
			return nil, err
		}
	}
	return nil, index.ErrNone
}

// future looks at the page of a bucket that is not there yet, where nothing should be.
func (h *hashFile) future(bucket uint32, left *uint64) error {
	p, err := h.page(h.first(bucket), left)
	if err == nil && (p.kind == hashSorted || p.kind == hashUnsorted) && p.items > 0 {
		err = damaged("there are %d buckets, and records in bucket %d", uint64(h.max)+1, bucket)
	}
	return err
}

// bucketPage finds a page of a bucket, and looks through it when it is new.
func (h *hashFile) bucketPage(n, prev, bucket uint32, left *uint64) (page, error) {
	p, err := h.page(n, left)
	if err != nil {
		return p, err
	}
	switch {
	case p.kind == untouched && prev == 0 && h.mayBeUntouched(p.b):
		return p, nil
	case p.kind != hashSorted && p.kind != hashUnsorted || p.level != 0:
		return p, damaged("page %d is of kind %d and not of a hash", n, p.kind)
	case p.prev != prev:
		return p, damaged("page %d follows %d and says %d", n, prev, p.prev)
	case p.items%2 != 0:
		return p, damaged("page %d has a key without a value", n)
	}
	if !h.seen(n) {
		if err := h.check(&p, bucket, left); err != nil {
			return p, err
		}
		h.markSeen(n)
	}
	return p, nil
}

// mayBeUntouched says whether a page can be the empty one of a bucket that nobody
// wrote to: it is all zeros, and one of the buckets the file began with. Those are two,
// unless somebody chose how full buckets should be. Any other was made by dividing
// one, which writes to both.
func (h *hashFile) mayBeUntouched(b []byte) bool {
	if h.max > 1 && h.field(84) == 0 {
		return false
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// check looks through a page.
func (h *hashFile) check(p *page, bucket uint32, left *uint64) error {
	end := h.size
	var last []byte // nil: none, or one that lies elsewhere
	for i := range p.items {
		begin, it, err := h.item(p, i, end)
		if err != nil {
			return err
		}
		end = begin
		if i%2 != 0 {
			continue
		}
		var buf []byte
		key, err := h.read(it, &buf, left)
		if err != nil {
			return err
		}
		if h.bucket(hashOf(key)) != bucket {
			return damaged("page %d of bucket %d has a key of another bucket", p.number, bucket)
		}
		if p.kind == hashSorted && last != nil && it.body != nil && !follows(key, last) {
			return damaged("the keys on page %d are not in order", p.number)
		}
		last = it.body
	}
	if end != p.low {
		return damaged("page %d has items from %d and says from %d", p.number, end, p.low)
	}
	return nil
}

// follows says whether key comes after last on a sorted page: a key that begins with
// another comes first. (One that lies on overflow pages may not.)
func follows(key, last []byte) bool {
	n := min(len(key), len(last))
	if c := bytes.Compare(key[:n], last[:n]); c != 0 {
		return c > 0
	}
	return len(key) < len(last)
}

// item is key or value i, which ends at end, where the item before it begins.
func (h *hashFile) item(p *page, i, end int) (begin int, it item, err error) {
	begin = h.offset(p, i)
	if begin < headerSize+2*p.items || begin >= end || end > h.size {
		return 0, it, damaged("item %d on page %d from %d to %d", i, p.number, begin, end)
	}
	body := p.b[begin+1 : end : end]
	switch kind := p.b[begin]; {
	case kind == inline:
		return begin, item{body: body}, nil
	case kind == offPage && len(body) == offPageLen-1:
		return begin, item{first: h.u32(body[3:]), length: h.u32(body[7:]), long: true}, nil
	case kind == 2 || kind == 4:
		return 0, it, damaged("page %d has duplicate keys, which are not supported", p.number)
	default:
		return 0, it, damaged("item %d on page %d is of kind %d and has %d bytes", i, p.number, kind, 1+len(body))
	}
}

// find is the number of the item that is this key; -1 if it is not on this page. Most
// keys differ in length already, which the offsets tell. The order of the keys is of no
// use here: libdb has two ideas of it when a long key begins with a short one.
func (h *hashFile) find(p *page, key []byte, left *uint64) (int, error) {
	end := len(p.b)
	for i := 0; i < p.items; i += 2 {
		begin, next := h.offset(p, i), h.offset(p, i+1)
		if size := end - begin; size == 1+len(key) || size == offPageLen {
			if begin < headerSize || end > len(p.b) {
				return -1, damaged("item %d on page %d from %d to %d", i, p.number, begin, end)
			}
			if p.b[begin] == inline {
				if bytes.Equal(p.b[begin+1:end], key) {
					return i, nil
				}
			} else if stored, err := h.at(p, i, left); err != nil || bytes.Equal(stored, key) {
				return i, err
			}
		}
		end = next
	}
	return -1, nil
}

// at is item i, wherever the item before it is, put together if it lies elsewhere.
func (h *hashFile) at(p *page, i int, left *uint64) ([]byte, error) {
	end := len(p.b)
	if i > 0 {
		end = h.offset(p, i-1)
	}
	if begin := h.offset(p, i); begin < end && end <= len(p.b) && p.b[begin] == inline {
		return p.b[begin+1 : end : end], nil
	}
	_, it, err := h.item(p, i, end)
	if err != nil {
		return nil, err
	}
	var buf []byte
	return h.read(it, &buf, left)
}

// All implements index.Reader: bucket by bucket.
func (h *hashFile) All() iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		left := h.budget()
		for bucket := uint64(h.max) + 1; bucket <= uint64(h.high); bucket++ {
			if err := h.future(uint32(bucket), &left); err != nil {
				yield(index.Record{}, err)
				return
			}
		}
		var bufs record
		for bucket := uint32(0); bucket <= h.max; bucket++ {
			for n, prev := h.first(bucket), uint32(0); n != 0; {
				p, err := h.bucketPage(n, prev, bucket, &left)
				if err != nil {
					yield(index.Record{}, err)
					return
				}
				if !h.records(&p, &bufs, &left, yield) {
					return
				}
				prev, n = n, p.next
			}
		}
	}
}

// records yields what is on one page, and says whether to go on.
func (h *hashFile) records(p *page, bufs *record, left *uint64, yield func(index.Record, error) bool) bool {
	end := h.size
	for i := 0; i < p.items; i += 2 {
		middle, k, err := h.item(p, i, end)
		var v item
		if err == nil {
			end, v, err = h.item(p, i+1, middle)
		}
		var r index.Record
		if err == nil {
			r.Key, err = h.read(k, &bufs.key, left)
		}
		if err == nil {
			r.Value, err = h.read(v, &bufs.value, left)
		}
		if err != nil {
			yield(index.Record{}, err)
			return false
		}
		if !yield(r, nil) {
			return false
		}
	}
	return true
}
