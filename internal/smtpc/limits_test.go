package smtpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTimeouts(t *testing.T) {
	short := func(change func(*Timeouts)) Options {
		o := options(false)
		change(&o.Timeouts)
		return o
	}
	const brief = 20 * time.Millisecond
	one := "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: DATA\n"
	for _, test := range []struct {
		name, script string
		o            Options
		want         string
	}{
		{"greeting", "WAIT", short(func(t *Timeouts) { t.Helo = brief }), "timed out in connection"},
		{"EHLO", "S: 220 hi\nWAIT", short(func(t *Timeouts) { t.Helo = brief }), "timed out in EHLO command"},
		{"MAIL", pipelined + "WAIT", short(func(t *Timeouts) { t.Mail = brief }), "timed out in MAIL FROM command"},
		{"RCPT", pipelined + one + "S: 250 ok\nWAIT", short(func(t *Timeouts) { t.Rcpt = brief }), "timed out in RCPT TO command"},
		{"DATA", pipelined + one + "S: 250 ok\nS: 250 ok\nWAIT", short(func(t *Timeouts) { t.DataInit = brief }), "timed out in DATA command"},
		{"dot", pipelined + one + "S: 250 ok\nS: 250 ok\nS: 354 go\nWAIT", short(func(t *Timeouts) { t.DataDone = brief }), "timed out in end of DATA command"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New(listen(t, script(test.script)), test.o)
			defer c.Quit()
			if err := c.Open(context.Background()); err != nil {
				e, _ := errors.AsType[*Error](err)
				if got := show(Outcome{Err: e}); got != test.want {
					t.Errorf("Open: %s, want %s", got, test.want)
				}
				return
			}
			if got := show(c.Send(context.Background(), transaction("a@test"))[0]); got != test.want {
				t.Errorf("Send: %s, want %s", got, test.want)
			}
		})
	}
}

func TestTimeoutOfTheMessage(t *testing.T) {
	o := options(false)
	o.Timeouts.DataXfer = 20 * time.Millisecond
	release := make(chan struct{})
	c := New(listen(t, func(conn net.Conn) error {
		err := script(pipelined + "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go")(conn)
		<-release // without reading
		return err
	}), o)
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	tx := transaction("a@test")
	tx.Body = endless{}
	if got := show(c.Send(context.Background(), tx)[0]); got != "timed out in message body" {
		t.Errorf("Send: %s", got)
	}
	c.Quit()
	close(release)
}

func TestContext(t *testing.T) {
	one := "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: DATA\n"
	for _, test := range []struct{ name, script, want string }{
		{"greeting", "", "canceled in connection"},
		{"MAIL", pipelined + one, "canceled in MAIL FROM command"},
		{"between the replies", pipelined + one + "S: 250 ok\nS: 250 ok\n", "canceled in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			c := New(listen(t, func(conn net.Conn) error {
				err := script(test.script)(conn)
				cancel()
				return errors.Join(err, script("WAIT")(conn))
			}), options(false))
			defer c.Quit()
			err := c.Open(ctx)
			e, _ := errors.AsType[*Error](err)
			got := show(Outcome{Err: e})
			if err == nil {
				got = show(c.Send(ctx, transaction("a@test"))[0])
			}
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if c.Usable() && err == nil {
				t.Error("usable after the end of its context")
			}
		})
	}
}

func TestContextEndsBehindTheDot(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	c := New(listen(t, func(conn net.Conn) error {
		err := script(pipelined + "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nBODY")(conn)
		cancel()
		return errors.Join(err, script("S: 250 ok\nWAIT")(conn))
	}), options(false))
	if err := c.Open(ctx); err != nil {
		t.Fatal(err)
	}
	if got := show(c.Send(ctx, transaction("a@test"))[0]); got != "delivered: 250 ok" {
		t.Errorf("got %s: the answer was worth waiting for", got)
	}
	if c.Usable() {
		t.Error("usable after the end of its context")
	}
	c.Quit()
}

func TestQuitWaits(t *testing.T) {
	o := options(false)
	o.WaitQuit = true
	var answers atomic.Bool
	c := New(listen(t, func(conn net.Conn) error {
		err := script(plain + "C: QUIT")(conn)
		answers.Store(true)
		return errors.Join(err, script("S: 221 bye")(conn))
	}), o)
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c.Quit(); !answers.Load() {
		t.Error("Quit did not wait for the reply")
	}
	if c.Usable() {
		t.Error("usable after QUIT")
	}
}

func TestManyRecipients(t *testing.T) {
	// The server reads a command, then answers with more than it got, through
	// the smallest buffers that the system gives: a client that writes all
	// commands before it reads would wait forever.
	const n = 2000
	reply := "250 2.1.5 " + strings.Repeat("k", 400) + "\r\n"
	smallest := func(conn net.Conn) error {
		tcp := conn.(*net.TCPConn)
		return errors.Join(tcp.SetReadBuffer(1), tcp.SetWriteBuffer(1))
	}
	conn := listen(t, func(conn net.Conn) error {
		if err := errors.Join(smallest(conn), script(pipelined)(conn)); err != nil {
			return err
		}
		return answerAll(conn, n+1, reply)
	})
	if err := smallest(conn); err != nil {
		t.Fatal(err)
	}
	c := New(conn, options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	tx := transaction()
	for i := range n {
		tx.Recipients = append(tx.Recipients, Recipient{Address: fmt.Sprintf("user%d@test", i)})
	}
	for i, o := range c.Send(context.Background(), tx) {
		if !o.Delivered() {
			t.Fatalf("recipient %d: %s", i, show(o))
		}
	}
	c.Quit()
}
