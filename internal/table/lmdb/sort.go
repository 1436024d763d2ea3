package lmdb

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"postern/internal/table/index"
)

// sequence is records in the order of their keys.
type sequence struct {
	*index.Records
	items []item // nil: they are in order
}

// at is the number, in the order of Add, of the record with rank i.
func (s *sequence) at(i int) int {
	if s.items == nil {
		return i
	}
	return s.items[i].record
}

// item is one record while sorting: 8 bytes of its key decide most comparisons
// without a look at the key itself, which is far away in memory.
type item struct {
	head   uint64
	record int
}

// sorted brings records in order.
func sorted(r *index.Records) *sequence {
	s := &sequence{Records: r}
	if inOrder(r) {
		return s
	}
	skip := commonPrefix(r)
	s.items = make([]item, r.Len())
	half := len(s.items) / 2
	var wg sync.WaitGroup
	wg.Go(func() { s.sort(0, half, skip) })
	s.sort(half, len(s.items), skip)
	wg.Wait()
	s.items = s.merge(s.items[:half], s.items[half:])
	return s
}

func inOrder(r *index.Records) bool {
	for i := 1; i < r.Len(); i++ {
		if bytes.Compare(r.Key(i-1), r.Key(i)) >= 0 {
			return false
		}
	}
	return true
}

// commonPrefix is the number of bytes with which all keys begin.
func commonPrefix(r *index.Records) int {
	prefix := r.Key(0)
	for i := 1; i < r.Len() && len(prefix) > 0; i++ {
		for key := r.Key(i); !bytes.HasPrefix(key, prefix); {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return len(prefix)
}

// sort fills in and sorts the items from begin to end.
func (s *sequence) sort(begin, end, skip int) {
	for i := begin; i < end; i++ {
		s.items[i] = item{head(s.Key(i)[skip:]), i}
	}
	slices.SortFunc(s.items[begin:end], s.compare)
}

// head is the first 8 bytes of a key as a number that sorts like them. Of two
// keys with the same head one may be longer.
func head(key []byte) uint64 {
	if len(key) >= 8 {
		return be.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return be.Uint64(b[:])
}

func (s *sequence) compare(a, b item) int {
	if a.head != b.head {
		return cmp.Compare(a.head, b.head)
	}
	return bytes.Compare(s.Key(a.record), s.Key(b.record))
}

func (s *sequence) merge(a, b []item) []item {
	out := make([]item, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if s.compare(a[0], b[0]) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}
