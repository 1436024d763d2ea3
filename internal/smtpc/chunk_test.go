package smtpc

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/tlsconf/tlstest"
)

const (
	chunking     = "S: 220 hi\nC: EHLO me.test\nS: 250-s.test\nS: 250-PIPELINING\nS: 250 CHUNKING\n"
	chunkingLMTP = "S: 220 hi\nC: LHLO me.test\nS: 250-s.test\nS: 250-PIPELINING\nS: 250 CHUNKING\n"
	onlyChunking = "S: 220 hi\nC: EHLO me.test\nS: 250-s.test\nS: 250 CHUNKING\n"
	atOnce       = "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: RCPT TO:<b@test>\nCHUNK 25\n"
)

func TestChunk(t *testing.T) {
	for _, test := range []struct {
		name, script string
		lmtp         bool
		want         []string
		unusable     bool
	}{
		{"together", chunking + atOnce + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 2.0.0 queued\n" + quit,
			false, []string{"delivered: 250 2.0.0 queued", "delivered: 250 2.0.0 queued"}, false},
		{"one by one", onlyChunking + "C: MAIL FROM:<from@test>\nS: 250 ok\nC: RCPT TO:<a@test>\nS: 250 ok\nC: RCPT TO:<b@test>\nS: 550 no\nCHUNK 25\nS: 250 2.0.0 queued\n" + quit,
			false, []string{"delivered: 250 2.0.0 queued", "550 no to RCPT TO command"}, false},
		{"all refused one by one", onlyChunking + "C: MAIL FROM:<from@test>\nS: 250 ok\nC: RCPT TO:<a@test>\nS: 550 no\nC: RCPT TO:<b@test>\nS: 550 no\n" + quit,
			false, []string{"550 no to RCPT TO command", "550 no to RCPT TO command"}, false},
		{"one refused", chunking + atOnce + "S: 250 ok\nS: 550 no\nS: 250 ok\nS: 250 2.0.0 queued\n" + quit,
			false, []string{"550 no to RCPT TO command", "delivered: 250 2.0.0 queued"}, false},
		{"all refused", chunking + atOnce + "S: 250 ok\nS: 550 no\nS: 450 later\nS: 503 none\n" + quit,
			false, []string{"550 no to RCPT TO command", "450 later to RCPT TO command"}, false},
		{"sender refused", chunking + atOnce + "S: 550 you\nS: 503 no\nS: 503 no\nS: 503 no\n" + quit,
			false, []string{"550 you to MAIL FROM command", "550 you to MAIL FROM command"}, false},
		{"message refused", chunking + atOnce + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 554 5.7.1 spam\n" + quit,
			false, []string{"554 5.7.1 spam to end of DATA command", "554 5.7.1 spam to end of DATA command"}, false},
		{"LMTP, mixed", chunkingLMTP + atOnce + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 2.0.0 a\nS: 552 5.2.2 full\n" + quit,
			true, []string{"delivered: 250 2.0.0 a", "552 5.2.2 full to end of DATA command"}, false},
		{"LMTP, all refused", chunkingLMTP + atOnce + "S: 250 ok\nS: 550 no\nS: 550 no\nWAIT",
			true, []string{"550 no to RCPT TO command", "550 no to RCPT TO command"}, true},
		// The server has the text: nobody can say what it did with it.
		{"lost before all replies", chunking + atOnce, false,
			[]string{"lost connection in end of DATA command", "lost connection in end of DATA command"}, true},
		{"lost behind RCPT", chunking + atOnce + "S: 250 ok\nS: 550 no", false,
			[]string{"550 no to RCPT TO command", "lost connection in end of DATA command"}, true},
		{"lost at the end", chunking + atOnce + "S: 250 ok\nS: 250 ok\nS: 250 ok", false,
			[]string{"lost connection in end of DATA command", "lost connection in end of DATA command"}, true},
		{"421 at MAIL", chunking + atOnce + "S: 421 4.3.2 stop\nWAIT", false,
			[]string{"421 4.3.2 stop to MAIL FROM command", "421 4.3.2 stop to MAIL FROM command"}, true},
		{"421 at the end", chunking + atOnce + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 421 stop\nWAIT", false,
			[]string{"421 stop to end of DATA command", "421 stop to end of DATA command"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New(listen(t, script(test.script)), options(test.lmtp))
			if err := c.Open(context.Background()); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range c.Send(context.Background(), transaction("a@test", "b@test")) {
				got = append(got, show(o))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if c.Usable() == test.unusable {
				t.Errorf("Usable() = %v", c.Usable())
			}
			c.Quit()
		})
	}
}

func TestChunkIsTheText(t *testing.T) {
	text := text("a\n.\n..b\n" + strings.Repeat("x", 12) + "\nno end")
	const want = "a\r\n.\r\n..b\r\nxxxxxxxxxx\r\n xx\r\nno end\r\n"
	got := make([]byte, len(want))
	c := New(listen(t, func(conn net.Conn) error {
		r := bufio.NewReader(conn)
		steps := fmt.Sprintf("%sC: MAIL FROM:<from@test>\nS: 250 ok\nC: RCPT TO:<a@test>\nS: 250 ok\nC: BDAT %d LAST", onlyChunking, len(want))
		for step := range strings.SplitSeq(steps, "\n") {
			if err := play(conn, r, step); err != nil {
				return err
			}
		}
		if _, err := io.ReadFull(r, got); err != nil {
			return err
		}
		return script("S: 250 ok\n" + quit)(conn)
	}), func() Options { o := options(false); o.LineLimit = 10; return o }())
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	tx := transaction("a@test")
	tx.Body, tx.Size = text, int64(len(text))
	if o := c.Send(context.Background(), tx)[0]; !o.Delivered() || string(got) != want {
		t.Errorf("%s: the server got %q, want %q", show(o), got, want)
	}
	c.Quit()
}

func TestChunkIsLeftOut(t *testing.T) {
	data := "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nBODY\nS: 250 ok\n"
	for name, test := range map[string]struct {
		size    int64
		discard []string
	}{
		"size not known": {0, nil}, "too big": {chunkLimit + 1, nil}, "discarded": {21, []string{"chunking"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(false)
			o.Discard = test.discard
			c := New(listen(t, script(chunking+data+quit)), o)
			if err := c.Open(context.Background()); err != nil {
				t.Fatal(err)
			}
			tx := transaction("a@test")
			tx.Size = test.size
			if o := c.Send(context.Background(), tx)[0]; !o.Delivered() {
				t.Error(show(o))
			}
			c.Quit()
		})
	}
}

func TestManyRecipientsAndAChunk(t *testing.T) {
	// So many replies must not wait behind a text: it goes on its own.
	var dialogue strings.Builder
	dialogue.WriteString(chunking + "C: MAIL FROM:<from@test>\n")
	tx := transaction()
	for i := range chunkGroup {
		tx.Recipients = append(tx.Recipients, Recipient{Address: fmt.Sprintf("u%d@test", i)})
		fmt.Fprintf(&dialogue, "C: RCPT TO:<u%d@test>\n", i)
	}
	dialogue.WriteString(strings.Repeat("S: 250 ok\n", chunkGroup+1) + "CHUNK 25\nS: 250 ok\n" + quit)
	c := New(listen(t, script(dialogue.String())), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, o := range c.Send(context.Background(), tx) {
		if !o.Delivered() {
			t.Fatalf("recipient %d: %s", i, show(o))
		}
	}
	c.Quit()
}

// TestKeptConnectionIsLookedAt: where a server has hung up, or said so, between
// two messages, the text must not go out together with the envelope, for its
// loss could not be told from that of the answer.
func TestKeptConnectionIsLookedAt(t *testing.T) {
	one := "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nCHUNK 25\nS: 250 ok\nS: 250 ok\nS: 250 ok\n"
	for name, test := range map[string]struct{ script, want string }{
		"closed": {chunking + one, "lost connection in MAIL FROM command"},
		"421":    {chunking + one + "S: 421 idle\nWAIT", "421 idle to MAIL FROM command"},
		"open":   {chunking + one + one + "WAIT", "delivered: 250 ok"},
	} {
		t.Run(name, func(t *testing.T) {
			said := make(chan struct{})
			conn := listen(t, func(conn net.Conn) error {
				if name == "open" {
					close(said)
					return script(test.script)(conn)
				}
				head, _, _ := strings.Cut(test.script, "WAIT")
				err := script(head)(conn)
				if name == "closed" {
					conn.Close()
				}
				close(said)
				if err == nil && name == "421" {
					err = script("C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nCLOSED")(conn)
				}
				return err
			})
			c := New(conn, options(false))
			if err := c.Open(context.Background()); err != nil {
				t.Fatal(err)
			}
			if o := c.Send(context.Background(), transaction("a@test"))[0]; !o.Delivered() {
				t.Fatal(show(o))
			}
			<-said
			if name != "open" { // what was said has arrived
				for deadline := time.Now().Add(10 * time.Second); c.r.Buffered() == 0 && quiet(conn); time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("nothing arrives")
					}
				}
			}
			if got := show(c.Send(context.Background(), transaction("a@test"))[0]); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			c.Quit()
		})
	}
}

func TestQuiet(t *testing.T) {
	ca := tlstest.New(t)
	plainSide, _ := net.Pipe()
	defer plainSide.Close()
	if quiet(plainSide) {
		t.Error("a pipe cannot tell")
	}
	say := make(chan string)
	secure := tls.Client(listen(t, func(conn net.Conn) error {
		s := tls.Server(conn, ca.Config(t, "peer.test"))
		for text := range say {
			if _, err := io.WriteString(s, text); err != nil {
				return err
			}
		}
		return nil
	}), &tls.Config{RootCAs: ca.Pool, ServerName: "peer.test"})
	say <- "x"
	if _, err := io.ReadFull(secure, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if !quiet(secure) {
		t.Error("an idle TLS connection is not quiet")
	}
	close(say)
	for deadline := time.Now().Add(10 * time.Second); quiet(secure); {
		if time.Now().After(deadline) {
			t.Fatal("a closed connection is quiet")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestContextEndsBehindTheChunk(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var answered atomic.Bool
	c := New(listen(t, func(conn net.Conn) error {
		if err := script(chunking + "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nCHUNK 25")(conn); err != nil {
			return err
		}
		cancel()
		answered.Store(true)
		return script("S: 250 ok\nS: 250 ok\nS: 250 ok\nWAIT")(conn)
	}), options(false))
	if err := c.Open(ctx); err != nil {
		t.Fatal(err)
	}
	if got := show(c.Send(ctx, transaction("a@test"))[0]); got != "delivered: 250 ok" || !answered.Load() {
		t.Errorf("got %s: the answer was worth waiting for", got)
	}
	c.Quit()
}

func TestUnreadableChunk(t *testing.T) {
	c := New(listen(t, script(chunking+"WAIT")), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	tx := transaction("a@test")
	tx.Body = broken{}
	if o := c.Send(context.Background(), tx)[0]; show(o) != "cannot read the message in message body" {
		t.Errorf("outcome %s", show(o))
	}
	c.Quit()
}

func TestProbe(t *testing.T) {
	probe := "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: RCPT TO:<b@test>\nS: 250 ok\nS: 250 2.1.5 fine\nS: 550 5.1.1 no\nC: RSET\n"
	again := "S: 250 ok\nC: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nCHUNK 25\nS: 250 ok\nS: 250 ok\nS: 250 ok\n" + quit
	c := New(listen(t, script(chunking+probe+again)), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	tx := transaction("a@test", "b@test")
	tx.Probe, tx.Body = true, nil
	got := c.Send(context.Background(), tx)
	if show(got[0]) != "250 2.1.5 fine to RCPT TO command" || got[0].Delivered() || show(got[1]) != "550 5.1.1 no to RCPT TO command" {
		t.Errorf("got %s, %s", show(got[0]), show(got[1]))
	}
	if o := c.Send(context.Background(), transaction("a@test"))[0]; !o.Delivered() {
		t.Error(show(o))
	}
	c.Quit()
}

func TestEhlo(t *testing.T) {
	for _, test := range []struct {
		name, script string
		ehlo         Ehloing
	}{
		{"never", "S: 220 s ESMTP\nC: HELO me.test\nS: 250 s.test\n" + quit, EhloNever},
		{"not offered", "S: 220 s SMTP\nC: HELO me.test\nS: 250 s.test\n" + quit, EhloWhenOffered},
		{"offered", "S: 220 s esmtp hi\nC: EHLO me.test\nS: 250 s.test\n" + quit, EhloWhenOffered},
		{"always", "S: 220 s SMTP\nC: EHLO me.test\nS: 250 s.test\n" + quit, EhloAlways},
	} {
		o := options(false)
		o.EHLO = test.ehlo
		c := New(listen(t, script(test.script)), o)
		if err := c.Open(context.Background()); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		c.Quit()
	}
}

// trickle is a connection on which every write takes a second of the client's
// time, of which it learns through its deadlines.
type trickle struct {
	deaf
	deadlines []time.Duration
}

func (c *trickle) SetDeadline(at time.Time) error {
	c.deadlines = append(c.deadlines, time.Until(at).Round(time.Second))
	return nil
}

func TestMinDataRate(t *testing.T) {
	for rate, want := range map[int]time.Duration{0: 180 * time.Second, 1000: 180*time.Second + 64*time.Second} {
		conn := &trickle{deaf: deaf{says: bytes.NewReader([]byte("220 hi\r\n250 s\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"))}}
		o := options(false)
		o.MinDataRate, o.Timeouts.DataXfer = rate, 180*time.Second
		c := New(conn, o)
		if err := c.Open(context.Background()); err != nil {
			t.Fatal(err)
		}
		tx := transaction("a@test")
		tx.Body, tx.Size = text(strings.Repeat(strings.Repeat("x", 62)+"\n", 1100)), 0
		if o := c.Send(context.Background(), tx)[0]; !o.Delivered() {
			t.Fatal(show(o))
		}
		// The last but one piece of four of 16 KiB, each of which may add its time.
		var longest time.Duration
		for _, d := range conn.deadlines {
			longest = max(longest, d)
		}
		if longest < want-20*time.Second || longest > want {
			t.Errorf("rate %d: the longest time for a piece is %v, want about %v", rate, longest, want)
		}
	}
}

// mute is a connection that fails to write once it is told to.
type mute struct {
	deaf
	fails bool
}

func (m *mute) Write(p []byte) (int, error) {
	if m.fails {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestChunkThatCannotBeWritten(t *testing.T) {
	// What was not written was not taken: this is no end of a conversation that
	// leaves everybody in doubt.
	conn := &mute{deaf: deaf{says: bytes.NewReader([]byte("220 hi\r\n250-s\r\n250-PIPELINING\r\n250 CHUNKING\r\n"))}}
	c := New(conn, options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	conn.fails = true
	if got := show(c.Send(context.Background(), transaction("a@test"))[0]); got != "lost connection in message body" {
		t.Errorf("got %s", got)
	}
	c.Quit()
}
