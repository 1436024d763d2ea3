package cdb

import (
	"bufio"
	"fmt"
	"io"
	"math"

	"postern/internal/table/index"
)

// slot is one slot of a hash table.
type slot struct {
	hash, at uint32
}

// write writes the records in their order. Where the hash tables will be follows
// from their sizes, so everything is written once and from front to back. The
// file is the same, byte for byte, that Postfix makes of the same records.
func write(w io.Writer, records *index.Records) error {
	size := fileSize(records.Len(), records.Bytes())
	if size > math.MaxUint32 {
		return fmt.Errorf("%d records make a cdb file of %d bytes, and more than 4 GiB are not possible: use lmdb", records.Len(), size)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	slots, counts := group(records)
	writeHead(out, uint32(size)-2*slotSize*uint32(records.Len()), counts)
	var head [recordHead]byte
	for i := range records.Len() {
		key, value := records.Key(i), records.Value(i)
		le.PutUint32(head[:], uint32(len(key)))
		le.PutUint32(head[4:], uint32(len(value)))
		out.Write(head[:])
		out.Write(key)
		out.Write(value)
	}
	for _, n := range counts {
		writeTable(out, slots[:n])
		slots = slots[n:]
	}
	return out.Flush() // and the first error of all writes
}

func fileSize(records, bytes int) uint64 {
	return headSize + uint64(records)*(recordHead+2*slotSize) + uint64(bytes)
}

// group makes a slot for each record, those of one hash table side by side in
// the order of the records, and counts them by hash table.
func group(records *index.Records) (slots []slot, counts [tables]uint32) {
	hashes := make([]uint32, records.Len())
	for i := range hashes {
		hashes[i] = hash(records.Key(i))
		counts[hashes[i]%tables]++
	}
	var next [tables]uint32
	for i := 1; i < tables; i++ {
		next[i] = next[i-1] + counts[i-1]
	}
	slots = make([]slot, records.Len())
	at := uint32(headSize)
	for i, h := range hashes {
		slots[next[h%tables]] = slot{h, at}
		next[h%tables]++
		at += recordHead + uint32(len(records.Key(i))+len(records.Value(i)))
	}
	return slots, counts
}

// writeHead says where the hash tables are: from this position on.
func writeHead(out *bufio.Writer, at uint32, counts [tables]uint32) {
	var head [headSize]byte
	for i, n := range counts {
		le.PutUint32(head[8*i:], at)
		le.PutUint32(head[8*i+4:], 2*n)
		at += 2 * n * slotSize
	}
	out.Write(head[:])
}

// writeTable puts each slot at the place that its hash gives it, or at the next
// empty one.
func writeTable(out *bufio.Writer, slots []slot) {
	n := 2 * len(slots)
	table := make([]byte, n*slotSize)
	for _, s := range slots {
		i := int(s.hash/tables) % n
		for le.Uint32(table[i*slotSize+4:]) != 0 {
			if i++; i == n {
				i = 0
			}
		}
		le.PutUint32(table[i*slotSize:], s.hash)
		le.PutUint32(table[i*slotSize+4:], s.at)
	}
	out.Write(table)
}
