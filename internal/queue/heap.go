package queue

// timed is a value whose time comes.
type timed interface{ due() int64 } // nanoseconds since 1970

// timeline is a heap of values, the one due first at index 0. The zero value is
// empty.
type timeline[T timed] []T

// push adds a value.
func (h *timeline[T]) push(v T) {
	*h = append(*h, v)
	a, i := *h, len(*h)-1
	for i > 0 {
		up := (i - 1) / 2
		if a[up].due() <= v.due() {
			break
		}
		a[i] = a[up]
		i = up
	}
	a[i] = v
}

// pop takes the first value, which has to exist.
func (h *timeline[T]) pop() T {
	a := *h
	first, last := a[0], len(a)-1
	v := a[last]
	var none T
	a[last] = none
	*h = a[:last]
	if last > 0 {
		h.sink(0, v)
	}
	return first
}

// sink puts v at i, or below where something is due before it.
func (h timeline[T]) sink(i int, v T) {
	for {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if right := down + 1; right < len(h) && h[right].due() < h[down].due() {
			down = right
		}
		if v.due() <= h[down].due() {
			break
		}
		h[i] = h[down]
		i = down
	}
	h[i] = v
}

// order makes a heap of values that were appended in any order.
func (h timeline[T]) order() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i, h[i])
	}
}
