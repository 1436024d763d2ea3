package spool

import (
	"slices"
	"sort"
)

// blockSlots makes a block 4 KiB.
const blockSlots = 85

// block is a row of slots by ascending number.
type block struct {
	epoch uint32
	n     int32
	slots [blockSlots]slot
}

// find is the index of the first slot that is not below number.
func (b *block) find(number uint64) int {
	return sort.Search(int(b.n), func(i int) bool { return b.slots[i].number >= number })
}

// leaf is a block in its row: numbers from first up to the next leaf's first
// belong to it.
type leaf struct {
	first uint64
	*block
}

// table holds slots by number. Numbers come in nearly ascending order, and so
// blocks are nearly full. It is not safe for concurrent use, with one
// exception: what freeze returned.
type table struct {
	leaves []leaf
	n      int
	epoch  uint32
	frozen bool
}

// leaf is the index of the leaf to which number belongs; -1: it is below all.
func (t *table) leaf(number uint64) int {
	return sort.Search(len(t.leaves), func(i int) bool { return t.leaves[i].first > number }) - 1
}

// search finds the leaf and the index in it; ok is false when number is not
// there.
func (t *table) search(number uint64) (i, k int, ok bool) {
	if i = t.leaf(number); i < 0 {
		return 0, 0, false
	}
	b := t.leaves[i].block
	k = b.find(number)
	return i, k, k < int(b.n) && b.slots[k].number == number
}

// find returns a slot to be read, until the table changes; nil: none.
func (t *table) find(number uint64) *slot {
	if i, k, ok := t.search(number); ok {
		return &t.leaves[i].slots[k]
	}
	return nil
}

// edit returns a slot to be read and written, until the table changes.
func (t *table) edit(number uint64) *slot {
	if i, k, ok := t.search(number); ok {
		return &t.own(i).slots[k]
	}
	return nil
}

// own returns a block that may be changed; a frozen one is replaced by a copy.
func (t *table) own(i int) *block {
	b := t.leaves[i].block
	if t.frozen && b.epoch != t.epoch {
		c := *b
		c.epoch = t.epoch
		b = &c
		t.leaves[i].block = b
	}
	return b
}

// insert adds a slot, or replaces the one with its number.
func (t *table) insert(e slot) {
	i, k, ok := t.search(e.number)
	switch {
	case ok:
		t.own(i).slots[k] = e
		return
	case len(t.leaves) == 0:
		t.leaves = append(t.leaves, leaf{e.number, &block{epoch: t.epoch}})
	case e.number < t.leaves[0].first:
		t.leaves[0].first = e.number
	case t.leaves[i].n == blockSlots:
		t.split(i, e.number)
	}
	b := t.own(max(t.leaf(e.number), 0))
	if b.n == blockSlots { // number is below all
		t.split(0, e.number)
		b = t.own(0)
	}
	k = b.find(e.number)
	copy(b.slots[k+1:], b.slots[k:b.n])
	b.slots[k] = e
	b.n++
	t.n++
}

// split makes two blocks of a full one; behind its last slot a new one begins,
// so that ascending numbers fill their blocks.
func (t *table) split(i int, number uint64) {
	b := t.own(i)
	half, first := blockSlots/2, b.slots[blockSlots/2].number
	if number > b.slots[blockSlots-1].number {
		half, first = blockSlots, number
	}
	c := &block{epoch: t.epoch, n: int32(blockSlots - half)}
	copy(c.slots[:], b.slots[half:])
	b.n = int32(half)
	t.leaves = slices.Insert(t.leaves, i+1, leaf{first, c})
}

// delete removes a slot. Neighbours that have become small are put together.
func (t *table) delete(number uint64) {
	i, k, ok := t.search(number)
	if !ok {
		return
	}
	b := t.own(i)
	copy(b.slots[k:], b.slots[k+1:b.n])
	b.n--
	t.n--
	switch {
	case b.n == 0 && len(t.leaves) > 1:
		t.leaves = slices.Delete(t.leaves, i, i+1)
	case i+1 < len(t.leaves) && b.n+t.leaves[i+1].n <= blockSlots/2:
		t.merge(i)
	case i > 0 && b.n+t.leaves[i-1].n <= blockSlots/2:
		t.merge(i - 1)
	}
}

// merge moves the slots of leaf i+1 to leaf i.
func (t *table) merge(i int) {
	b, c := t.own(i), t.leaves[i+1].block
	copy(b.slots[b.n:], c.slots[:c.n])
	b.n += c.n
	t.leaves = slices.Delete(t.leaves, i+1, i+2)
}

// after fills list with the slots whose numbers are above number and returns
// how many there were room for.
func (t *table) after(number uint64, list []slot) int {
	n := 0
	for i := max(t.leaf(number), 0); i < len(t.leaves) && n < len(list); i++ {
		b := t.leaves[i].block
		k := b.find(number + 1)
		n += copy(list[n:], b.slots[k:b.n])
	}
	return n
}

// last is the highest number, 0 when the table is empty.
func (t *table) last() uint64 {
	if t.n == 0 {
		return 0
	}
	l := t.leaves[len(t.leaves)-1]
	return l.slots[l.n-1].number
}

// freeze returns all blocks as they are now. They do not change before thaw:
// who writes to one of them writes to a copy.
func (t *table) freeze() []leaf {
	t.epoch++
	t.frozen = true
	return slices.Clone(t.leaves)
}

func (t *table) thaw() { t.frozen = false }
