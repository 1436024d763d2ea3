package crash

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
)

// peer is a server that mail is handed to by SMTP or LMTP. It outlives the
// server under test, and notes what it has taken, and what of it was answered:
// the answer may not have been written down when the server was killed, and
// then the message comes again.
type peer struct {
	net.Listener
	lmtp bool
	name string // the box that its deliveries count for

	mu      sync.Mutex
	taken   finds
	damaged error // a text that was not whole
}

func newPeer(t *testing.T, name string, lmtp bool) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l, lmtp: lmtp, name: name, taken: finds{}}
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		connections.Wait()
	})
	return p
}

// nextHop is how the transport table names it.
func (p *peer) nextHop() string {
	_, port, _ := net.SplitHostPort(p.Addr().String())
	if p.lmtp {
		return "lmtp:inet:127.0.0.1:" + port
	}
	return "smtp:[127.0.0.1]:" + port
}

// serve answers one connection. Every delivery on it whose result the server
// may not have recorded is the last one.
func (p *peer) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	say := func(reply string) error {
		_, err := c.Write([]byte(reply + "\r\n"))
		return err
	}
	err := say("220 peer.example ready")
	for recipients := 0; err == nil; {
		var line string
		if line, err = r.ReadString('\n'); err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		switch verb {
		case "EHLO", "LHLO":
			err = say("250-peer.example\r\n250-PIPELINING\r\n250 8BITMIME")
		case "RCPT":
			recipients++
			err = say("250 2.1.5 Ok")
		case "DATA":
			if err = say("354 go on"); err != nil {
				return
			}
			if err = p.message(r, recipients); err != nil {
				return
			}
			if !p.lmtp {
				recipients = 1
			}
			for ; recipients > 0; recipients-- {
				err = errors.Join(err, say("250 2.0.0 taken"))
			}
		case "QUIT":
			_ = say("221 2.0.0 bye")
			return
		default:
			err = say("250 2.0.0 Ok")
		}
	}
}

// message reads a text and notes it, once for each recipient.
func (p *peer) message(r *bufio.Reader, recipients int) error {
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err // no final dot: not taken
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(strings.TrimSuffix(line, "\r\n"), ".") + "\n")
	}
	token, err := whole([]byte("\n" + text.String()))
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.damaged = err
		return nil
	}
	for range recipients {
		p.taken.add(token, p.name)
	}
	return nil
}

// copyTo adds what was taken to all. A text that was not whole is an error.
func (p *peer) copyTo(all finds) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for token, places := range p.taken {
		for place, n := range places {
			for range n {
				all.add(token, place)
			}
		}
	}
	return p.damaged
}
