package dns

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

// question is what an answer is kept under; the name is in lower case.
type question struct {
	name  string
	qtype uint16
}

// answer is what a server said: records, or the class of its "no". It is not
// changed after it was made.
type answer struct {
	records []dns.RR
	owner   string // of the records: another name than asked for, when that is an alias
	secure  bool   // the server says that it validated the answer, and is believed
	class   Class
	ttl     uint32 // seconds
}

// maxTTL bounds how long an answer is believed, whatever it says.
const maxTTL = time.Hour

// cache keeps answers for their time to live. When it is full, expired entries
// go, and if there are none, some others. A nil cache keeps nothing.
type cache struct {
	now  func() time.Time
	size int

	mu      sync.Mutex
	entries map[question]entry
}

type entry struct {
	answer
	expires time.Time
}

// newCache makes a cache of size entries; 0 is the default size, less is no cache.
func newCache(size int, now func() time.Time) *cache {
	if size < 0 {
		return nil
	}
	if size == 0 {
		size = 4096
	}
	if now == nil {
		now = time.Now
	}
	return &cache{now: now, size: size, entries: make(map[question]entry)}
}

func (c *cache) get(q question) (answer, bool) {
	if c == nil {
		return answer{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	if !ok || !c.now().Before(e.expires) {
		return answer{}, false
	}
	return e.answer, true
}

func (c *cache) put(q question, a answer) {
	if c == nil || a.ttl == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if len(c.entries) >= c.size {
		c.shrink(now)
	}
	ttl := min(time.Duration(a.ttl)*time.Second, maxTTL)
	c.entries[q] = entry{a, now.Add(ttl)}
}

// shrink makes room: a quarter of the cache, or more.
func (c *cache) shrink(now time.Time) {
	for q, e := range c.entries {
		if !now.Before(e.expires) {
			delete(c.entries, q)
		}
	}
	for q := range c.entries { // in no order
		if len(c.entries) <= c.size*3/4 {
			return
		}
		delete(c.entries, q)
	}
}
