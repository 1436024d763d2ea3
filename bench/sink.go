package main

import (
	"bufio"
	"bytes"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// temper is how a sink behaves.
type temper int

const (
	takes     temper = iota // everything
	hangs                   // accepts connections and says nothing
	breaksOff               // answers 421 after ten messages of a connection
)

// sink is an SMTP server that takes mail and forgets it.
type sink struct {
	net.Listener
	temper temper
	taken  atomic.Int64
	wg     sync.WaitGroup
	mu     sync.Mutex
	open   []net.Conn
}

func newSink(t temper) (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{Listener: l, temper: t}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open = append(s.open, c)
			s.mu.Unlock()
			if t != hangs {
				s.wg.Go(func() { s.serve(c) })
			}
		}
	})
	return s, nil
}

func (s *sink) port() string {
	_, port, _ := net.SplitHostPort(s.Addr().String())
	return port
}

func (s *sink) close() {
	s.Close()
	s.mu.Lock()
	for _, c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// serve answers one connection. Replies go out when no more commands are
// waiting.
func (s *sink) serve(c net.Conn) {
	defer c.Close()
	r, w := bufio.NewReaderSize(c, 8192), bufio.NewWriter(c)
	say := func(reply string) {
		w.WriteString(reply + "\r\n")
		if r.Buffered() == 0 {
			w.Flush()
		}
	}
	say("220 sink.example ESMTP")
	for messages := 0; ; {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(string(line))), " ")
		switch {
		case verb == "EHLO":
			say("250-sink.example\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250 8BITMIME")
		case verb == "MAIL" && s.temper == breaksOff && messages == 10:
			say("421 4.3.2 that was enough")
			w.Flush()
			return
		case verb == "DATA":
			say("354 go on")
			w.Flush()
			if readText(r) != nil {
				return
			}
			messages++
			s.taken.Add(1)
			say("250 2.0.0 taken")
		case verb == "QUIT":
			say("221 2.0.0 bye")
			w.Flush()
			return
		default:
			say("250 2.0.0 Ok")
		}
	}
}

// readText reads up to the final dot.
func readText(r *bufio.Reader) error {
	for start := true; ; {
		line, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			start = false
			continue
		}
		if err != nil {
			return err
		}
		if start && bytes.Equal(line, []byte(".\r\n")) {
			return nil
		}
		start = true
	}
}

// deadPort is a port nobody listens at.
func deadPort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
