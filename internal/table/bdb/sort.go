package bdb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"postern/internal/table/index"
)

// ref stands for a record while records are sorted: the eight bytes of its key that
// matter at the moment lie beside it, so that most comparisons need not look at
// the key itself.
type ref struct {
	prefix uint64
	record uint32
	end    uint8 // orders keys that end within the prefix
	more   bool  // the key is longer
}

func compareRefs(a, b ref) int {
	if a.prefix != b.prefix {
		return cmp.Compare(a.prefix, b.prefix)
	}
	return cmp.Compare(a.end, b.end)
}

// sorter sorts records by their keys. Where a key begins with another, it is the greater
// one; with longFirst, the smaller one.
type sorter struct {
	records   *index.Records
	longFirst bool
}

// load sets the prefix of a ref to the bytes of its key from depth on.
func (s sorter) load(r *ref, depth int) {
	key := s.records.Key(int(r.record))[depth:]
	r.end, r.more = uint8(min(len(key), 9)), len(key) > 8
	if s.longFirst {
		r.end = 9 - r.end
	}
	if len(key) >= 8 {
		r.prefix = binary.BigEndian.Uint64(key)
		return
	}
	var pad [8]byte
	if s.longFirst {
		pad = [8]byte{255, 255, 255, 255, 255, 255, 255, 255}
	}
	copy(pad[:], key)
	r.prefix = binary.BigEndian.Uint64(pad[:])
}

// sort sorts refs that were loaded from depth on, up to where their keys are equal. The
// same key twice is an error.
func (s sorter) sort(refs []ref, depth int) error {
	slices.SortFunc(refs, compareRefs)
	for len(refs) > 1 {
		n := 1
		for n < len(refs) && compareRefs(refs[0], refs[n]) == 0 {
			n++
		}
		if n > 1 {
			if !refs[0].more {
				return fmt.Errorf("the key %q is there twice", s.records.Key(int(refs[0].record)))
			}
			for i := range refs[:n] {
				s.load(&refs[i], depth+8)
			}
			if err := s.sort(refs[:n], depth+8); err != nil {
				return err
			}
		}
		refs = refs[n:]
	}
	return nil
}

// sorted returns the numbers of the records in the order of their keys, nil if that is
// the order they are in. The same key twice is an error.
func sorted(records *index.Records) ([]uint32, error) {
	n := records.Len()
	common, inOrder := survey(records)
	if inOrder {
		return nil, nil
	}
	s := sorter{records: records}
	refs := make([]ref, n)
	for i := range refs {
		refs[i].record = uint32(i)
		s.load(&refs[i], common)
	}
	order := make([]uint32, n)
	return order, s.sortParts(refs, common, order, runtime.GOMAXPROCS(0))
}

// survey returns how many bytes all keys begin with in common, and whether each key is
// greater than the one before.
func survey(records *index.Records) (common int, inOrder bool) {
	if records.Len() == 0 {
		return 0, true
	}
	first := records.Key(0)
	common, inOrder = len(first), true
	last := first
	for i := 1; i < records.Len(); i++ {
		key := records.Key(i)
		if len(key) < common || !bytes.Equal(key[:common], first[:common]) {
			common = commonPrefix(key, first)
		}
		inOrder = inOrder && bytes.Compare(last, key) < 0
		last = key
	}
	return common, inOrder
}

// commonPrefix is how many bytes a and b begin with in common.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// sortParts sorts refs and puts their records into order, in several parts at a time: each is divided by a
// value from its middle.
func (s sorter) sortParts(refs []ref, depth int, order []uint32, parts int) error {
	if parts > 1 && len(refs) > 1<<13 {
		n := divide(refs)
		var wg sync.WaitGroup
		var before error
		wg.Go(func() { before = s.sortParts(refs[:n], depth, order[:n], parts/2) })
		after := s.sortParts(refs[n:], depth, order[n:], parts-parts/2)
		wg.Wait()
		return cmp.Or(before, after)
	}
	if err := s.sort(refs, depth); err != nil {
		return err
	}
	for i := range refs {
		order[i] = refs[i].record
	}
	return nil
}

// divide moves the refs that are smaller than some middle one to the front, and returns
// how many they are.
func divide(refs []ref) int {
	var sample [65]ref
	for i := range sample {
		sample[i] = refs[i*(len(refs)-1)/(len(sample)-1)]
	}
	slices.SortFunc(sample[:], compareRefs)
	middle := sample[len(sample)/2]
	n := 0
	for i := range refs {
		if compareRefs(refs[i], middle) < 0 {
			refs[i], refs[n] = refs[n], refs[i]
			n++
		}
	}
	return n
}
