package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A reply is a complete SMTP reply, one string a line.
type reply []string

func (r reply) ok() bool { return len(r) > 0 && r[len(r)-1][0] == '2' }

func (r reply) String() string { return strings.Join(r, " / ") }

type client struct {
	conn net.Conn
	r    *bufio.Reader
}

func dial(server, source string) (*client, error) {
	d := net.Dialer{Timeout: 3 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.Dial("tcp", server)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{conn, bufio.NewReader(conn)}, nil
}

func (c *client) read() (reply, error) {
	var r reply
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return r, err
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 3 {
			return r, fmt.Errorf("malformed reply %q", line)
		}
		r = append(r, line)
		if len(line) == 3 || line[3] != '-' {
			return r, nil
		}
	}
}

func (c *client) cmd(format string, args ...any) (reply, error) {
	if _, err := fmt.Fprintf(c.conn, format+"\r\n", args...); err != nil {
		return nil, err
	}
	return c.read()
}

// transact sends one message to the probe's recipients and returns one line
// for each reply worth knowing, and whether the message was accepted.
func transact(server string, p probe) (lines []string, accepted bool, err error) {
	c, err := dial(server, p.client)
	if err != nil {
		return nil, false, err
	}
	defer c.conn.Close()
	if _, err = c.read(); err != nil {
		return nil, false, err
	}
	note := func(what string, r reply) { lines = append(lines, what+": "+r.String()) }
	step := func(what, format string, args ...any) (reply, bool) {
		r, e := c.cmd(format, args...)
		if e != nil {
			lines = append(lines, what+": connection lost")
			return nil, false
		}
		return r, true
	}
	r, ok := step("EHLO", "EHLO client.example")
	if !ok || !r.ok() {
		note("EHLO", r)
		return lines, false, nil
	}
	r, ok = step("MAIL", "MAIL FROM:<%s>", p.from)
	if !ok {
		return lines, false, nil
	}
	if !r.ok() {
		note("MAIL", r)
		c.cmd("QUIT")
		return lines, false, nil
	}
	good := 0
	for _, to := range p.rcpts {
		if r, ok = step("RCPT "+to, "RCPT TO:<%s>", to); !ok {
			return lines, false, nil
		}
		note("RCPT "+to, r)
		if r.ok() {
			good++
		}
	}
	if good == 0 {
		c.cmd("QUIT")
		return lines, false, nil
	}
	if r, ok = step("DATA", "DATA"); !ok {
		return lines, false, nil
	}
	if r[0][0] != '3' {
		note("DATA", r)
		c.cmd("QUIT")
		return lines, false, nil
	}
	if r, ok = step("DATA", "%s\r\n.", message(p)); !ok {
		return lines, false, nil
	}
	accepted = r.ok()
	if !accepted {
		note("DATA", r)
	}
	c.cmd("QUIT")
	return lines, accepted, nil
}

func message(p probe) string {
	from := p.from
	if from == "" {
		from = "daemon@client.example"
	}
	return strings.Join([]string{
		"From: <" + from + ">",
		"To: undisclosed-recipients:;",
		"Subject: " + p.token,
		"Message-ID: <" + p.token + "@client.example>",
		"Date: Thu, 1 Jan 2026 00:00:00 +0000",
		"",
		p.token,
	}, "\r\n")
}

// dialogue runs a raw block. Its lines:
//
//	C: text   send the line, read the replies of this and of waiting lines
//	C+ text   send the line together with the next C: line (pipelining)
//	C- text   send the line, no reply is read (message content)
//	B: "text" send the quoted bytes as they are, no reply is read
//	S         read one reply
//	E         note whether the server closes the connection
//
// {token} stands for the mark by which deliveries are recognised.
func dialogue(server string, p probe) (lines []string, accepted bool, err error) {
	c, err := dial(server, p.client)
	if err != nil {
		return nil, false, err
	}
	defer c.conn.Close()
	read := func() bool {
		r, err := c.read()
		for _, l := range r {
			lines = append(lines, "S: "+l)
		}
		if err != nil {
			lines = append(lines, "S: connection lost")
			return false
		}
		if strings.Contains(r.String(), "queued") {
			accepted = true
		}
		return true
	}
	if _, err := c.read(); err != nil {
		lines = append(lines, "S: connection lost")
		return lines, false, nil
	}
	buf, waiting := "", 0
	for _, line := range p.raw {
		lines = append(lines, line)
		text := ""
		if len(line) > 3 {
			text = strings.ReplaceAll(line[3:], "{token}", p.token)
		}
		if line == "E" {
			c.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
			state := "open"
			if _, err := c.r.ReadByte(); err == io.EOF || err != nil && !os.IsTimeout(err) {
				state = "closed"
			} else if err == nil {
				state = "open, more to read"
			}
			lines[len(lines)-1] = "E " + state
			break
		}
		switch line[0] {
		case 'S':
			waiting++
		case 'B':
			if text, err = strconv.Unquote(text); err != nil {
				return lines, false, fmt.Errorf("%s: %w", line, err)
			}
			buf += text
		default:
			buf += text + "\r\n"
			if line[1] != '-' {
				waiting++
			}
		}
		if line[1:] != "" && line[1] == '+' {
			continue
		}
		if _, err := io.WriteString(c.conn, buf); err != nil {
			lines = append(lines, "S: connection lost")
			break
		}
		buf = ""
		lost := false
		for ; waiting > 0 && !lost; waiting-- {
			lost = !read()
		}
		if lost {
			break
		}
	}
	return lines, accepted, nil
}
