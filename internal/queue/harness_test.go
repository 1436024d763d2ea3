package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
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
	pending  []spool.Pending
	messages map[string]*spool.Message
	settled  map[string][]int // by message, how often each recipient was settled
	postpone map[string]spool.Postponement
	changes  []spool.Change
	texts    map[string][]byte // of submissions not yet committed
	serial   int
	lines    []string

	refuse    func(spool.Change) error // what Commit says
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
		messages: make(map[string]*spool.Message), settled: make(map[string][]int),
		postpone: make(map[string]spool.Postponement), texts: make(map[string][]byte),
		agent: each(obey), transport: make(map[string]Transport),
	}
}

var _ Store = (*memory)(nil)

func (m *memory) Pending() iter.Seq[spool.Pending] { return slices.Values(m.pending) }

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
	m.changes = append(m.changes, c)
	for _, s := range c.Settle {
		for _, o := range s.Outcomes {
			m.settled[s.Message.ID][o.Index]++
		}
	}
	for _, p := range c.Defer {
		m.postpone[p.Message.ID] = p
	}
	var fresh []*spool.Message
	for _, n := range c.New {
		fresh = append(fresh, m.put(n.Envelope, m.texts[n.Envelope.MessageID]))
	}
	return fresh, nil
}

// put stores a message; the lock is held.
func (m *memory) put(e spool.Envelope, text []byte) *spool.Message {
	m.serial++
	msg := spool.Detached(fmt.Sprintf("%012X", m.serial), e, text)
	m.messages[msg.ID] = msg
	m.settled[msg.ID] = make([]int, len(e.Recipients))
	return msg
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
	e.Arrival = time.Now()
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
	DoubleBounceSender: "double-bounce@example.com",
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
