package smtpd

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/address"
	"postern/internal/smtp"
)

// nullHooks permit everything and store nothing.
type nullHooks struct{}

func (nullHooks) Connect(context.Context, *Client) Verdict                    { return Verdict{} }
func (nullHooks) Helo(context.Context, *Client) Verdict                       { return Verdict{} }
func (nullHooks) Mail(context.Context, *Transaction) Verdict                  { return Verdict{} }
func (nullHooks) Rcpt(context.Context, *Transaction, *Recipient) Verdict      { return Verdict{} }
func (nullHooks) Data(context.Context, *Transaction) Verdict                  { return Verdict{} }
func (nullHooks) EndOfData(context.Context, *Transaction) Verdict             { return Verdict{} }
func (nullHooks) Vrfy(context.Context, *Transaction, address.Address) Verdict { return Verdict{} }
func (nullHooks) Etrn(context.Context, *Client, string) Verdict               { return Verdict{} }
func (nullHooks) Room(context.Context, *Transaction) smtp.Reply               { return smtp.Reply{} }
func (nullHooks) Begin(context.Context, *Transaction) (Body, smtp.Reply) {
	return nullHooks{}, smtp.Reply{}
}
func (nullHooks) QueueID() string                                 { return "4F1C0A9E7B21" }
func (nullHooks) Start(*Transaction)                              {}
func (nullHooks) Write(p []byte) (int, error)                     { return len(p), nil }
func (nullHooks) Commit(context.Context, *Transaction) smtp.Reply { return smtp.Reply{} }
func (nullHooks) Abort()                                          {}
func (nullHooks) Infof(string, ...any)                            {}
func (nullHooks) Warningf(string, ...any)                         {}

func nullServer() *Server {
	c := DefaultConfig("mx.host.example")
	c.ForbidUnauthPipe = false
	p := &Profile{Config: &c, Policy: nullHooks{}, Intake: nullHooks{}}
	return &Server{Profile: func() *Profile { return p }, Log: nullHooks{}}
}

// endless is a connection whose client sends a message n times.
type endless struct {
	scripted
	message string
	n       int
	rest    string
}

func (c *endless) Read(p []byte) (int, error) {
	if c.rest == "" {
		if c.n == 0 {
			return 0, io.EOF
		}
		c.n--
		c.rest = c.message
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *endless) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkSession is the cost of a transaction without network and disk.
func BenchmarkSession(b *testing.B) {
	text := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 57)
	message := "MAIL FROM:<a@b.example> SIZE=4104\r\nRCPT TO:<x@a.example>\r\nDATA\r\n" + text + ".\r\n"
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	nullServer().ServeConn(context.Background(), &endless{message: message, n: b.N})
}

// BenchmarkLoopback is a transaction over TCP, pipelined as clients do it.
func BenchmarkLoopback(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- nullServer().Serve(ctx, l) }()
	text := []byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 57) + ".\r\n")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		in := smtp.NewReader(conn, make([]byte, 4096))
		await := func(n int) {
			for range n {
				if _, err := in.ReadLine(1000); err != nil {
					b.Error(err)
				}
			}
		}
		_, _ = conn.Write([]byte("EHLO x\r\n"))
		await(9)
		for pb.Next() {
			_, _ = conn.Write([]byte("MAIL FROM:<a@b.example>\r\nRCPT TO:<x@a.example>\r\nDATA\r\n"))
			await(3)
			_, _ = conn.Write(text)
			await(1)
		}
	})
	b.StopTimer()
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		b.Error("Serve does not end")
	}
}
