package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// loadCommand makes this program the load generator, so that its time is not
// in anybody's figures.
const loadCommand = "load"

// plan is what the load generator does.
type plan struct {
	Addr          string
	Sessions      int    // connections at a time
	Messages      int    // in all
	PerConnection int    // messages
	Size          int    // octets of a message
	Recipient     string // with %d for 0 to Addresses-1, in turn
	Addresses     int
	Refused       bool // only RCPT, which must be refused; each session is one connection
}

// outcome is what the load generator saw.
type outcome struct {
	Seconds  float64
	P50, P99 float64 // milliseconds from the final dot to 250
}

// generate runs the plan in a process of its own.
func generate(p plan) (outcome, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return outcome{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return outcome{}, err
	}
	cmd := exec.Command(self, loadCommand, string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return outcome{}, fmt.Errorf("load: %w", err)
	}
	var o outcome
	return o, json.Unmarshal(out, &o)
}

func loadMain(text string) {
	var p plan
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		var o outcome
		if o, err = p.run(); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(o)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// deadline bounds a run of the load generator.
const deadline = 5 * time.Minute

func (p plan) run() (outcome, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	waits := make([][]time.Duration, p.Sessions)
	errs := make([]error, p.Sessions)
	body := p.body()
	began := time.Now()
	if p.Refused {
		err := p.refused()
		return outcome{Seconds: time.Since(began).Seconds()}, err
	}
	for i := range p.Sessions {
		wg.Go(func() {
			for errs[i] == nil && next.Load() < int64(p.Messages) {
				errs[i] = p.session(&next, body, &waits[i])
			}
		})
	}
	wg.Wait()
	o := outcome{Seconds: time.Since(began).Seconds()}
	all := slices.Concat(waits...)
	if len(all) > 0 {
		slices.Sort(all)
		o.P50 = all[len(all)/2].Seconds() * 1000
		o.P99 = all[len(all)*99/100].Seconds() * 1000
	}
	return o, errors.Join(errs...)
}

// body is the text of every message, with its final dot.
func (p plan) body() []byte {
	var b bytes.Buffer
	b.WriteString("From: <sender@client.example>\r\nSubject: load\r\n\r\n")
	line := strings.Repeat("x", 76) + "\r\n"
	for b.Len()+len(line) < p.Size {
		b.WriteString(line)
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// dialogue is one connection.
type dialogue struct {
	net.Conn
	r *bufio.Reader
}

func (d *dialogue) say(code string, format string, args ...any) error {
	if _, err := fmt.Fprintf(d.Conn, format+"\r\n", args...); err != nil {
		return err
	}
	return d.expect(code)
}

// expect reads one reply, which has to begin with code.
func (d *dialogue) expect(code string) error {
	for {
		line, err := d.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte(code)) {
			return fmt.Errorf("want %s, got %q", code, line)
		}
		if len(line) < 4 || line[3] != '-' {
			return nil
		}
	}
}

// dial begins a dialogue with EHLO.
func (p plan) dial() (*dialogue, error) {
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		return nil, err
	}
	d := &dialogue{c, bufio.NewReaderSize(c, 1024)}
	err = c.SetDeadline(time.Now().Add(deadline))
	if err == nil {
		err = d.expect("220")
	}
	if err == nil {
		err = d.say("250", "EHLO client.example")
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return d, nil
}

func (p plan) session(next *atomic.Int64, body []byte, waits *[]time.Duration) error {
	d, err := p.dial()
	if err != nil {
		return err
	}
	defer d.Close()
	for range p.PerConnection {
		n := int(next.Add(1)) - 1
		if n >= p.Messages {
			break
		}
		if err := p.one(d, n, body, waits); err != nil {
			return err
		}
	}
	return d.say("221", "QUIT")
}

// one sends one message.
func (p plan) one(d *dialogue, n int, body []byte, waits *[]time.Duration) error {
	if err := d.say("250", "MAIL FROM:<sender@client.example>"); err != nil {
		return err
	}
	if err := d.say("250", "RCPT TO:<"+p.Recipient+">", n%p.Addresses); err != nil {
		return err
	}
	if err := d.say("354", "DATA"); err != nil {
		return err
	}
	began := time.Now()
	if _, err := d.Write(body); err != nil {
		return err
	}
	if err := d.expect("250"); err != nil {
		return err
	}
	*waits = append(*waits, time.Since(began))
	return nil
}
