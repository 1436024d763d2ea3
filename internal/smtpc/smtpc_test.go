package smtpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text is a message.
type text string

func (s text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(s))
	return int64(n), err
}

func options(lmtp bool) Options {
	t := 10 * time.Second
	return Options{LMTP: lmtp, Hello: "me.test", Timeouts: Timeouts{t, t, t, t, t, t, t, t, t}}
}

func transaction(rcpts ...string) *Transaction {
	tx := &Transaction{Sender: "from@test", Body: text("Subject: x\n\n.dot\nend\n"), Size: 21}
	for _, r := range rcpts {
		tx.Recipients = append(tx.Recipients, Recipient{Address: r})
	}
	return tx
}

// show writes an outcome on a line.
func show(o Outcome) string {
	switch {
	case o.Err != nil && !o.Err.Reply.IsZero():
		return fmt.Sprintf("%v in %v: %v", o.Err.Kind, o.Err.Phase, o.Err.Reply)
	case o.Err != nil:
		return fmt.Sprintf("%v in %v", o.Err.Kind, o.Err.Phase)
	case o.Delivered():
		return "delivered: " + o.Reply.String()
	}
	return fmt.Sprintf("%v to %v", o.Reply, o.Phase)
}

const (
	plain     = "S: 220 hi\nC: EHLO me.test\nS: 250 s.test\n"
	pipelined = "S: 220 hi\nC: EHLO me.test\nS: 250-s.test\nS: 250 PIPELINING\n"
	lmtp      = "S: 220 hi\nC: LHLO me.test\nS: 250-s.test\nS: 250 PIPELINING\n"
	envelope  = "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: RCPT TO:<b@test>\nC: DATA\n"
	quit      = "C: QUIT\nS: 221 bye\nWAIT"
)

func TestSend(t *testing.T) {
	for _, test := range []struct {
		name, script string
		lmtp         bool
		want         []string
		unusable     bool
	}{
		{"one by one", plain + "C: MAIL FROM:<from@test>\nS: 250 ok\nC: RCPT TO:<a@test>\nS: 250 2.1.5 ok\nC: RCPT TO:<b@test>\nS: 250 ok\nC: DATA\nS: 354 go\nBODY\nS: 250 2.0.0 queued\n" + quit,
			false, []string{"delivered: 250 2.0.0 queued", "delivered: 250 2.0.0 queued"}, false},
		{"together", pipelined + envelope + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nBODY\nS: 250-2.0.0 two\nS: 250 2.0.0 lines\n" + quit,
			false, []string{"delivered: 250 2.0.0 two lines", "delivered: 250 2.0.0 two lines"}, false},
		{"one refused", pipelined + envelope + "S: 250 ok\nS: 550-5.1.1 no\nS: 550 5.1.1 such user\nS: 250 ok\nS: 354 go\nBODY\nS: 250 ok\n" + quit,
			false, []string{"550 5.1.1 no such user to RCPT TO command", "delivered: 250 ok"}, false},
		{"all refused one by one", plain + "C: MAIL FROM:<from@test>\nS: 250 ok\nC: RCPT TO:<a@test>\nS: 550 no\nC: RCPT TO:<b@test>\nS: 450 4.2.0 later\n" + quit,
			false, []string{"550 no to RCPT TO command", "450 4.2.0 later to RCPT TO command"}, false},
		{"all refused together", pipelined + envelope + "S: 250 ok\nS: 550 no\nS: 550 no\nS: 503 none\n" + quit,
			false, []string{"550 no to RCPT TO command", "550 no to RCPT TO command"}, false},
		{"all refused but DATA goes on", pipelined + envelope + "S: 250 ok\nS: 550 no\nS: 550 no\nS: 354 go\nC: .\nS: 554 no\n" + quit,
			false, []string{"550 no to RCPT TO command", "550 no to RCPT TO command"}, false},
		{"all refused but LMTP's DATA goes on", lmtp + envelope + "S: 250 ok\nS: 550 no\nS: 550 no\nS: 354 go\nWAIT",
			true, []string{"550 no to RCPT TO command", "550 no to RCPT TO command"}, true},
		{"sender refused one by one", plain + "C: MAIL FROM:<from@test>\nS: 550 5.7.1 you\n" + quit,
			false, []string{"550 5.7.1 you to MAIL FROM command", "550 5.7.1 you to MAIL FROM command"}, false},
		{"sender refused together", pipelined + envelope + "S: 451 you\nS: 503 no\nS: 503 no\nS: 503 no\n" + quit,
			false, []string{"451 you to MAIL FROM command", "451 you to MAIL FROM command"}, false},
		{"DATA refused", pipelined + envelope + "S: 250 ok\nS: 550 no\nS: 250 ok\nS: 452 full\n" + quit,
			false, []string{"550 no to RCPT TO command", "452 full to DATA command"}, false},
		{"DATA answered with a yes", pipelined + envelope + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\n" + quit,
			false, []string{"250 ok to DATA command", "250 ok to DATA command"}, false},
		{"message refused", pipelined + envelope + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nBODY\nS: 554 5.7.1 spam\n" + quit,
			false, []string{"554 5.7.1 spam to end of DATA command", "554 5.7.1 spam to end of DATA command"}, false},
		{"LMTP, mixed", lmtp + envelope + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nBODY\nS: 250 2.0.0 a\nS: 552 5.2.2 full\n" + quit,
			true, []string{"delivered: 250 2.0.0 a", "552 5.2.2 full to end of DATA command"}, false},
		{"LMTP, the second of two", lmtp + envelope + "S: 250 ok\nS: 550 no\nS: 250 ok\nS: 354 go\nBODY\nS: 250 2.0.0 b\n" + quit,
			true, []string{"550 no to RCPT TO command", "delivered: 250 2.0.0 b"}, false},
		{"LMTP, lost between replies", lmtp + envelope + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nBODY\nS: 250 2.0.0 a",
			true, []string{"delivered: 250 2.0.0 a", "lost connection in end of DATA command"}, true},
		{"LMTP, 421 between replies", lmtp + envelope + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nBODY\nS: 421 4.3.2 stop\nWAIT",
			true, []string{"421 4.3.2 stop to end of DATA command", "421 4.3.2 stop to end of DATA command"}, true},
		{"lost at MAIL", pipelined + "C: MAIL FROM:<from@test>", false,
			[]string{"lost connection in MAIL FROM command", "lost connection in MAIL FROM command"}, true},
		{"lost at the second RCPT", pipelined + envelope + "S: 250 ok\nS: 550 no", false,
			[]string{"550 no to RCPT TO command", "lost connection in RCPT TO command"}, true},
		{"lost at DATA", pipelined + envelope + "S: 250 ok\nS: 250 ok\nS: 250 ok", false,
			[]string{"lost connection in DATA command", "lost connection in DATA command"}, true},
		{"lost behind the dot", pipelined + envelope + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nBODY", false,
			[]string{"lost connection in end of DATA command", "lost connection in end of DATA command"}, true},
		{"lost in the middle of a reply", pipelined + envelope + "S: 250 ok\nS+ 250-half", false,
			[]string{"lost connection in RCPT TO command", "lost connection in RCPT TO command"}, true},
		{"421 at MAIL", pipelined + envelope + "S: 421 4.3.2 stop\nWAIT", false,
			[]string{"421 4.3.2 stop to MAIL FROM command", "421 4.3.2 stop to MAIL FROM command"}, true},
		{"421 at the second RCPT", pipelined + envelope + "S: 250 ok\nS: 250 ok\nS: 421 4.3.2 stop\nWAIT", false,
			[]string{"421 4.3.2 stop to RCPT TO command", "421 4.3.2 stop to RCPT TO command"}, true},
		{"421 behind the dot", pipelined + envelope + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nBODY\nS: 421 stop\nWAIT", false,
			[]string{"421 stop to end of DATA command", "421 stop to end of DATA command"}, true},
		{"no SMTP", pipelined + envelope + "S: hello\nWAIT", false,
			[]string{"malformed reply in MAIL FROM command", "malformed reply in MAIL FROM command"}, true},
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

func TestOpen(t *testing.T) {
	for _, test := range []struct {
		name, script string
		lmtp         bool
		want         string
	}{
		{"early 554", "S: 554 5.7.1 go away\nWAIT", false, "refused while receiving the initial server greeting: 554 5.7.1 go away"},
		{"421", "S: 421 busy\nWAIT", false, "refused while receiving the initial server greeting: 421 busy"},
		{"closed at once", "", false, "lost connection while receiving the initial server greeting: EOF"},
		{"no SMTP", "S: SSH-2.0-x\nWAIT", false, `malformed reply while receiving the initial server greeting: malformed reply: "SSH-2.0-x"`},
		{"greeting of many lines", "S: 220-a\nS: 220-b\nS: 220 c\nC: EHLO me.test\nS: 250 s.test\n" + quit, false, ""},
		{"HELO", "S: 220 hi\nC: EHLO me.test\nS: 502 what\nC: HELO me.test\nS: 250 s.test\n" + quit, false, ""},
		{"no HELO", "S: 220 hi\nC: EHLO me.test\nS: 500 what\nC: HELO me.test\nS: 550 no\n" + quit, false, "refused while performing the HELO handshake: 550 no"},
		{"421 to EHLO", "S: 220 hi\nC: EHLO me.test\nS: 421 no\nWAIT", false, "refused while performing the EHLO handshake: 421 no"},
		{"lost at EHLO", "S: 220 hi\nC: EHLO me.test", false, "lost connection while performing the EHLO handshake: EOF"},
		{"no LHLO", "S: 220 hi\nC: LHLO me.test\nS: 500 no\n" + quit, true, "refused while performing the LHLO handshake: 500 no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New(listen(t, script(test.script)), options(test.lmtp))
			err := c.Open(context.Background())
			got := ""
			if err != nil {
				got = err.Error()
			} else if c.ServerName() != "s.test" {
				t.Errorf("ServerName() = %q", c.ServerName())
			}
			if got != test.want {
				t.Errorf("Open: %q, want %q", got, test.want)
			}
			c.Quit()
		})
	}
}

func TestParameters(t *testing.T) {
	offer := "S: 220 hi\nC: EHLO me.test\nS: 250-s.test\nS: 250-size 1000\nS: 250-8BITMIME\nS: 250-SMTPUTF8\nS: 250-AUTH plain LOGIN\nS: 250-XUNKNOWN\nS: 250 DSN\n"
	dialogue := offer + `C: MAIL FROM:<"two words"@test> SIZE=21 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+3Dc+20d
S: 250 ok
C: RCPT TO:<a@test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2By@test
S: 250 ok
C: RCPT TO:<bü@test> ORCPT=utf-8;bü@test
S: 250 ok
C: RCPT TO:<c@test> NOTIFY=NEVER
S: 250 ok
C: DATA
S: 354 go
BODY
S: 250 ok
` + quit
	c := New(listen(t, script(dialogue)), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := Extensions{EightBit: true, SMTPUTF8: true, DSN: true, Size: true, SizeLimit: 1000, Auth: []string{"PLAIN", "LOGIN"}}
	if diff := cmp.Diff(want, c.Extensions()); diff != "" {
		t.Error(diff)
	}
	tx := transaction("a@test", "bü@test", "c@test")
	tx.Sender, tx.EightBit, tx.SMTPUTF8, tx.Ret, tx.EnvID = "two words@test", true, true, "HDRS", "a+b=c d"
	tx.Recipients[0].Notify, tx.Recipients[0].ORCPT = "SUCCESS,FAILURE", "rfc822;x+y@test"
	tx.Recipients[1].ORCPT = "utf-8;bü@test"
	tx.Recipients[2].Notify, tx.Recipients[2].ORCPT = "NEVER", "no semicolon"
	for _, o := range c.Send(context.Background(), tx) {
		if !o.Delivered() {
			t.Error(show(o))
		}
	}
	c.Quit()
}

func TestParametersAreLeftOut(t *testing.T) {
	dialogue := "S: 220 hi\nC: EHLO me.test\nS: 250-s.test\nS: 250-DSN\nS: 250-SIZE\nS: 250-8BITMIME\nS: 250 SMTPUTF8\n" +
		"C: MAIL FROM:<> SIZE=21\nS: 250 ok\nC: RCPT TO:<a@test>\nS: 250 ok\nC: DATA\nS: 354 go\nBODY\nS: 250 ok\n" + quit
	o := options(false)
	o.Discard = []string{"8bitmime", "smtputf8"}
	c := New(listen(t, script(dialogue)), o)
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	tx := transaction("a@test")
	tx.Sender, tx.EightBit, tx.SMTPUTF8 = "", true, true
	tx.Recipients[0].ORCPT = "utf-8;ü@test" // cannot be written without SMTPUTF8
	if o := c.Send(context.Background(), tx)[0]; !o.Delivered() {
		t.Error(show(o))
	}
	c.Quit()
}

func TestNothingIsSentForBadAddresses(t *testing.T) {
	c := New(listen(t, script(plain+quit)), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	evil := "a@test>\r\nRCPT TO:<victim@test"
	got := c.Send(context.Background(), transaction(evil, ""))
	for i, o := range got {
		if show(o) != "bad address in RCPT TO command" {
			t.Errorf("recipient %d: %s", i, show(o))
		}
	}
	tx := transaction("a@test")
	tx.Sender = evil
	if o := c.Send(context.Background(), tx)[0]; show(o) != "bad address in MAIL FROM command" {
		t.Errorf("sender: %s", show(o))
	}
	if c.Uses() != 0 {
		t.Errorf("Uses() = %d", c.Uses())
	}
	c.Quit()
}

func TestBadAddressBesideGoodOnes(t *testing.T) {
	dialogue := pipelined + "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: RCPT TO:<c@test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 550 no\nS: 354 go\nBODY\nS: 250 ok\n" + quit
	c := New(listen(t, script(dialogue)), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range c.Send(context.Background(), transaction("a@test", "b\n@test", "c@test")) {
		got = append(got, show(o))
	}
	want := []string{"delivered: 250 ok", "bad address in RCPT TO command", "550 no to RCPT TO command"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	c.Quit()
}

func TestTooBig(t *testing.T) {
	c := New(listen(t, script("S: 220 hi\nC: EHLO me.test\nS: 250-s.test\nS: 250 SIZE 20\n"+quit)), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	o := c.Send(context.Background(), transaction("a@test"))[0]
	if o.Err == nil || o.Err.Kind != TooBig || o.Err.Limit != 20 || o.Err.Size != 21 {
		t.Errorf("outcome %s", show(o))
	}
	c.Quit()
}

func TestResetBetweenTransactions(t *testing.T) {
	refused := "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: DATA\nS: 250 ok\nS: 550 no\nS: 503 none\n"
	good := "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: DATA\n"
	replies := "S: 250 ok\nS: 250 ok\nS: 354 go\nBODY\nS: 250 ok\n"
	c := New(listen(t, script(pipelined+refused+"C: RSET\n"+good+"S: 250 reset\n"+replies+good+replies+quit)), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true, true} {
		if o := c.Send(context.Background(), transaction("a@test"))[0]; o.Delivered() != want {
			t.Errorf("transaction %d: %s", i, show(o))
		}
	}
	if c.Uses() != 3 {
		t.Errorf("Uses() = %d", c.Uses())
	}
	c.Quit()
}

// broken is a message that cannot be read to its end.
type broken struct{}

func (broken) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(bytes.Repeat([]byte("Subject: half\n"), 10000))
	return int64(n), errors.Join(err, errors.New("disk"))
}

func TestUnreadableMessageIsNeverFinished(t *testing.T) {
	got := make(chan string, 1)
	c := New(listen(t, func(conn net.Conn) error {
		if err := script(pipelined + "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go")(conn); err != nil {
			return err
		}
		rest, err := io.ReadAll(conn)
		got <- string(rest)
		return err
	}), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	tx := transaction("a@test")
	tx.Body = broken{}
	if o := c.Send(context.Background(), tx)[0]; show(o) != "cannot read the message in message body" {
		t.Errorf("outcome %s", show(o))
	}
	if c.Usable() {
		t.Error("usable in the middle of a message")
	}
	c.Quit()
	if rest := <-got; strings.Contains(rest, "\r\n.\r\n") {
		t.Error("the final dot was sent")
	}
}

// endless is a message that is longer than any buffer.
type endless struct{}

func (endless) WriteTo(w io.Writer) (n int64, err error) {
	line := []byte(strings.Repeat("x", 70) + "\n")
	for err == nil {
		var m int
		m, err = w.Write(line)
		n += int64(m)
	}
	return n, err
}

func TestRefusalInTheMiddleOfTheMessage(t *testing.T) {
	// The server says 552 and closes while the client still sends. Whether the
	// reply gets through is up to the network: a refusal, or a lost connection.
	c := New(listen(t, func(conn net.Conn) error {
		if err := script(pipelined + "C: MAIL FROM:<from@test>\nC: RCPT TO:<a@test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go")(conn); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, conn, 100<<10); err != nil {
			return err
		}
		_, err := io.WriteString(conn, "552 5.3.4 too big\r\n")
		return err
	}), options(false))
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	tx := transaction("a@test")
	tx.Body = endless{}
	o := c.Send(context.Background(), tx)[0]
	if s := show(o); s != "552 5.3.4 too big to message body" && s != "lost connection in message body" {
		t.Errorf("outcome %s", s)
	}
	if c.Usable() {
		t.Error("usable in the middle of a message")
	}
	c.Quit()
}
