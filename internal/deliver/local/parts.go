package local

import (
	"sync"

	"postern/internal/deliver"
)

// maxParts bounds the recipients of which parts are remembered. Beyond it one is
// forgotten, and a part of it may be delivered twice.
const maxParts = 4096

// parts remembers which targets of recipients that are tried again took their
// message already. The zero value is ready.
type parts struct {
	mu   sync.Mutex
	done map[partKey]map[string]deliver.Status
}

// partKey is a recipient of a message.
type partKey struct {
	id    string
	index int
}

func (p *parts) get(key partKey, target string) (deliver.Status, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.done[key][target]
	return s, ok
}

func (p *parts) put(key partKey, target string, s deliver.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		p.done = make(map[partKey]map[string]deliver.Status)
	}
	if p.done[key] == nil {
		if len(p.done) >= maxParts {
			for other := range p.done {
				delete(p.done, other)
				break
			}
		}
		p.done[key] = make(map[string]deliver.Status)
	}
	p.done[key][target] = s
}

func (p *parts) forget(key partKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.done, key)
}
