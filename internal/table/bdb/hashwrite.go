package bdb

import (
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"postern/internal/table/index"
)

// writeHash writes a hash. The same key twice is an error.
func writeHash(w io.Writer, records *index.Records) error {
	return writeHashPages(w, records, pageSize)
}

func writeHashPages(w io.Writer, records *index.Records, size int) error {
	if uint64(records.Len()) > math.MaxUint32 {
		return fmt.Errorf("%d records are too many for a Berkeley DB file", records.Len())
	}
	h := &hashWriter{records: records, size: size}
	h.distribute()
	chunk := max(1<<20/size, 1) // buckets
	chunks := (h.buckets + chunk - 1) / chunk
	own := make([]byte, (1+h.buckets)*size) // page 0, and the first page of each bucket
	parts := make([][]byte, 1+chunks)       // what does not fit there
	pages, err := spread(chunks, uint32(1+h.buckets), func(i int, claim func(int) uint32) error {
		from, to := i*chunk, min((i+1)*chunk, h.buckets)
		more, err := h.fill(own[(1+from)*size:(1+to)*size], from, claim)
		parts[1+i] = more
		return err
	})
	if err != nil {
		return err
	}
	h.meta(own[:size], pages-1)
	parts[0] = own
	return writeAll(w, parts)
}

// hashWriter is records and the buckets they belong to.
type hashWriter struct {
	records *index.Records
	size    int // of a page
	buckets int // a power of two: libdb wants pages for all up to the next one anyway
	bits    int
	order   []uint32 // the records, bucket by bucket
	ends    []uint32 // where in order the records of each bucket end
}

// itemSize is the room that a key or a value takes on a page of a bucket.
func (h *hashWriter) itemSize(n int) int {
	if n > h.size/4 {
		return offPageLen
	}
	return 1 + n
}

// pairSize is the room for a record and its two offsets.
func (h *hashWriter) pairSize(record uint32) int {
	i := int(record)
	return h.itemSize(len(h.records.Key(i))) + h.itemSize(len(h.records.Value(i))) + 4
}

// distribute finds how many buckets there shall be, and who belongs to which. With up to
// 1.2 pages of records for a bucket on average, the file is about as large as the one
// libdb arrives at; the buckets above the average have a second page.
func (h *hashWriter) distribute() {
	n := h.records.Len()
	sums := make([]uint32, n)
	const chunk = 1 << 14
	var total atomic.Int64
	spread((n+chunk-1)/chunk, 0, func(i int, claim func(int) uint32) error {
		claim(0)
		room := 0
		for j := i * chunk; j < min((i+1)*chunk, n); j++ {
			sums[j] = hashOf(h.records.Key(j))
			room += h.pairSize(uint32(j))
		}
		total.Add(int64(room))
		return nil
	})
	h.bits = 1
	for total.Load()*5 > int64(h.size-headerSize)<<h.bits*6 {
		h.bits++
	}
	h.buckets = 1 << h.bits
	h.ends = make([]uint32, h.buckets+1)
	mask := uint32(h.buckets - 1)
	for _, sum := range sums {
		h.ends[sum&mask+1]++
	}
	for i := range h.buckets {
		h.ends[i+1] += h.ends[i]
	}
	h.order = make([]uint32, n)
	for i, sum := range sums { // moves ends[b] from the beginning of b to its end
		at := &h.ends[sum&mask]
		h.order[*at] = uint32(i)
		*at++
	}
}

// of is the records of a bucket, in the order of the file.
func (h *hashWriter) of(bucket int) []uint32 {
	begin := uint32(0)
	if bucket > 0 {
		begin = h.ends[bucket-1]
	}
	return h.order[begin:h.ends[bucket]]
}

// fill fills the pages of some buckets, and returns those that had to be added.
func (h *hashWriter) fill(own []byte, from int, claim func(int) uint32) ([]byte, error) {
	pages, err := h.arrange(from, from+len(own)/h.size)
	base := claim(pages)
	if err != nil {
		return nil, err
	}
	more := newStack(base, pages, h.size)
	for i := range len(own) / h.size {
		rest := h.of(from + i)
		b, number := own[i*h.size:(i+1)*h.size], uint32(1+from+i)
		for prev := uint32(0); ; {
			n := h.fit(rest)
			s := newSheet(b)
			for _, record := range rest[:n] {
				h.put(&s, h.records.Key(int(record)), more)
				h.put(&s, h.records.Value(int(record)), more)
			}
			if rest = rest[n:]; len(rest) == 0 {
				s.finish(number, prev, 0, 0, hashSorted)
				break
			}
			after, next := more.page()
			s.finish(number, prev, next, 0, hashSorted)
			prev, number, b = number, next, after
		}
	}
	return more.b, nil
}

// arrange sorts the records in some buckets as libdb does, long keys before those they
// begin with (among keys that lie on overflow pages libdb does not, but keys with a
// NUL at the end do not begin with one another), and counts the pages that must be added.
func (h *hashWriter) arrange(from, to int) (pages int, err error) {
	s := sorter{records: h.records, longFirst: true}
	var refs []ref
	for bucket := from; bucket < to; bucket++ {
		records := h.of(bucket)
		refs = refs[:0]
		for _, record := range records {
			r := ref{record: record}
			s.load(&r, 0)
			refs = append(refs, r)
		}
		if err := s.sort(refs, 0); err != nil {
			return 0, err
		}
		for i := range refs {
			records[i] = refs[i].record
		}
		for n := h.fit(records); n < len(records); n = h.fit(records) {
			records = records[n:]
			pages++
		}
		for _, r := range refs {
			pages += h.longPages(len(h.records.Key(int(r.record)))) + h.longPages(len(h.records.Value(int(r.record))))
		}
	}
	return pages, nil
}

// longPages is how many overflow pages a key or a value of n bytes has.
func (h *hashWriter) longPages(n int) int {
	if n > h.size/4 {
		return longPages(n, h.size)
	}
	return 0
}

// fit is how many of the records fit on a page.
func (h *hashWriter) fit(records []uint32) int {
	room := h.size - headerSize
	for i, record := range records {
		if room -= h.pairSize(record); room < 0 {
			return i
		}
	}
	return len(records)
}

// put adds a key or a value to a page.
func (h *hashWriter) put(s *sheet, data []byte, more *stack) {
	b := s.take(h.itemSize(len(data)))
	if len(data) <= h.size/4 {
		b[0] = inline
		copy(b[1:], data)
		return
	}
	b[0] = offPage
	le.PutUint32(b[4:], more.long(data))
	le.PutUint32(b[8:], uint32(len(data)))
}

// meta writes page 0.
func (h *hashWriter) meta(b []byte, last uint32) {
	putMeta(b, hashMagic, hashMeta, last)
	le.PutUint32(b[72:], uint32(h.buckets-1))
	le.PutUint32(b[76:], uint32(h.buckets-1))
	le.PutUint32(b[80:], uint32(h.buckets/2-1))
	le.PutUint32(b[88:], uint32(h.records.Len()))
	le.PutUint32(b[92:], hashCheck)
	for i := range h.bits + 1 {
		le.PutUint32(b[96+4*i:], 1)
	}
}
