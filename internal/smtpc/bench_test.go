package smtpc

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// sink takes messages as fast as it can.
func sink(conn net.Conn) error {
	r := bufio.NewReaderSize(conn, 64<<10)
	w := bufio.NewWriter(conn)
	say := func(s string) {
		w.WriteString(s)
		if r.Buffered() == 0 {
			w.Flush()
		}
	}
	say("220 sink\r\n")
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return ignoreEnd(err)
		}
		switch string(line[:4]) {
		case "EHLO":
			say("250-sink\r\n250 PIPELINING\r\n")
		case "DATA":
			say("354 go\r\n")
			for string(line) != ".\r\n" {
				if line, err = r.ReadSlice('\n'); err != nil {
					return ignoreEnd(err)
				}
			}
			say("250 2.0.0 Ok: queued as 123\r\n")
		case "QUIT":
			return nil
		default:
			say("250 ok\r\n")
		}
	}
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "reset") {
		return nil
	}
	return err
}

func BenchmarkSend(b *testing.B) {
	c := New(listen(b, sink), options(false))
	defer c.Quit()
	if err := c.Open(context.Background()); err != nil {
		b.Fatal(err)
	}
	tx := transaction("a@test")
	tx.Body = text(strings.Repeat(strings.Repeat("x", 63)+"\n", 64)) // 4 KiB
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		if o := c.Send(context.Background(), tx)[0]; !o.Delivered() {
			b.Fatal(show(o))
		}
	}
}
