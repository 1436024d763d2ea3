package smtp

import (
	"slices"
	"sync"
	"time"

	"postern/internal/smtpc"
)

// session is a connection on which messages can be sent.
type session struct {
	client *smtpc.Client
	target target
	born   time.Time
	setup  time.Duration // what it took to get here; 0 when it was kept
	kept   bool          // came out of the pool
	single bool          // not for another message: that one may insist on TLS
	expiry *time.Timer   // while it is in the pool
}

// poolKey says for which mail a session serves.
type poolKey struct {
	nextHop string
	sender  string // where it decides who we are, else ""
}

// pool keeps idle sessions.
type pool struct {
	o *Options

	mu     sync.Mutex
	idle   map[poolKey][]*session // the last one was used last
	count  int
	closed bool
	ending sync.WaitGroup // sessions that say QUIT
}

func newPool(o *Options) *pool {
	return &pool{o: o, idle: make(map[poolKey][]*session)}
}

// take returns an idle session, nil when there is none.
func (p *pool) take(k poolKey) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[k]
	if len(list) == 0 {
		return nil
	}
	s := list[len(list)-1]
	p.remove(k, s)
	s.expiry.Stop() // or it finds the session gone
	s.kept, s.setup = true, 0
	return s
}

// remove takes a session out of its list. It returns false when it is not there.
func (p *pool) remove(k poolKey, s *session) bool {
	list := p.idle[k]
	i := slices.Index(list, s)
	if i < 0 {
		return false
	}
	p.count--
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(p.idle, k)
	} else {
		p.idle[k] = list
	}
	return true
}

// release keeps a session for the next message, or ends it: when it is broken,
// old or used up, or the pool is full or closed.
func (p *pool) release(k poolKey, s *session) {
	if !p.keep(k, s) {
		s.client.Quit()
	}
}

func (p *pool) keep(k poolKey, s *session) bool {
	o := p.o
	if s.single || !s.client.Usable() || o.CacheTime <= 0 || o.CacheUses > 0 && s.client.Uses() >= o.CacheUses ||
		o.CacheLife > 0 && o.Now().Sub(s.born) >= o.CacheLife {
		return false
	}
	limit := o.CacheSize
	if limit == 0 {
		limit = 100
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.count >= limit {
		return false
	}
	p.idle[k] = append(p.idle[k], s)
	p.count++
	s.expiry = time.AfterFunc(o.CacheTime, func() { p.expire(k, s) })
	return true
}

// expire ends a session that nobody wanted.
func (p *pool) expire(k poolKey, s *session) {
	p.mu.Lock()
	there := p.remove(k, s)
	if there {
		p.ending.Add(1)
	}
	p.mu.Unlock()
	if there {
		s.client.Quit()
		p.ending.Done()
	}
}

// close ends all idle sessions and waits for those that are ending.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	var all []*session
	for _, list := range p.idle {
		all = append(all, list...)
	}
	clear(p.idle)
	p.count = 0
	p.mu.Unlock()
	for _, s := range all {
		s.expiry.Stop()
		p.ending.Go(s.client.Quit)
	}
	p.ending.Wait()
}
