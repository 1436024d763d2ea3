package queue

// order says that a message is to be tried.
type order struct {
	number     uint64
	stamp      int64 // its next try when the order was given; if it has moved, the order is void
	given      int64 // when somebody asked; 0: nobody did
	recipients int32 // where it waits for room, how many for
	retry      bool  // and whether it was tried before
}

// orders are the orders that wait: to be tried, for room, or parked at a lane.
// Each message has one, in one of these places. The zero value is empty.
type orders map[uint64]order

// wait puts an order behind others in a place. If the message has one already,
// that stays where it is, and counts as given when the later of the two was. The
// lock is held.
func (q *Queue) wait(place *fifo[uint64], o order) {
	old, ok := q.orders[o.number]
	switch {
	case !ok:
		if q.orders == nil {
			q.orders = orders{}
		}
		q.orders[o.number] = o
		place.push(o.number)
	case o.given > old.given:
		old.given, old.stamp = o.given, o.stamp
		q.orders[o.number] = old
	}
}

// pull takes the first order of a place, which has to have one. The lock is held.
func (q *Queue) pull(place *fifo[uint64]) order {
	number := place.pop()
	o := q.orders[number]
	if delete(q.orders, number); len(q.orders) == 0 {
		q.orders = nil // a map does not shrink
	}
	return o
}
