package queue

import (
	"iter"
	"slices"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/spool"
)

// Filter chooses messages: those that every field chooses. Zero fields choose
// everything. Addresses and domains are compared without regard to case.
type Filter struct {
	// IDs are queue ids; one that is not in the queue chooses nothing.
	IDs []string
	// Sender and Recipient are an address in internal form, "@domain" for all
	// addresses of a domain, or "<>" for the null sender. Recipients that are
	// done with do not count.
	Sender, Recipient string
	Domain            string // of a recipient
	Reason            string // part of the reason of a deferral
	// OlderThan and YoungerThan bound the time since arrival.
	OlderThan, YoungerThan time.Duration
	States                 []State
}

// matcher is a filter ready for use.
type matcher struct {
	Filter
	numbers []uint64 // of IDs; nil: all
	now     time.Time
	reads   bool // the message has to be read to tell
}

func (f Filter) compile(now time.Time) matcher {
	m := matcher{Filter: f, now: now}
	m.Sender, m.Recipient = address.Fold(f.Sender), address.Fold(f.Recipient)
	m.Domain, m.Reason = address.Fold(f.Domain), strings.ToLower(f.Reason)
	m.reads = f.Sender != "" || f.Recipient != "" || f.Domain != "" || f.Reason != "" || f.OlderThan > 0 || f.YoungerThan > 0
	if f.IDs != nil {
		m.numbers = make([]uint64, 0, len(f.IDs))
		for _, id := range f.IDs {
			if n, ok := spool.ParseID(strings.ToUpper(id)); ok {
				m.numbers = append(m.numbers, n)
			}
		}
		slices.Sort(m.numbers)
		m.numbers = slices.Compact(m.numbers)
	}
	return m
}

// Matcher returns a test for messages that are described by an Entry: whether f
// chooses them, its IDs and States aside.
func (f Filter) Matcher(now time.Time) func(*Entry) bool {
	m := f.compile(now)
	return m.matches
}

// candidates yields what the filter's IDs allow, by ascending number.
func (q *Queue) candidates(m *matcher) iter.Seq[spool.Waiting] {
	if m.numbers == nil {
		return q.options.Store.Waiting()
	}
	return func(yield func(spool.Waiting) bool) {
		for _, n := range m.numbers {
			if w, ok := q.options.Store.Peek(n); ok && !yield(w) {
				return
			}
		}
	}
}

// takes reports whether messages in that state are chosen.
func (m *matcher) takes(s State) bool { return len(m.States) == 0 || slices.Contains(m.States, s) }

// matches reports whether a message that was read is chosen.
func (m *matcher) matches(e *Entry) bool {
	if !m.reads {
		return true
	}
	age := m.now.Sub(e.Arrival)
	if m.OlderThan > 0 && age < m.OlderThan || m.YoungerThan > 0 && age >= m.YoungerThan {
		return false
	}
	if m.Sender != "" && !addressMatches(m.Sender, e.Sender) {
		return false
	}
	return m.ofRecipients() == 0 || slices.ContainsFunc(e.Recipients, m.matchesRecipient)
}

// ofRecipients counts the conditions that a recipient has to meet.
func (m *matcher) ofRecipients() int { return len(m.Recipient) + len(m.Domain) + len(m.Reason) }

// matchesRecipient reports whether one recipient meets all conditions.
func (m *matcher) matchesRecipient(r EntryRecipient) bool {
	if m.Recipient != "" && !addressMatches(m.Recipient, r.Address) {
		return false
	}
	if m.Domain != "" && address.Fold(address.Split(r.Address).Domain) != m.Domain {
		return false
	}
	return m.Reason == "" || strings.Contains(strings.ToLower(r.Reason), m.Reason)
}

// addressMatches compares an address with a folded pattern.
func addressMatches(pattern, addr string) bool {
	switch {
	case pattern == "<>":
		return addr == ""
	case pattern[0] == '@':
		return address.Fold(address.Split(addr).Domain) == pattern[1:]
	}
	return address.Fold(addr) == pattern
}
