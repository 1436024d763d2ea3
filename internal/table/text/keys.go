package text

import "hash/maphash"

// keys finds the row of a key. It is a hash table with linear probing whose
// slots hold no keys, only a part of their hash: the key is cut out of the text
// when that part agrees. A million rows take 16 MiB and no pointer.
type keys struct {
	seed  maphash.Seed
	slots []slot // a power of two of them, at most half of them used
}

// slot is one place. It is free when row is 0.
type slot struct {
	tag uint32
	row uint32 // index + 1
}

// newKeys returns a table for n keys.
func newKeys(seed maphash.Seed, n int) keys {
	size := 8
	for size < 2*n {
		size *= 2
	}
	return keys{seed, make([]slot, size)}
}

// find returns the row of a key with that hash for which same says so. If there
// is none, place is where it belongs.
func (k keys) find(hash uint64, same func(row uint32) bool) (row uint32, place *slot, found bool) {
	tag, mask := uint32(hash>>32), uint64(len(k.slots)-1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := &k.slots[i]
		if s.row == 0 {
			return 0, s, false
		}
		if s.tag == tag && same(s.row-1) {
			return s.row - 1, s, true
		}
	}
}

// put fills a free place.
func (s *slot) put(hash uint64, row uint32) { *s = slot{uint32(hash >> 32), row + 1} }
