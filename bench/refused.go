package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// silence is how long the server may say nothing to anybody, in milliseconds.
const silence = 30_000

// asker asks a server for recipients that it must refuse, each in a write of its
// own when the last is answered. One thread serves all sessions: with a goroutine for
// each, the load would cost as much as the answers, and be what is measured.
type asker struct {
	plan
	poll     int // of epoll(7)
	open     map[int32]*bytes.Buffer
	asked    int
	answered int
	requests [][]byte
	reply    [1024]byte
}

// refused asks for p.Messages recipients.
func (p plan) refused() error {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create: %w", err)
	}
	defer unix.Close(poll)
	a := &asker{plan: p, poll: poll, open: map[int32]*bytes.Buffer{}}
	for n := range p.Addresses {
		a.requests = append(a.requests, fmt.Appendf(nil, "RCPT TO:<"+p.Recipient+">\r\n", n))
	}
	for range p.Sessions {
		f, err := a.join()
		if err != nil {
			return err
		}
		defer f.Close()
	}
	events := make([]unix.EpollEvent, p.Sessions)
	began := time.Now()
	for a.answered < p.Messages && time.Since(began) < deadline {
		n, err := unix.EpollWait(poll, events, silence)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = errors.New("the server says nothing")
		}
		if err != nil {
			return fmt.Errorf("after %d of %d recipients: %w", a.answered, p.Messages, err)
		}
		for _, e := range events[:n] {
			if err := a.hear(e.Fd); err != nil {
				return err
			}
		}
	}
	if a.answered < p.Messages {
		return fmt.Errorf("%d of %d recipients were answered in %v", a.answered, p.Messages, deadline)
	}
	return nil
}

// join begins a session, and asks for its first recipient.
func (a *asker) join() (*os.File, error) {
	d, err := a.dial()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := d.say("250", "MAIL FROM:<sender@client.example>"); err != nil {
		return nil, err
	}
	f, err := d.Conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, err
	}
	fd := int32(f.Fd())
	a.open[fd] = &bytes.Buffer{}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: fd}
	err = unix.EpollCtl(a.poll, unix.EPOLL_CTL_ADD, int(fd), &event)
	if err == nil {
		err = a.ask(fd)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ask sends the next recipient, if there is one.
func (a *asker) ask(fd int32) error {
	if a.asked == a.Messages {
		return nil
	}
	request := a.requests[a.asked%len(a.requests)]
	a.asked++
	n, err := unix.Write(int(fd), request)
	if err == nil && n < len(request) {
		err = io.ErrShortWrite
	}
	return err
}

// hear reads what there is of a reply, and asks again at its end.
func (a *asker) hear(fd int32) error {
	n, err := unix.Read(int(fd), a.reply[:])
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	text := a.reply[:n]
	if part := a.open[fd]; part.Len() > 0 || text[n-1] != '\n' {
		part.Write(text)
		if text[n-1] != '\n' {
			return nil
		}
		text = append([]byte(nil), part.Bytes()...)
		part.Reset()
	}
	if !bytes.HasPrefix(text, []byte("550 ")) {
		return fmt.Errorf("want 550, got %q", text)
	}
	a.answered++
	return a.ask(fd)
}
