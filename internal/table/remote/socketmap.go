package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/internal/table"
)

// maxReply is how many bytes a reply of socketmap: may have.
const maxReply = 100_000

// maxDigits is how many digits of its length are read.
const maxDigits = 20

// Socketmap opens a socketmap: table (socketmap_table(5)). name is
// "inet:host:port:NAME" or "unix:path:NAME", where NAME is the server's name of
// the table. The server is not contacted before the first lookup.
func Socketmap(_ context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	spec := "socketmap:" + name
	if err := forbidden(spec, use); err != nil {
		return nil, err
	}
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return nil, errors.New("socketmap requires server:socketmap argument")
	}
	e, err := parseEndpoint(o, name[:i])
	if err != nil {
		return nil, err
	}
	return newClient(o, spec, use, socketmap{name[i+1:]}, e), nil
}

// socketmap is the protocol; table is the server's name of the table.
type socketmap struct{ table string }

func (p socketmap) question(key string) string { return p.table + " " + key }

// exchange sends "NAME KEY" and reads one netstring.
func (p socketmap) exchange(c *conn, key string) (string, error) {
	question := p.question(key)
	if _, err := fmt.Fprintf(c, "%d:%s,", len(question), question); err != nil {
		return "", err
	}
	reply, err := readNetstring(c.in)
	if err != nil {
		return "", err
	}
	status, text, hasText := strings.Cut(beforeNUL(reply), " ")
	switch status {
	case "OK":
		if !hasText {
			return "", table.ErrNotFound // as in Postfix 3.7
		}
		return text, nil
	case "NOTFOUND":
		return "", table.ErrNotFound
	case "TEMP", "TIMEOUT":
		return "", bad("the server says %q", visible(beforeNUL(reply)))
	case "PERM":
		return "", &badReply{fmt.Sprintf("the server says %q", visible(beforeNUL(reply))), true}
	}
	return "", bad("malformed reply: %s", quote(reply))
}

// readNetstring reads "LENGTH:text,". io.EOF, alone or as
// io.ErrUnexpectedEOF, means that the other side hung up.
func readNetstring(in *bufio.Reader) (string, error) {
	n, err := readLength(in)
	if err != nil {
		return "", err
	}
	text := make([]byte, n+1) // with the comma
	if _, err := io.ReadFull(in, text); err != nil {
		return "", err
	}
	if text[n] != ',' {
		return "", bad("malformed reply: no comma after the %d bytes %s", n, quote(string(text[:n])))
	}
	return string(text[:n]), nil
}

// readLength reads the length of a netstring and the colon behind it. No digits
// at all are zero.
func readLength(in *bufio.Reader) (int, error) {
	var seen [maxDigits]byte
	n := 0
	for i := range seen {
		c, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		seen[i] = c
		if c == ':' {
			return n, nil
		}
		if c < '0' || c > '9' {
			return 0, bad("malformed reply: %s... is no netstring", quote(string(seen[:i+1])))
		}
		if n = n*10 + int(c-'0'); n > maxReply {
			return 0, bad("reply longer than %d bytes: length %s", maxReply, quote(string(seen[:i+1])))
		}
	}
	return 0, bad("malformed reply: %s... is no netstring", quote(string(seen[:])))
}
