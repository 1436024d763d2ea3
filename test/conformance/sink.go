package conformance

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// A sink is a small SMTP or LMTP server that notes what it is given.
//
// Recipients with the local part tempfail are refused with 451, permfail with
// 550. After the message an LMTP sink refuses overquota with 552.
type sink struct {
	name string // as shown in expectations: smtp, smtp2, lmtp
	lmtp bool
	l    net.Listener

	mu   sync.Mutex
	seen []delivery
}

func newSink(name, network, addr string, lmtp bool) (*sink, error) {
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	s := &sink{name: name, lmtp: lmtp, l: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s, nil
}

func (s *sink) close() { s.l.Close() }

// port returns the TCP port, or nothing.
func (s *sink) port() string {
	_, port, _ := net.SplitHostPort(s.l.Addr().String())
	return port
}

func (s *sink) note(d delivery) {
	d.how = s.name
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, d)
}

func (s *sink) deliveries() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivery(nil), s.seen...)
}

func (s *sink) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	say("220 sink.example ready")
	var from string
	var rcpts []string
	var refused []delivery
	end := func(msg string) { // of a transaction
		for _, d := range refused {
			d.msg = msg
			s.note(d)
		}
		from, rcpts, refused = "", nil, nil
	}
	defer func() { end("") }()
	for {
		c.SetDeadline(time.Now().Add(30 * time.Second))
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "HELO":
			say("250 sink.example")
		case "EHLO", "LHLO":
			say("250-sink.example\r\n250-8BITMIME\r\n250 SMTPUTF8")
		case "MAIL":
			end("")
			from = path(line)
			say("250 2.1.0 ok")
		case "RCPT":
			to := path(line)
			switch local, _, _ := strings.Cut(to, "@"); local {
			case "tempfail":
				refused = append(refused, delivery{from: from, to: to, refused: "451"})
				say("451 4.3.0 <%s> try later", to)
			case "permfail":
				refused = append(refused, delivery{from: from, to: to, refused: "550"})
				say("550 5.1.1 <%s> no such user", to)
			default:
				rcpts = append(rcpts, to)
				say("250 2.1.5 ok")
			}
		case "DATA":
			if len(rcpts) == 0 {
				say("503 5.5.1 no recipients")
				continue
			}
			say("354 go ahead")
			msg, err := readData(r)
			if err != nil {
				return
			}
			for _, to := range rcpts {
				d := delivery{from: from, to: to, group: rcpts, msg: msg}
				if s.lmtp && strings.HasPrefix(to, "overquota@") {
					d.refused = "552"
					say("552 5.2.2 <%s> mailbox full", to)
				} else if s.lmtp {
					say("250 2.0.0 <%s> ok", to)
				}
				s.note(d)
			}
			if !s.lmtp {
				say("250 2.0.0 ok")
			}
			end(msg)
		case "RSET":
			end("")
			say("250 2.0.0 ok")
		case "NOOP":
			say("250 2.0.0 ok")
		case "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			say("502 5.5.1 unknown command")
		}
	}
}

// path returns what stands between < and the last > of a MAIL or RCPT command.
func path(line string) string {
	i, j := strings.IndexByte(line, '<'), strings.LastIndexByte(line, '>')
	if i < 0 || j < i {
		return line
	}
	return line[i+1 : j]
}

func readData(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSuffix(line, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "." {
			return b.String(), nil
		}
		b.WriteString(strings.TrimPrefix(line, "."))
		b.WriteByte('\n')
		if b.Len() > 64<<20 {
			return "", fmt.Errorf("message too large")
		}
	}
}
