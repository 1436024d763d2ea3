// Package reach words why a server cannot be reached, for people who want to
// know what to do about it. The tables that ask a server share it.
//
// It imports only the standard library.
package reach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// Server says what runs behind an address, for advice. The zero Server is just
// "the server".
type Server struct {
	Name   string        // of the program
	Socket string        // what decides about its socket, "" when that is plain
	Listen string        // what decides about its address and port
	Wait   time.Duration // how long a connection attempt may take
}

// Cause is the error of a connection attempt in plain words, with what to do
// about it; it wraps err. unix says that it went to a socket in the file system.
// An error that is not one of the network comes back without the words that
// package net put around it.
func (s Server) Cause(err error, unix bool) error {
	if text := s.advice(err, unix); text != "" {
		return &cause{text, err}
	}
	return plain(err)
}

// cause is an error in other words.
type cause struct {
	text string
	err  error
}

func (c *cause) Error() string { return c.text }

func (c *cause) Unwrap() error { return c.err }

// advice is what Cause says, "" when there is nothing to advise.
func (s Server) advice(err error, unix bool) string {
	name := s.Name
	if name == "" {
		name = "the server"
	}
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("there is no host of the name %q: correct the name, or see what \"getent hosts %s\" says", dns.Name, dns.Name)
	case errors.Is(err, fs.ErrNotExist) && unix:
		return fmt.Sprintf("there is no such socket: is %s running on this machine, and is this its socket%s?", name, inBrackets(s.Socket))
	case errors.Is(err, syscall.ECONNREFUSED) && unix:
		return fmt.Sprintf("connection refused: nobody listens on this socket; is %s running?", name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("connection refused: is %s running there, and does it listen on this address and port%s?", name, inBrackets(s.Listen))
	case errors.Is(err, fs.ErrPermission) && unix:
		return "permission denied: the user that the mail server runs as may not use this socket"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to the host: is it up, and is the address right?"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer within %v: is the host up, or does a firewall drop the packets?", s.Wait)
	}
	return ""
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// plain leaves out which address and name server were asked, and by what call.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return errors.New(dns.Err)
	}
	return err
}
