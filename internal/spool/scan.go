package spool

import (
	"bytes"
	"io"
)

// record is one record found in a segment. Meta and blob point into the
// segment's bytes. whole: meta is as it was written; of the blob nothing is
// said.
type record struct {
	off   int64
	head  head
	meta  []byte
	blob  []byte
	whole bool
}

func (r *record) end() int64 { return r.off + r.head.length() }

// scan finds the records of one segment. It does not stop at what is no
// record, but looks for the next one behind it; the gap shows in the offsets.
func (s salt) scan(seg []byte, gen uint64) []record {
	var list []record
	for off := int64(0); ; {
		h, ok := s.parseHead(seg, gen, off)
		if !ok {
			if off = s.next(seg, gen, off+recordAlign); off < 0 {
				return list
			}
			continue
		}
		meta := seg[off+headSize : off+headSize+int64(h.meta)]
		blob := seg[off+headSize+int64(h.meta):][:h.blob]
		list = append(list, record{off, h, meta, blob, checksum(meta) == h.metaCRC})
		off += h.length()
	}
}

// next is the offset of the first record from off on, or -1.
func (s salt) next(seg []byte, gen uint64, off int64) int64 {
	for off < int64(len(seg)) {
		i := bytes.Index(seg[off:], []byte(recordMagic))
		if i < 0 {
			return -1
		}
		off += int64(i)
		if off%recordAlign == 0 {
			if _, ok := s.parseHead(seg, gen, off); ok {
				return off
			}
		}
		off++
	}
	return -1
}

// readSegment reads all bytes of a segment file. Where the disk refuses, there
// are zeros, and bad counts the bytes.
func readSegment(f File, buf []byte) (b []byte, bad int64, err error) {
	size, err := f.Size()
	if err != nil {
		return nil, 0, err
	}
	size = min(size, maxSegment)
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	b = buf[:size]
	const chunk, piece = 1 << 20, 4096
	for off := int64(0); off < size; off += chunk {
		part := b[off:min(off+chunk, size)]
		if readAt(f, part, off) == nil {
			continue
		}
		for p := int64(0); p < int64(len(part)); p += piece {
			small := part[p:min(p+piece, int64(len(part)))]
			if readAt(f, small, off+p) != nil {
				clear(small)
				bad += int64(len(small))
			}
		}
	}
	return b, bad, nil
}

func readAt(f File, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if err == io.EOF && n == len(b) {
		return nil
	}
	return err
}
