package queue

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postern/internal/spool"
)

// TestSendersInTurn: the backlog of one sender keeps nobody else waiting, and
// the null sender and the extensions of an address are senders like others.
func TestSendersInTurn(t *testing.T) {
	for _, backlog := range []string{"bulk@example.org", "", "bulk+%d@example.org"} {
		t.Run(backlog, func(t *testing.T) {
			mem, agent := newMemory(), newMeter()
			agent.with(mem, func(tr *Transport) { tr.InitialConcurrency, tr.DestinationConcurrency = 1, 1 })
			p := defaults
			p.RecipientDelimiter = "+"
			run(t, mem, p, func(b *bench) {
				for i := range 500 {
					sender := backlog
					if strings.Contains(sender, "%d") {
						sender = fmt.Sprintf(sender, i)
					}
					b.add(envelopeTo(sender, "x@a.example"))
				}
				synctest.Wait()
				var others []*spool.Message
				for i := range 3 {
					others = append(others, b.add(envelopeTo(fmt.Sprintf("o%d@example.org", i), "y@a.example")))
				}
				second := b.add(envelopeTo("o0@example.org", "y@a.example"))
				time.Sleep(8 * time.Second)
				synctest.Wait()
				for _, msg := range append(others, second) {
					b.wantSettled(msg, 1)
				}
			})
		})
	}
}

// TestRota compares a rota with one that is kept in the plainest way.
func TestRota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r rota
		var turns []string // senders that have something
		waiting := map[string][]*share{}
		for _, step := range rapid.SliceOf(rapid.IntRange(0, 7)).Draw(t, "steps") {
			if step < 5 {
				sender := fmt.Sprint(step % 4)
				s := &share{sender: sender}
				if waiting[sender] == nil {
					turns = append(turns, sender)
				}
				waiting[sender] = append(waiting[sender], s)
				r.push(s)
				if r.last(sender) != s {
					t.Fatal("the last share is not the one that was pushed")
				}
			} else if len(turns) > 0 {
				sender := turns[0]
				turns = turns[1:]
				want := waiting[sender][0]
				if waiting[sender] = waiting[sender][1:]; len(waiting[sender]) > 0 {
					turns = append(turns, sender)
				} else {
					delete(waiting, sender)
				}
				if got := r.pop(); got != want || got.next != nil {
					t.Fatalf("pop() is not the first share of sender %s", sender)
				}
			}
			n := 0
			for _, shares := range waiting {
				n += len(shares)
			}
			if r.len() != n || len(r.senders) > n {
				t.Fatalf("len() = %d with %d senders, want %d", r.len(), len(r.senders), n)
			}
		}
	})
}
