package smtpc

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// listen serves one connection on the loopback interface and returns the other
// end of it. The test waits for serve, and fails with its error.
func listen(t testing.TB, serve func(net.Conn) error) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		conn, err := l.Accept()
		l.Close()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if err := serve(conn); err != nil {
			t.Error(err)
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		done.Wait()
	})
	return conn
}

// script is a server that follows a dialogue, a step a line:
//
//	S: text   send text and CRLF
//	S+ text   send text without CRLF
//	C: text   expect this line
//	BODY      read lines up to the final dot
//	CHUNK n   expect BDAT with n octets of text, the last ones, and read them
//	CLOSED    the client closes the connection without another word
//	WAIT      read until the client closes the connection
//
// At the end of the dialogue the connection is closed; "RESET" closes it so that
// the client sees a reset.
func script(dialogue string) func(net.Conn) error {
	return func(conn net.Conn) error {
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return err
		}
		r := bufio.NewReader(conn)
		for step := range strings.Lines(strings.TrimSpace(dialogue)) {
			if err := play(conn, r, strings.TrimSpace(step)); err != nil {
				return fmt.Errorf("at %q: %w", strings.TrimSpace(step), err)
			}
		}
		return nil
	}
}

func play(conn net.Conn, r *bufio.Reader, step string) error {
	kind, text, _ := strings.Cut(step, " ")
	switch kind {
	case "S:":
		_, err := fmt.Fprintf(conn, "%s\r\n", text)
		return err
	case "S+":
		_, err := fmt.Fprint(conn, text)
		return err
	case "C:":
		line, err := r.ReadString('\n')
		if err == nil && line != text+"\r\n" {
			return fmt.Errorf("client says %q", line)
		}
		return err
	case "BODY":
		for {
			line, err := r.ReadString('\n')
			if err != nil || line == ".\r\n" {
				return err
			}
		}
	case "CHUNK":
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		line, err := r.ReadString('\n')
		if err == nil && line != "BDAT "+text+" LAST\r\n" {
			return fmt.Errorf("client says %q", line)
		}
		if err == nil {
			_, err = io.CopyN(io.Discard, r, int64(n))
		}
		return err
	case "CLOSED":
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			return fmt.Errorf("client says %q, %v", rest, err)
		}
		return nil
	case "WAIT":
		for {
			if _, err := r.ReadByte(); err != nil {
				return nil
			}
		}
	case "RESET":
		return conn.(*net.TCPConn).SetLinger(0)
	}
	return fmt.Errorf("no such step")
}
