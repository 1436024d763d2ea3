// Package control is how commands reach the running server, by two sockets:
//
//	$queue_directory/postern/control    mode 0600: everything, for the user that the server runs as, and root
//	$queue_directory/postern/public     mode 0666: looking at the queue and flushing it, for authorized users
//
// # Protocol
//
// A client connects and sends one Request as a line of JSON. The server answers
// with lines of JSON: as many items as the command has to show, word of how far
// it is now and then, and one end.
//
//	C: {"version":1,"command":"queue.list","data":{"sender":"@example.org"}}
//	S: {"item":{"id":"0000000004D2", ...}}
//	S: {"item":{"id":"0000000004D3", ...}}
//	S: {"end":{}}
//
// A command may take as long as it needs. It is told to stop, by its context,
// when the client has gone; and a client that does not read what it asked for is
// hung up on after a minute. Client and server have to be of the same Version.
//
// Who asks is known from the kernel (SO_PEERCRED), not from the request. Nothing
// that was sent is executed; the server knows its commands by name.
//
// Not here: what the commands do, and who may give them. The queue's are in
// control/mailq.
//
// It imports only the standard library and golang.org/x/sys/unix.
package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Version of the protocol.
const Version = 1

// Request is one command.
type Request struct {
	Version int             `json:"version"`
	Command string          `json:"command"` // "reload", "status", "queue.list"
	Args    []string        `json:"args,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Peer    Peer            `json:"-"` // who asks; the server fills it in
}

// Peer is the process at the other end.
type Peer struct {
	UID, GID uint32
	PID      int32
}

// Response is the end of an answer. Error is set when the command failed.
type Response struct {
	Error    string          `json:"error,omitempty"`
	Code     Code            `json:"code,omitempty"` // class of the error
	Text     string          `json:"text,omitempty"` // for people
	Warnings []string        `json:"warnings,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"` // for programs
}

// Code is the class of an error. The empty one is a failure without a class.
type Code string

// Classes of errors.
const (
	Usage    Code = "usage"     // the request makes no sense
	NotFound Code = "not-found" // there is no such message
	Denied   Code = "denied"    // this user may not
	Refused  Code = "refused"   // not in this state of things
)

// Error is a failure that the server told.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return e.Text }

// Fail is the Response of a command that failed.
func Fail(code Code, err error) Response { return Response{Error: err.Error(), Code: code} }

// ErrNoServer says that no server listens on the socket.
var ErrNoServer = errors.New("no server is running")

// Stream takes what comes before the end of an answer.
type Stream interface {
	// Item sends one thing, as JSON. An error means that nobody listens any
	// more.
	Item(v any) error
	// Progress says how much is done of how much; a total of 0 is unknown.
	Progress(done, total int)
}

// Handler carries out a command. Its context ends when the client has gone or
// the server stops.
type Handler func(ctx context.Context, r Request, out Stream) Response

// Progress is how much is done of how much.
type Progress struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// Sink is what a client does with what it receives. Nil functions drop it.
type Sink struct {
	Item     func(json.RawMessage) error // an error ends the command
	Progress func(Progress)
}

func (s Sink) take(f frame) error {
	switch {
	case f.Item != nil && s.Item != nil:
		return s.Item(f.Item)
	case f.Progress != nil && s.Progress != nil:
		s.Progress(*f.Progress)
	}
	return nil
}

// frame is one line of an answer: exactly one of its fields is set.
type frame struct {
	Item     json.RawMessage `json:"item,omitempty"`
	Progress *Progress       `json:"progress,omitempty"`
	End      *Response       `json:"end,omitempty"`
}

// parseRequest reads a request line.
func parseRequest(line []byte) (Request, error) {
	var r Request
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("bad request: %w", err)
	}
	if r.Version != Version {
		return r, fmt.Errorf("the command speaks version %d of the control protocol, the server version %d: restart the server, or use the program that it runs",
			r.Version, Version)
	}
	return r, nil
}

// errAnswer is an answer that is not one.
var errAnswer = errors.New("the server's answer makes no sense")

// parseFrame reads a line of an answer.
func parseFrame(line []byte) (frame, error) {
	var f frame
	if err := json.Unmarshal(line, &f); err != nil {
		return f, fmt.Errorf("%w: %w", errAnswer, err)
	}
	n := 0
	for _, set := range []bool{f.Item != nil, f.Progress != nil, f.End != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		return f, fmt.Errorf("%w: %.80q", errAnswer, line)
	}
	return f, nil
}

// errTooLong is a line longer than its reader allows.
var errTooLong = errors.New("line too long")

// readLine reads up to and without the next newline. An end of the input before
// it is io.ErrUnexpectedEOF.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, errTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line, []byte("\n")), nil
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
