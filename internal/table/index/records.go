package index

import "slices"

// Records is a list of records on its way into a file: in the order of Add,
// without pointers for the garbage collector to follow. The zero Records is
// empty and ready for use.
type Records struct {
	arena []byte
	ends  []end
}

// end is where a key and its value end in the arena. They begin where the
// record before ended.
type end struct {
	key, value uint64
}

// Grow makes room for n more records of that many bytes in all.
func (r *Records) Grow(n, bytes int) {
	r.ends = slices.Grow(r.ends, n)
	r.arena = slices.Grow(r.arena, bytes)
}

// Add appends a record. The bytes are copied.
func (r *Records) Add(key, value []byte) {
	r.arena = append(r.arena, key...)
	k := uint64(len(r.arena))
	r.arena = append(r.arena, value...)
	r.ends = append(r.ends, end{k, uint64(len(r.arena))})
}

// Len is the number of records.
func (r *Records) Len() int { return len(r.ends) }

// Bytes is the summed length of all keys and values.
func (r *Records) Bytes() int { return len(r.arena) }

func (r *Records) start(i int) uint64 {
	if i == 0 {
		return 0
	}
	return r.ends[i-1].value
}

// Key is the key of record i, to be read only.
func (r *Records) Key(i int) []byte {
	e := r.ends[i]
	return r.arena[r.start(i):e.key:e.key]
}

// Value is the value of record i, to be read only.
func (r *Records) Value(i int) []byte {
	e := r.ends[i]
	return r.arena[e.key:e.value:e.value]
}
