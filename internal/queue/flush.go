package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"postern/internal/address"
	"postern/internal/spool"
)

// Flush has everything tried now that sleeps, dead destinations included
// (postqueue -f). What is on hold stays there.
func (q *Queue) Flush() {
	given := q.options.Now().UnixNano()
	q.mu.Lock()
	defer q.mu.Unlock()
	slices.SortFunc(q.sleeping, func(a, b alarm) int { return cmp.Compare(a.number, b.number) })
	for _, a := range q.sleeping {
		q.wait(&q.ordered, order{number: a.number, stamp: a.at, given: given})
	}
	q.sleeping = nil
	q.admit()
}

// FlushMessage has one message tried now (postqueue -i). It reports whether
// there is such a message.
func (q *Queue) FlushMessage(id string) bool {
	number, ok := spool.ParseID(id)
	if !ok {
		return false
	}
	w, ok := q.options.Store.Peek(number)
	if ok && q.concerns(Retry, w) {
		q.order([]spool.Waiting{w})
	}
	return ok
}

// Why FlushDestination does nothing.
var (
	ErrStopped  = errors.New("the queue does not run")
	ErrFlushing = fmt.Errorf("%d domains wait to be flushed already", maxFlushing)
)

// maxFlushing bounds the domains that are waiting to be flushed: whoever may
// say ETRN chooses their names.
const maxFlushing = 1000

// FlushDestination has the messages tried now that wait for a recipient in
// domain (postqueue -s, ETRN). It returns at once, and the messages are looked
// for one domain after the other. Which domains may be asked for is for the
// caller to say (postconf fast_flush_domains). Nothing happens when the queue does
// not run (ErrStopped), or has too many other domains to flush (ErrFlushing).
func (q *Queue) FlushDestination(domain string) error {
	domain = address.Fold(domain)
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, asked := q.flushing[domain]; asked {
		return nil
	}
	switch {
	case !q.running:
		return ErrStopped
	case len(q.flushing) >= maxFlushing:
		return ErrFlushing
	}
	if q.flushing == nil {
		q.flushing = make(map[string]struct{})
		q.workers.Add(1)
		go q.flushAll(q.ctx)
	}
	q.flushing[domain] = struct{}{}
	return nil
}

// flushAll flushes the domains that were asked for until there is none left.
func (q *Queue) flushAll(ctx context.Context) {
	defer q.workers.Done()
	for {
		q.mu.Lock()
		var domain string
		for domain = range q.flushing {
			break
		}
		if len(q.flushing) == 0 || ctx.Err() != nil {
			q.flushing = nil
			q.mu.Unlock()
			return
		}
		delete(q.flushing, domain)
		q.mu.Unlock()
		if _, err := q.Apply(ctx, Retry, Filter{Domain: domain}, nil); err != nil && ctx.Err() == nil {
			q.logs.qmgr.Warningf("flush %s: %v", domain, err)
		}
	}
}
