package smtpd

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// group is a transaction in one piece that no small buffer holds.
func group(recipients int) string {
	var b strings.Builder
	b.WriteString("MAIL FROM:<a@b.example>\r\n")
	for i := range recipients {
		fmt.Fprintf(&b, "RCPT TO:<x%d@a.example>\r\n", i)
	}
	b.WriteString("DATA\r\n")
	return b.String()
}

// TestLongGroups: pipelined commands are answered in order, however long they are
// and wherever the network cuts them.
func TestLongGroups(t *testing.T) {
	for _, recipients := range []int{1, 8, 9, 10, 50, 300} {
		for _, piece := range []int{7, 255, 256, 257, 4096, 1 << 20} {
			h := newHouse()
			addr, _ := h.listen(t)
			p := dial(t, addr)
			p.want("220 mx.host.example ESMTP")
			p.hello()
			text := group(recipients)
			go func() {
				for len(text) > 0 {
					n := min(piece, len(text))
					if _, err := io.WriteString(p, text[:n]); err != nil {
						return
					}
					text = text[n:]
				}
			}()
			p.want("250 2.1.0 Ok")
			for range recipients {
				p.want("250 2.1.5 Ok")
			}
			p.want("354 End data with <CR><LF>.<CR><LF>")
			p.ask("text\r\n.", "250 2.0.0 Ok: queued as QID1")
			p.ask("NOOP "+strings.Repeat("x", 1000), "250 2.0.0 Ok")
			p.ask("QUIT", "221 2.0.0 Bye")
			if got := h.intake.stored(); len(got) != 1 || len(got[0].recipients) != recipients {
				t.Errorf("%d recipients in pieces of %d: stored %v", recipients, piece, got)
			}
		}
	}
}

// TestGroupAndEnd: what came before the end of the connection is carried out.
func TestGroupAndEnd(t *testing.T) {
	h := newHouse()
	addr, stop := h.listen(t)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadAtLeast(conn, make([]byte, 100), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "EHLO x\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAtLeast(conn, make([]byte, 1000), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, strings.Repeat("RSET\r\n", 100)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	replies, err := io.ReadAll(conn)
	if err != nil || strings.Count(string(replies), "250 2.0.0 Ok\r\n") != 100 {
		t.Errorf("replies %q, %v", replies, err)
	}
	_ = stop()
	h.log.contains(t, "lost connection after RSET from unknown[127.0.0.1]")
}
