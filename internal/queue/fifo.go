package queue

// fifo is a queue of values. The zero value is empty.
type fifo[T any] struct {
	items []T
	head  int // items before it are gone
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) push(v T) {
	if f.head > len(f.items)/2 && f.head > 32 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, v)
}

// pop takes the oldest value, which has to exist.
func (f *fifo[T]) pop() T {
	var none T
	v := f.items[f.head]
	f.items[f.head] = none
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return v
}

// first is the oldest value, which has to exist.
func (f *fifo[T]) first() T { return f.items[f.head] }

// all are the values, the oldest first.
func (f *fifo[T]) all() []T { return f.items[f.head:] }
