package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postern/internal/table"
)

// TCP opens a tcp: table (tcp_table(5)). name is "host:port", "[host]:port",
// ":port" or "port". The server is not contacted before the first lookup.
func TCP(_ context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	spec := "tcp:" + name
	if err := forbidden(spec, use); err != nil {
		return nil, err
	}
	e, err := parseInet(name)
	if err != nil {
		return nil, err
	}
	return newClient(o, spec, use, tcp{}, e), nil
}

type tcp struct{}

func (tcp) question(key string) string { return "get " + encode(key) }

// exchange sends "get KEY" and reads one line.
func (p tcp) exchange(c *conn, key string) (string, error) {
	if _, err := c.Write([]byte(p.question(key) + "\n")); err != nil {
		return "", err
	}
	line, err := c.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", bad("reply longer than %d bytes: %s", readAhead, quote(string(line)))
	}
	if err != nil {
		return "", err
	}
	return parseReply(beforeNUL(string(line[:len(line)-1])))
}

// parseReply takes a reply apart: three digits, white space, text.
func parseReply(reply string) (string, error) {
	if len(reply) < 4 || strings.Trim(reply[:3], "0123456789") != "" || !isSpace(reply[3]) {
		return "", bad("malformed reply: %s", quote(reply))
	}
	text, ok := decode(reply[4:])
	if !ok {
		return "", bad("malformed reply: %s", quote(reply))
	}
	switch reply[0] {
	case '2':
		return beforeNUL(text), nil
	case '4':
		return "", bad("the server says %q", visible(reply[:4]+text))
	case '5':
		return "", table.ErrNotFound
	}
	return "", bad("bad status code: %s", quote(reply))
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// encode writes all bytes but visible ASCII, and the percent sign, as %XX.
func encode(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if c := text[i]; c > ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// decode is the inverse of encode. It bears bytes that are not encoded; ok is
// false when two hexadecimal digits do not follow a percent sign.
func decode(text string) (plain string, ok bool) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "%")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		if len(after) < 2 {
			return "", false
		}
		c, err := strconv.ParseUint(after[:2], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		text = after[2:]
	}
}
