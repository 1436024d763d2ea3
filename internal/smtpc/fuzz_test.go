package smtpc

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// deaf is a connection to a server that says its text whatever it is told.
type deaf struct {
	net.Conn // nil: nothing else is called
	says     *bytes.Reader
	hears    bytes.Buffer
}

func (d *deaf) Read(p []byte) (int, error)  { return d.says.Read(p) }
func (d *deaf) Write(p []byte) (int, error) { return d.hears.Write(p) }
func (d *deaf) SetDeadline(time.Time) error { return nil }
func (d *deaf) Close() error                { return nil }

// echo is a mechanism that answers every challenge with itself.
type echo struct{}

func (echo) Start() (string, []byte, error)        { return "X", nil, nil }
func (echo) Next(challenge []byte) ([]byte, error) { return challenge, nil }
func (echo) Done() error                           { return nil }

// FuzzServer lets a server say anything. Whatever it says, every recipient has
// an outcome, and a delivery was preceded by the end of the text.
func FuzzServer(f *testing.F) {
	for _, s := range []string{
		"220 hi\r\n250-s.test\r\n250-PIPELINING\r\n250 SIZE 100\r\n250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n250 2.0.0 ok\r\n250 ok\r\n221 bye\r\n",
		"220 hi\n250 s.test\n250 ok\n250 ok\n250 ok\n354 go\n250 ok\n552 5.2.2 full\n",
		"220 hi\r\n502 no\r\n250 s\r\n421 stop\r\n",
		"220 hi\r\n250-s.test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH X\r\n334 eA==\r\n235 ok\r\n250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 2.0.0 ok\r\n250 ok\r\n221 bye\r\n",
		"220 hi\r\n250-s.test\r\n250-CHUNKING\r\n250 AUTH=X\r\n334 *\r\n501 no\r\n", "220 hi\r\n250-s\r\n250 AUTH X\r\n334\r\n334 \r\n334-a\r\n334 =\r\n535 no\r\n",
		"554-no\r\n554 way\r\n", "220 hi\r\n250-\r\n250 \r\n250\r\n", "220-a\r\n250 b\r\n", "HTTP/1.1 200\r\n", "220 hi\r\n250 ok\r\n250 ok\r\n450 x\r\n450 x\r\n354 \r\n",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, says string, lmtp bool) {
		conn := &deaf{says: bytes.NewReader([]byte(says))}
		o := options(lmtp)
		o.Auth = func(context.Context, Server) (Mechanism, error) { return echo{}, nil }
		c := New(conn, o)
		defer c.Quit()
		if err := c.Open(context.Background()); err != nil {
			return
		}
		for range 2 {
			if !c.Usable() {
				return
			}
			conn.hears.Reset()
			for i, o := range c.Send(context.Background(), transaction("a@test", "b@test")) {
				if !o.decided() {
					t.Fatalf("recipient %d has no outcome", i)
				}
				if heard := conn.hears.String(); o.Delivered() && !strings.Contains(heard, "\r\n.\r\n") && !strings.Contains(heard, "BDAT 25 LAST\r\nSubject: x") {
					t.Fatalf("recipient %d is delivered without a text", i)
				}
			}
		}
	})
}

func FuzzExtensions(f *testing.F) {
	f.Add("s.test\nPIPELINING\nSIZE 100\nAUTH PLAIN LOGIN\n8bitmime")
	f.Fuzz(func(t *testing.T, text string) {
		if e := parseExtensions(text, []string{"dsn"}); e.DSN || e.SizeLimit < 0 {
			t.Errorf("%+v", e)
		}
	})
}
