package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/deliver"
	"postern/internal/route"
	"postern/internal/spool"
)

// memory is a Store and the surroundings of a queue, for tests.
type memory struct {
	mu       sync.Mutex
	messages map[string]*spool.Message
	states   map[uint64]*spool.Pending // of all messages
	settled  map[string][]int          // by message, how often each recipient was settled
	postpone map[string]spool.Postponement
	changes  []spool.Change
	texts    map[string][]byte // of submissions not yet committed
	damaged  map[uint64]error
	loads    int
	serial   int
	lines    []string

	refuse    func(spool.Change) error // what Commit says
	unwritten bool                     // Commit takes changes without New, and cannot write them
	ill       error                    // what Err says
	noSubmit  error
	notFor    string // submissions for this recipient fail
	route     func(sender, rcpt string) (Routed, error)
	transport map[string]Transport
	agent     agent
}

// agent is a deliver.Agent made of a function.
type agent func(ctx context.Context, r *deliver.Request) []deliver.Status

func (a agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Status { return a(ctx, r) }

// each answers every recipient by itself.
func each(f func(r deliver.Recipient) deliver.Status) agent {
	return func(_ context.Context, r *deliver.Request) []deliver.Status {
		statuses := make([]deliver.Status, len(r.Recipients))
		for i, rcpt := range r.Recipients {
			statuses[i] = f(rcpt)
		}
		return statuses
	}
}

// obey answers as the local part of the recipient says.
func obey(r deliver.Recipient) deliver.Status {
	switch word, _, _ := strings.Cut(r.Address, "@"); strings.TrimRight(word, "0123456789") {
	case "late":
		return late
	case "bad":
		return bad
	}
	return sent
}

var (
	sent = deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Reason: "delivered to maildir", Relay: "virtual"}
	late = deliver.Status{Kind: deliver.Deferred, DSN: "4.2.0", Reason: "try later", Relay: "virtual"}
	bad  = deliver.Status{Kind: deliver.Bounced, DSN: "5.1.1", Reason: "unknown user", Relay: "virtual"}
	dead = deliver.Status{Kind: deliver.Deferred, DSN: "4.4.1", Reason: "connect to mx.example[192.0.2.1]:25: Connection refused", Relay: "none", Destination: true}
)

func newMemory() *memory {
	return &memory{
		messages: make(map[string]*spool.Message), states: make(map[uint64]*spool.Pending), settled: make(map[string][]int),
		postpone: make(map[string]spool.Postponement), texts: make(map[string][]byte),
		agent: each(obey), transport: make(map[string]Transport),
	}
}

var _ Store = (*memory)(nil)

func (m *memory) Waiting() iter.Seq[spool.Waiting] {
	m.mu.Lock()
	numbers := slices.Sorted(maps.Keys(m.states))
	m.mu.Unlock()
	return func(yield func(spool.Waiting) bool) {
		for _, n := range numbers {
			if w, ok := m.Peek(n); ok && !yield(w) {
				return
			}
		}
	}
}

func (m *memory) Peek(number uint64) (spool.Waiting, bool) {
	p, err := m.Load(number)
	return spool.Waiting{Number: number, Next: p.Next, Held: p.Held, Recipients: len(p.Done)}, !errors.Is(err, spool.ErrGone)
}

func (m *memory) Load(number uint64) (spool.Pending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads++
	p := m.states[number]
	if p == nil || !slices.Contains(p.Done, false) {
		return spool.Pending{}, spool.ErrGone
	}
	c := *p
	c.Done, c.Deferrals = slices.Clone(p.Done), slices.Clone(p.Deferrals)
	return c, m.damaged[number]
}

func (m *memory) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ill
}

func (m *memory) Commit(ctx context.Context, c spool.Change) ([]*spool.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.refuse != nil {
		if err := m.refuse(c); err != nil {
			return nil, err
		}
	}
	for _, s := range c.Settle {
		if len(c.New) > 0 && !slices.Contains(m.states[s.Message.Number].Done, false) {
			return nil, spool.ErrGone
		}
	}
	m.changes = append(m.changes, c)
	for _, s := range c.Settle {
		for _, o := range s.Outcomes {
			m.settled[s.Message.ID][o.Index]++
			m.states[s.Message.Number].Done[o.Index] = true
		}
	}
	for _, p := range c.Defer {
		m.postpone[p.Message.ID] = p
		postponed(m.states[p.Message.Number], p)
	}
	for _, p := range c.Plan {
		if s := m.states[p.Number]; s != nil {
			s.Next, s.Held = p.Next, p.Held
		}
	}
	for _, n := range c.Remove {
		for i := range m.states[n].Done {
			m.states[n].Done[i] = true
		}
	}
	var fresh []*spool.Message
	for _, n := range c.New {
		msg := m.put(n.Envelope, m.texts[n.Envelope.MessageID])
		m.states[msg.Number].Held = n.Held
		fresh = append(fresh, msg)
	}
	if m.unwritten && len(c.New) == 0 {
		return nil, spool.ErrUnwritten
	}
	return fresh, nil
}

// postponed applies a postponement to the state of a message.
func postponed(s *spool.Pending, p spool.Postponement) {
	s.Next, s.Attempts, s.Warned = p.Next, p.Attempts, p.Warned
	for _, d := range p.Deferrals {
		i, found := slices.BinarySearchFunc(s.Deferrals, d, func(a, b spool.Deferral) int { return a.Index - b.Index })
		if found {
			s.Deferrals[i] = d
		} else {
			s.Deferrals = slices.Insert(s.Deferrals, i, d)
		}
	}
}

// put stores a message; the lock is held.
func (m *memory) put(e spool.Envelope, text []byte) *spool.Message {
	m.serial++
	msg := spool.Detached(fmt.Sprintf("%012X", m.serial), e, text)
	m.adopt(msg)
	return msg
}

// adopt stores a message that was made elsewhere; the lock is held.
func (m *memory) adopt(msg *spool.Message) {
	m.messages[msg.ID] = msg
	m.settled[msg.ID] = make([]int, len(msg.Envelope.Recipients))
	m.states[msg.Number] = &spool.Pending{Message: msg, Done: make([]bool, len(msg.Envelope.Recipients))}
}

func (m *memory) submit(_ context.Context, s Submission) (spool.New, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.noSubmit != nil {
		return spool.New{}, m.noSubmit
	}
	if s.Envelope.Recipients[0].Address == m.notFor {
		return spool.New{}, errTable
	}
	var text bytes.Buffer
	n, err := s.Text.WriteTo(&text)
	if err != nil || n != s.Size || int64(text.Len()) != n {
		return spool.New{}, fmt.Errorf("wrote %d of %d octets, said %d: %w", text.Len(), s.Size, n, err)
	}
	e := s.Envelope
	e.MessageID = fmt.Sprintf("<%d@test>", len(m.texts))
	if e.Arrival.IsZero() {
		e.Arrival = time.Now()
	}
	m.texts[e.MessageID] = text.Bytes()
	return spool.New{Envelope: e}, nil
}

// text is what was submitted for a message.
func (m *memory) text(msg *spool.Message) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.texts[msg.Envelope.MessageID])
}

type program struct {
	m    *memory
	name string
}

func (p program) Infof(format string, args ...any) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.m.lines = append(p.m.lines, p.name+": "+fmt.Sprintf(format, args...))
}

func (p program) Warningf(format string, args ...any) { p.Infof("warning: "+format, args...) }

// log returns the lines so far and forgets them.
func (m *memory) log() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := m.lines
	m.lines = nil
	return lines
}

// logged returns the lines that hold text, and keeps them.
func (m *memory) logged(text string) (found []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// defaults are the parameters and limits of an untouched configuration.
var defaults = Parameters{
	MinimalBackoff: 300 * time.Second, MaximalBackoff: 4000 * time.Second,
	MaximalLifetime: 5 * 24 * time.Hour, BounceLifetime: 5 * 24 * time.Hour,
	Hostname: "mail.example.com", Origin: "example.com", BounceSizeLimit: 50000,
	DoubleBounceSender: "double-bounce@example.com", TransportRetry: time.Minute, DelayResolution: 2,
}

func (m *memory) virtual() Transport {
	return Transport{
		Agent: m.agent, Program: "virtual", Processes: 100, InitialConcurrency: 5,
		DestinationConcurrency: 20, DestinationRecipients: 50, FailedCohorts: 1,
	}
}

func (m *memory) options(p Parameters) Options {
	return Options{
		Store: m, Parameters: p, Submit: m.submit,
		Route: func(_ context.Context, sender, rcpt string) (Routed, error) {
			if m.route != nil {
				return m.route(sender, rcpt)
			}
			_, domain, _ := strings.Cut(rcpt, "@")
			return Routed{Transport: "virtual", NextHop: domain}, nil
		},
		Transport: func(name string) (Transport, bool) {
			if t, ok := m.transport[name]; ok {
				return t, true
			}
			return m.virtual(), name == "virtual"
		},
		Log: func(name string) Logger { return program{m, name} },
	}
}

// bench is a running queue.
type bench struct {
	*testing.T
	*memory
	q    *Queue
	ctx  context.Context // of Run
	stop func()          // ends Run and waits for it
}

// run runs a queue in a bubble with its own clock, and f beside it.
func run(t *testing.T, m *memory, p Parameters, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q := New(m.options(p))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := q.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		b := &bench{T: t, memory: m, q: q, ctx: ctx, stop: func() { cancel(); <-ended }}
		defer b.stop()
		f(b)
	})
}

// send puts a message with these recipients into the queue and waits until
// nothing more happens at this moment.
func (b *bench) send(sender string, recipients ...string) *spool.Message {
	b.Helper()
	e := spool.Envelope{Sender: sender, Arrival: time.Now()}
	for _, r := range recipients {
		e.Recipients = append(e.Recipients, spool.Recipient{Address: r})
	}
	return b.sendEnvelope(e)
}

func (b *bench) sendEnvelope(e spool.Envelope) *spool.Message {
	b.Helper()
	msg := b.add(e)
	synctest.Wait()
	return msg
}

func (b *bench) add(e spool.Envelope) *spool.Message {
	b.mu.Lock()
	msg := b.put(e, []byte("Subject: test\n\nbody\n"))
	b.mu.Unlock()
	b.q.Add(msg)
	return msg
}

// list is what the queue lists.
func (b *bench) list() []Entry { return listed(b, b.q, Filter{}) }

func listed(t testing.TB, q *Queue, f Filter) (entries []Entry) {
	t.Helper()
	for e, err := range q.List(t.Context(), f) {
		if err != nil {
			t.Errorf("List(%+v): %v", f, err)
		}
		entries = append(entries, e)
	}
	return entries
}

// notices returns the messages that were made besides those sent by a client,
// oldest first.
func (b *bench) notices() (list []*spool.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, msg := range b.messages {
		if msg.Envelope.MessageID != "" {
			list = append(list, msg)
		}
	}
	slices.SortFunc(list, func(x, y *spool.Message) int { return strings.Compare(x.ID, y.ID) })
	return list
}

// wantSettled checks how often each recipient of msg was settled.
func (b *bench) wantSettled(msg *spool.Message, want ...int) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.settled[msg.ID]; !slices.Equal(got, want) {
		b.Errorf("message %s settled %v, want %v", msg.ID, got, want)
	}
}

var (
	errTable  = errors.New("table is down")
	errSyntax = &route.DeliveryError{DSN: "5.1.3", Reason: "bad address syntax"}
)

// occupied is how many recipients have room; the lock is held, or nothing runs.
func (q *Queue) occupied() (n int) {
	for i := range q.rooms {
		n += q.rooms[i].used
	}
	return n
}
