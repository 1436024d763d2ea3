package lmdb

import (
	"bytes"
	"iter"

	"postern/internal/table/index"
)

// Get walks from the root to the leaf that must hold the key.
func (f *file) Get(key []byte) ([]byte, error) {
	if f.depth == 0 {
		return nil, index.ErrNone
	}
	var s span
	no := f.root
	for below := f.depth - 1; below > 0; below-- {
		p, err := f.page(no, branchPage)
		if err != nil {
			return nil, err
		}
		i, found, err := p.search(key, 1)
		if err != nil {
			return nil, err
		}
		if !found {
			i--
		}
		if err := s.narrow(&p, i, below); err != nil {
			return nil, err
		}
		if no, err = p.child(i); err != nil {
			return nil, err
		}
	}
	p, err := f.page(no, leafPage)
	if err != nil {
		return nil, err
	}
	i, found, err := p.search(key, 0)
	if err != nil {
		return nil, err
	}
	if found {
		if err := p.sound(i); err != nil {
			return nil, err
		}
		return f.value(&p, i)
	}
	if err := f.absent(&p, i, key, &s); err != nil {
		return nil, err
	}
	return nil, index.ErrNone
}

// span is what the way down has told about the page it has come to: the bounds
// of its keys, and the trees that lie left and right of it. No bound, no tree:
// nil and 0.
type span struct {
	low, high             []byte // low <= keys < high
	left, right           uint64
	leftDepth, rightDepth int
}

// narrow takes one step down, to child i of a branch page, below which there
// are so many levels. Bounds get narrower: the least child has that of its parent.
func (s *span) narrow(p *page, i, below int) (err error) {
	if i > 0 {
		low, err := p.key(i)
		if err != nil {
			return err
		}
		if bytes.Compare(low, s.low) <= 0 {
			return damaged(p.no, "its keys are too low")
		}
		s.low = low
		if s.left, err = p.child(i - 1); err != nil {
			return err
		}
		s.leftDepth = below
	}
	if i == p.n-1 {
		return p.full(false)
	}
	high, err := p.key(i + 1)
	if err != nil {
		return err
	}
	if s.high != nil && bytes.Compare(high, s.high) >= 0 {
		return damaged(p.no, "its keys are too high")
	}
	s.high = high
	s.rightDepth = below
	s.right, err = p.child(i + 1)
	return err
}

// absent is nil when the key is not in the file. The search has ended before
// node i of leaf p.
func (f *file) absent(p *page, i int, key []byte, s *span) error {
	first, err := p.key(0)
	if err != nil {
		return err
	}
	if bytes.Compare(first, s.low) < 0 {
		return damaged(p.no, "its keys are too low")
	}
	last, err := p.key(p.n - 1)
	if err != nil {
		return err
	}
	if s.high != nil && bytes.Compare(last, s.high) >= 0 {
		return damaged(p.no, "its keys are too high")
	}
	for j := max(i-1, 0); j < min(i+1, p.n); j++ {
		if err := p.sound(j); err != nil {
			return err
		}
	}
	if i == 0 && s.leftDepth > 0 {
		k, err := f.edge(s.left, s.leftDepth, true)
		if err != nil {
			return err
		}
		if bytes.Compare(k, key) >= 0 {
			return damaged(s.left, "it has keys of its neighbour")
		}
	}
	if i < p.n {
		return nil
	}
	if s.rightDepth > 0 {
		k, err := f.edge(s.right, s.rightDepth, false)
		if err != nil {
			return err
		}
		if bytes.Compare(k, key) <= 0 {
			return damaged(s.right, "it has keys of its neighbour")
		}
	}
	return p.full(true)
}

// edge is the first or the last key of the tree from page no.
func (f *file) edge(no uint64, depth int, last bool) ([]byte, error) {
	for {
		kind := uint16(leafPage)
		if depth > 1 {
			kind = branchPage
		}
		p, err := f.page(no, kind)
		if err != nil {
			return nil, err
		}
		i := 0
		if last {
			i = p.n - 1
		}
		if depth == 1 {
			return p.key(i)
		}
		if no, err = p.child(i); err != nil {
			return nil, err
		}
		depth--
	}
}

// All yields the records in the order of their keys. It cannot go round in
// circles: a leaf that is met a second time has keys that are too low.
func (f *file) All() iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		if f.depth == 0 {
			return
		}
		w := walk{file: f, yield: yield}
		more, err := w.tree(f.root, f.depth)
		if err == nil && more && w.count != f.entries {
			err = damaged(f.root, "the number of records is wrong")
		}
		if err != nil {
			yield(index.Record{}, err)
		}
	}
}

// walk is a way through all records.
type walk struct {
	file  *file
	yield func(index.Record, error) bool
	last  []byte // key
	count uint64
}

// tree visits the tree from page no. It says whether more is wanted.
func (w *walk) tree(no uint64, depth int) (more bool, err error) {
	if depth == 1 {
		return w.leaf(no)
	}
	p, err := w.file.page(no, branchPage)
	if err != nil {
		return false, err
	}
	if err := p.full(false); err != nil {
		return false, err
	}
	for i := range p.n {
		child, err := p.child(i)
		if err != nil {
			return false, err
		}
		if more, err := w.tree(child, depth-1); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (w *walk) leaf(no uint64) (more bool, err error) {
	p, err := w.file.page(no, leafPage)
	if err != nil {
		return false, err
	}
	if err := p.full(true); err != nil {
		return false, err
	}
	for i := range p.n {
		key, err := p.key(i)
		if err != nil {
			return false, err
		}
		if w.count > 0 && bytes.Compare(w.last, key) >= 0 {
			return false, p.disorder()
		}
		value, err := w.file.value(&p, i)
		if err != nil {
			return false, err
		}
		w.last = key
		w.count++
		if !w.yield(index.Record{Key: key, Value: value}, nil) {
			return false, nil
		}
	}
	return true, nil
}
