package queue

// rota holds the shares that wait in a lane: those of each sender in the order
// in which they came, and senders in turn. The zero value is empty.
//
// The first share of a sender stands for all of his: it is in turns and leads to
// the others.
type rota struct {
	turns   fifo[*share]
	senders map[string]*share // first shares; nil while there was never a second sender
	n       int
}

func (r *rota) len() int { return r.n }

// first is the first share of a sender, nil when he has none here.
func (r *rota) first(sender string) *share {
	if r.senders != nil {
		return r.senders[sender]
	}
	if r.turns.len() > 0 && r.turns.first().sender == sender {
		return r.turns.first()
	}
	return nil
}

// last is the youngest share of a sender, nil when he has none here.
func (r *rota) last(sender string) *share {
	if first := r.first(sender); first != nil {
		return first.last
	}
	return nil
}

// push puts a share behind others of its sender.
func (r *rota) push(s *share) {
	s.next = nil
	r.n++
	if first := r.first(s.sender); first != nil {
		first.last.next = s
		first.last = s
		return
	}
	if r.senders == nil && r.turns.len() > 0 {
		r.senders = map[string]*share{r.turns.first().sender: r.turns.first()}
	}
	r.lead(s, s)
}

// lead makes s the first share of its sender, whose turn comes last.
func (r *rota) lead(s, last *share) {
	s.last = last
	r.turns.push(s)
	if r.senders != nil {
		r.senders[s.sender] = s
	}
}

// pop takes the first share of the sender whose turn it is. There has to be one.
func (r *rota) pop() *share {
	s := r.turns.pop()
	r.n--
	if s.next != nil {
		r.lead(s.next, s.last)
	} else if r.senders != nil {
		delete(r.senders, s.sender)
	}
	s.next, s.last = nil, nil
	return s
}
