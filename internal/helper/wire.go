package helper

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Bounds of what is taken from the other side. A frame that is larger, or that
// is not exactly what its kind says, ends the connection.
const (
	maxFrame  = 1 << 20
	maxInline = 256 << 10 // message texts up to this size travel with the request
	maxPiece  = 256 << 10 // of a larger text
	maxList   = 4096      // elements of a list
)

// headLength is the length of a frame's head: four bytes for the length of what
// follows the head, little-endian, and one for the kind.
const headLength = 5

// kind is what a frame says.
type kind byte

// Requests of the server, and what both sides say in the course of one.
const (
	askDeliver kind = iota + 1 // store a message in mailboxes
	askRun                     // run a command; its input follows as a descriptor
	askRead                    // read a file as somebody
	askOpen                    // open a file that the configuration names
	askLog                     // open the log file
	askListen                  // open a listener of master.cf
	askRefresh                 // a step of a reload
	askMaildir                 // is there a Maildir?
	askDevice                  // keep the file system of a directory open
	askSync                    // sync such a file system
	askMail                    // look at delivered files, or make them durable
	askPresent                 // are you there?
	sayPiece                   // a piece of a message text
	sayFailed                  // there is no such piece
	sayPart                    // a part of a file that was read; the rest is in the answer
	sayInput                   // the descriptor of a command's input
	wantPiece                  // the helper wants a piece of the text
	wantInput                  // the helper is ready for a command's input
	answer                     // the end of every request
)

var errFrame = errors.New("malformed message between the server and its helper")

// frame begins a frame in b; seal completes it.
func frame(b []byte, k kind) []byte { return append(b[:0], 0, 0, 0, 0, byte(k)) }

func seal(b []byte) ([]byte, error) {
	if len(b)-headLength > maxFrame {
		return nil, fmt.Errorf("%w: %d bytes", errFrame, len(b))
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-headLength))
	return b, nil
}

// link is one connection between the two processes.
type link struct {
	fd   int
	file *os.File // of fd, for reading, writing and closing
	in   []byte   // what was read last
	out  []byte
	hung bool // hung up, for the end of a request that lasts
}

// newLink takes over a socket, which may be waited for by the poller of the
// runtime or, when it blocks, in a system call.
func newLink(fd int) *link { return &link{fd: fd, file: os.NewFile(uintptr(fd), "helper")} }

// close ends the connection.
func (l *link) close() { _ = l.file.Close() }

// send writes a frame that was begun in out.
func (l *link) send(b []byte) error {
	l.out = b
	b, err := seal(b)
	if err != nil {
		return err
	}
	return l.write(b)
}

func (l *link) write(b []byte) error {
	_, err := l.file.Write(b)
	return err
}

// receive reads one frame. The payload is good until the next call.
func (l *link) receive() (kind, []byte, error) {
	if cap(l.in) == 0 {
		l.in = make([]byte, 8<<10)
	}
	l.in = l.in[:cap(l.in)]
	have := 0
	for {
		n, err := l.file.Read(l.in[have:])
		if err != nil {
			return 0, nil, err
		}
		have += n
		if have < headLength {
			continue
		}
		length := int(binary.LittleEndian.Uint32(l.in))
		switch {
		case length > maxFrame || have > headLength+length:
			return 0, nil, errFrame
		case have == headLength+length:
			return kind(l.in[4]), l.in[headLength:have], nil
		}
		l.grow(headLength + length)
	}
}

func (l *link) grow(size int) {
	if size > len(l.in) {
		l.in = append(make([]byte, 0, size), l.in...)[:size]
	}
}

// shrink gives large buffers back after a large request.
func (l *link) shrink() {
	const keep = 128 << 10
	if cap(l.in) > keep {
		l.in = nil
	}
	if cap(l.out) > keep {
		l.out = nil
	}
}

// receivePiece reads a frame of the kind sayPiece right into p, which it has to
// fill.
func (l *link) receivePiece(p []byte) error {
	var head [headLength]byte
	if err := l.readFull(head[:]); err != nil {
		return err
	}
	length := int(binary.LittleEndian.Uint32(head[:]))
	switch kind(head[4]) {
	case sayPiece:
		if length != len(p) {
			return errFrame
		}
		return l.readFull(p)
	case sayFailed:
		if length > maxPath {
			return errFrame
		}
		text := make([]byte, length)
		if err := l.readFull(text); err != nil {
			return err
		}
		return textError(text)
	}
	return errFrame
}

// textError is why the server cannot read a text that it has.
type textError string

func (e textError) Error() string { return string(e) }

// sendFile sends a frame together with a descriptor.
func (l *link) sendFile(b []byte, fd int) error {
	l.out = b
	b, err := seal(b)
	if err != nil {
		return err
	}
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var sent error
	err = raw.Write(func(sock uintptr) bool {
		sent = again(func() error {
			n, err = unix.SendmsgN(int(sock), b, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
			return err
		})
		return sent != unix.EAGAIN
	})
	switch {
	case err != nil:
		return err
	case sent == nil && n < len(b):
		return io.ErrShortWrite // frames with a descriptor are short
	}
	return sent
}

// receiveFile reads a short frame that may bring a descriptor; -1: it has none.
func (l *link) receiveFile() (kind, []byte, int, error) {
	b := make([]byte, headLength+maxPath)
	oob := make([]byte, unix.CmsgSpace(4*4)) // more than one is refused, and closed
	n, oobn, err := l.receiveMessage(b, oob)
	if err != nil {
		return 0, nil, -1, err
	}
	fd, err := descriptor(oob[:oobn])
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil && (n < headLength || int(binary.LittleEndian.Uint32(b)) != n-headLength) {
		err = errFrame
	}
	if err != nil {
		closeFile(fd)
		return 0, nil, -1, err
	}
	return kind(b[4]), b[headLength:n], fd, nil
}

func (l *link) receiveMessage(b, oob []byte) (n, oobn int, err error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var got error
	err = raw.Read(func(sock uintptr) bool {
		got = again(func() (err error) {
			n, oobn, _, _, err = unix.Recvmsg(int(sock), b, oob, unix.MSG_CMSG_CLOEXEC)
			return err
		})
		return got != unix.EAGAIN
	})
	return n, oobn, cmp.Or(err, got)
}

// descriptor takes the one descriptor of a control message.
func descriptor(oob []byte) (int, error) {
	if len(oob) == 0 {
		return -1, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1, err
	}
	var all []int
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, fds...)
		}
	}
	if len(all) != 1 {
		for _, fd := range all {
			closeFile(fd)
		}
		return -1, errFrame
	}
	return all[0], nil
}

func closeFile(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

func (l *link) readFull(p []byte) error {
	_, err := io.ReadFull(l.file, p)
	return err
}
