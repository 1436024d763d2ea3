package mailbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/internal/route"
)

// received is a message text as intake makes it, for the id of newMessage.
const received = "Received: from client.example (client.example [192.0.2.1])\n" +
	"\tby mx.example (Postern) with ESMTP id 18D3A5F00C2\n\tfor <john@example.org>; Mon, 03 Jun 2024 14:05:09 +0000\n" +
	"Subject: hello\n\nFrom here to there\n\nthe end\n"

// attempt is the message of newMessage with that text, on an attempt.
func attempt(n int, body string) *Message {
	m := newMessage()
	m.Attempt, m.Body = n, text(body)
	return m
}

// deliverTo delivers into an mbox that has the content, and returns what is in
// it afterwards.
func deliverTo(t testing.TB, s *Store, base, content string, m *Message) (after string, r Receipt) {
	t.Helper()
	name := filepath.Join(base, "john")
	put(t, name, content)
	r, err := s.Deliver(t.Context(), newBox(base, "john", route.Mbox), m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), r
}

const other = "From jack@example.org  Mon Jun  3 14:00:00 2024\nSubject: other\n\nother\n\n"

// TestMboxAfterKill ends the server's work at every octet that an append writes,
// with other mail in front and without. The message is there once afterwards,
// and nothing else is lost.
func TestMboxAfterKill(t *testing.T) {
	base := newBase(t)
	s := newStore(t, nil)
	record, _ := deliverTo(t, s, base, "", attempt(0, received))
	sender := len("From sender@client.example  ")
	later := newStore(t, func(o *Options) { o.Now = func() time.Time { return time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC) } })
	dated := strings.Replace(record, "Mon Jun  3 14:05:09 2024", "Thu Jan  2 03:04:05 2025", 1)
	if dated == record {
		t.Fatalf("no date in %q", record)
	}
	for _, front := range []string{"", other, other + other} {
		for n := range len(record) + 1 {
			after, r := deliverTo(t, later, base, front+record[:n], attempt(1, received))
			want := front + dated
			switch {
			case n == len(record):
				want = front + record
			case 0 < n && n < sender: // might be anybody's, and stays
				want = front + record[:n] + "\n\n" + dated
			}
			if after != want {
				t.Fatalf("killed after %d of %d octets behind %d: got\n%s\nwant\n%s", n, len(record), len(front), after, want)
			}
			if r.Repeated != (n == len(record)) {
				t.Errorf("killed after %d octets: repeated is %v", n, r.Repeated)
			}
		}
	}
}

// TestMboxLookBack is about files that others have changed meanwhile.
func TestMboxLookBack(t *testing.T) {
	base := newBase(t)
	s := newStore(t, nil)
	record, _ := deliverTo(t, s, base, "", attempt(0, received))
	long := received + strings.Repeat("a line of text\n", 10_000)
	longRecord, _ := deliverTo(t, s, base, "", attempt(0, long))
	status := func(record string) string {
		return strings.Replace(record, "hello\n\n", "hello\nStatus: RO\nX-UID: 7\n\n", 1)
	}
	elsewhere := strings.Replace(record, "Delivered-To: john", "Delivered-To: jack", 1)
	tests := []struct {
		name, body, content string
		whole               bool
	}{
		{"others behind it", received, other + record + other, true},
		{"a reader has marked it", received, other + status(record) + other, true},
		{"a reader has marked it, at the end", received, other + status(record), true},
		{"long", long, other + longRecord + other, true},
		{"long, marked", long, other + status(longRecord) + other, true},
		{"torn, others behind it", received, other + record[:len(record)-20] + "\n\n" + other, false},
		{"torn and marked", received, other + status(record[:len(record)-10]) + "\n\n" + other, false},
		{"another recipient's copy", received, elsewhere, false},
		{"an earlier copy was torn", received, record[:300] + "\n\n" + record + other, true},
		{"quoted in another message", received, other + strings.ReplaceAll(record, "From ", ">From ") + other, false},
		{"damaged in the middle", received, strings.Replace(record, "here", "\x00\x00\x00\x00", 1) + other, false},
		{"a text without our Received line", "Subject: x\n\nx\n", strings.Replace(record, received, "Subject: x\n\nx\n\n", 1), false},
		{"another id", strings.ReplaceAll(received, "18D3A5F00C2", "18D3A5F00C9"), record, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			after, r := deliverTo(t, s, base, tt.content, attempt(1, tt.body))
			if r.Repeated != tt.whole {
				t.Errorf("repeated is %v, want %v", r.Repeated, tt.whole)
			}
			if tt.whole && after != tt.content {
				t.Errorf("the file was changed:\n%s", after)
			}
			if !tt.whole && (!strings.HasPrefix(after, tt.content) || len(after) <= len(tt.content)) {
				t.Errorf("the message was not added:\n%s", after)
			}
		})
	}
	t.Run("not on the first attempt", func(t *testing.T) {
		if after, _ := deliverTo(t, s, base, record, attempt(0, received)); after != record+record {
			t.Errorf("the file is\n%s", after)
		}
	})
}

// TestMboxLookBackText: a text that cannot be read is no reason to deliver.
func TestMboxLookBackText(t *testing.T) {
	base := newBase(t)
	put(t, filepath.Join(base, "john"), other)
	m := newMessage()
	m.Attempt, m.Body = 1, brokenText{received, 10_000}
	_, err := newStore(t, nil).Deliver(t.Context(), newBox(base, "john", route.Mbox), m)
	wantError(t, err, "4.3.0", true, "error writing message: message text ends early")
}

// TestLastIndex compares the search from the end, in pieces, with strings.
func TestLastIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.StringMatching(`[ab]{0,40}`).Draw(t, "content")
		mark := rapid.StringMatching(`[ab]{1,4}`).Draw(t, "mark")
		low := rapid.IntRange(0, len(content)).Draw(t, "low")
		end := rapid.IntRange(low, len(content)).Draw(t, "end")
		want := strings.LastIndex(content[low:end], mark)
		if want >= 0 {
			want += low
		}
		got, err := lastIndex(text(content), []byte(mark), int64(low), int64(end), len(mark)+3)
		if err != nil || int(got) != want {
			t.Fatalf("lastIndex(%q, %q, %d, %d) = %d, %v, want %d", content, mark, low, end, got, err, want)
		}
	})
}
