package cdb

import (
	"bytes"
	"fmt"
	"iter"
	"math"

	"postern/internal/table/index"
)

// file is an open file. Its bytes may be anything, and may change from one look
// to the next: a number is read once, examined, and then used.
type file struct {
	data    []byte
	heads   [tables]table
	end     uint32 // of the records
	records uint32
}

// table is one of the hash tables.
type table struct {
	at, slots uint32
}

// open reads the list of the hash tables. They lie one after the other, and the
// file ends with the last one.
func open(data []byte) (index.Reader, error) {
	if len(data) < headSize {
		return nil, fmt.Errorf("%w: %d bytes are too few for a cdb file", index.ErrDamaged, len(data))
	}
	if uint64(len(data)) > math.MaxUint32 {
		return nil, fmt.Errorf("%w: %d bytes are too many for a cdb file", index.ErrDamaged, len(data))
	}
	f := &file{data: data, end: uint32(len(data))}
	var next, slots uint64
	for i := range f.heads {
		t := table{le.Uint32(data[8*i:]), le.Uint32(data[8*i+4:])}
		if t == (table{}) {
			continue // an empty table needs no position
		}
		f.heads[i] = t
		if next == 0 {
			next = uint64(t.at)
			f.end = t.at
		}
		if uint64(t.at) != next || t.at < headSize || t.slots%2 != 0 {
			return nil, damaged(uint32(8*i), "the hash tables are not one after the other (or this is not a cdb file)")
		}
		next += uint64(t.slots) * slotSize
		slots += uint64(t.slots)
	}
	if next != uint64(len(data)) {
		return nil, fmt.Errorf("%w: %d bytes, its hash tables end at %d (or this is not a cdb file)", index.ErrDamaged, len(data), next)
	}
	f.records = uint32(slots / 2)
	return f, nil
}

// slot is slot i of a hash table.
func (f *file) slot(t table, i uint32) (hash, at uint32) {
	word := le.Uint64(f.data[t.at+i*slotSize:])
	return uint32(word), uint32(word >> 32)
}

// record is the record at this position. That there is another one behind it, or
// the end, is a proof of its lengths.
func (f *file) record(at uint32) (index.Record, uint32, error) {
	next, keySize, err := f.extent(at)
	if err != nil {
		return index.Record{}, 0, err
	}
	if next != f.end {
		if _, _, err := f.extent(next); err != nil {
			return index.Record{}, 0, err
		}
	}
	key, value := at+recordHead, at+recordHead+keySize
	return index.Record{Key: f.data[key:value:value], Value: f.data[value:next:next]}, next, nil
}

// extent is where the record at this position ends, and the length of its key.
func (f *file) extent(at uint32) (next, keySize uint32, err error) {
	if at < headSize || at > f.end || f.end-at < recordHead {
		return 0, 0, damaged(at, "a record is outside the records")
	}
	word := le.Uint64(f.data[at:])
	keySize = uint32(word)
	value := uint32(word >> 32)
	room := f.end - at - recordHead
	if keySize > room || value > room-keySize {
		return 0, 0, damaged(at, "a record is longer than the file")
	}
	return at + recordHead + keySize + value, keySize, nil
}

// Get follows the slots that the hash of the key leads to.
func (f *file) Get(key []byte) ([]byte, error) {
	h := hash(key)
	t := f.heads[h%tables]
	if t.slots == 0 {
		return nil, index.ErrNone
	}
	start := h / tables % t.slots
	for i, n := start, uint32(0); n < t.slots; n++ {
		found, at := f.slot(t, i)
		if at == 0 {
			return nil, f.absent(t, start, n, found)
		}
		if found == h {
			r, _, err := f.record(at)
			if err != nil {
				return nil, err
			}
			if bytes.Equal(r.Key, key) {
				return r.Value, nil
			}
		}
		if i++; i == t.slots {
			i = 0
		}
	}
	return nil, damaged(t.at, "a hash table without an empty slot")
}

// absent is ErrNone if the n slots from start, and the empty one behind them,
// are sound: the search for a key has met only them.
func (f *file) absent(t table, start, n, empty uint32) error {
	if empty != 0 {
		return damaged(t.at, "an empty slot with a hash")
	}
	for i := start; n > 0; n-- {
		found, at := f.slot(t, i)
		r, _, err := f.record(at)
		if err != nil {
			return err
		}
		if hash(r.Key) != found {
			return damaged(at, "a record with another hash")
		}
		if i++; i == t.slots {
			i = 0
		}
	}
	return index.ErrNone
}

// All yields the records in the order in which they were put in.
func (f *file) All() iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		count := uint32(0)
		for at := uint32(headSize); at != f.end; count++ {
			r, next, err := f.record(at)
			if err != nil {
				yield(index.Record{}, err)
				return
			}
			if !yield(r, nil) {
				return
			}
			at = next
		}
		if count != f.records {
			yield(index.Record{}, damaged(headSize, "the number of records is wrong"))
		}
	}
}
