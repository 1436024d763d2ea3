package spool

import (
	"encoding/binary"
	"hash/crc32"
)

// A record of the log is a head, a meta part and a blob, padded with zeros to
// a multiple of recordAlign:
//
//	 0  2  magic "PR"
//	 2  1  type
//	 3  1  zero
//	 4  4  length of meta
//	 8  4  length of blob
//	12  4  so many bytes of this segment were durable when this was written
//	16  4  CRC-32C of meta
//	20  4  CRC-32C of bytes 0 to 19, salted
//
// Numbers are little-endian. The salt is the spool's secret, the segment's
// generation and the record's offset, so that neither what an earlier use of
// the segment left behind nor the text of a message can pass for a record.
// The blob is message texts, whose checksums stand in meta.
const (
	recordMagic = "PR"
	headSize    = 24
	recordAlign = 8
)

// recordType says what meta holds.
type recordType uint8

const (
	recordChange recordType = 1 // a Change
	recordKeep   recordType = 2 // a message moved to the head of the log, text and state
	recordMark   recordType = 3 // begin of a segment, checkpoint
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// head is the decoded head of a record.
type head struct {
	kind    recordType
	meta    uint32
	blob    uint32
	durable uint32
	metaCRC uint32
}

// length is that of the whole record, padding included.
func (h head) length() int64 { return recordLength(int64(h.meta) + int64(h.blob)) }

// recordLength is the space for so many bytes of meta and blob.
func recordLength(content int64) int64 {
	return (headSize + content + recordAlign - 1) &^ (recordAlign - 1)
}

// salt binds records to their place.
type salt [16]byte

func (s salt) checksum(gen uint64, off int64, b []byte) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], gen)
	binary.LittleEndian.PutUint64(place[8:], uint64(off))
	c := crc32.Update(0, castagnoli, s[:])
	c = crc32.Update(c, castagnoli, place[:])
	return crc32.Update(c, castagnoli, b)
}

// appendHead appends the 24 bytes of a head for the record at gen and off.
func (s salt) appendHead(b []byte, h head, gen uint64, off int64) []byte {
	at := len(b)
	b = append(b, recordMagic...)
	b = append(b, byte(h.kind), 0)
	b = binary.LittleEndian.AppendUint32(b, h.meta)
	b = binary.LittleEndian.AppendUint32(b, h.blob)
	b = binary.LittleEndian.AppendUint32(b, h.durable)
	b = binary.LittleEndian.AppendUint32(b, h.metaCRC)
	return binary.LittleEndian.AppendUint32(b, s.checksum(gen, off, b[at:]))
}

// parseHead reads the head at seg[off:]. ok is false when there is none for
// this place, or when the record would reach over the end of the segment.
func (s salt) parseHead(seg []byte, gen uint64, off int64) (h head, ok bool) {
	if off < 0 || off > int64(len(seg))-headSize {
		return head{}, false
	}
	return s.decodeHead(seg[off:off+headSize], gen, off, int64(len(seg)))
}

// decodeHead is parseHead for the bytes at off of a segment of that size.
func (s salt) decodeHead(b []byte, gen uint64, off, size int64) (h head, ok bool) {
	if len(b) < headSize || string(b[:2]) != recordMagic || b[3] != 0 {
		return head{}, false
	}
	h = head{
		kind:    recordType(b[2]),
		meta:    binary.LittleEndian.Uint32(b[4:]),
		blob:    binary.LittleEndian.Uint32(b[8:]),
		durable: binary.LittleEndian.Uint32(b[12:]),
		metaCRC: binary.LittleEndian.Uint32(b[16:]),
	}
	if h.length() > size-off {
		return head{}, false
	}
	return h, s.checksum(gen, off, b[:20]) == binary.LittleEndian.Uint32(b[20:])
}

// isHead reports whether b is the head of a record at the begin of the segment
// gen, however long the record may be.
func (s salt) isHead(b []byte, gen uint64) bool {
	return len(b) >= headSize && string(b[:2]) == recordMagic &&
		s.checksum(gen, 0, b[:20]) == binary.LittleEndian.Uint32(b[20:])
}
