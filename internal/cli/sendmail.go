package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/header"
	"postern/internal/maildrop"
	"postern/internal/server"
)

// Exit statuses of sysexits(3) that sendmail uses.
const (
	exUsage       = 64 // wrong call, no recipient
	exDataErr     = 65 // bad address
	exUnavailable = 69 // message too large
	exTempFail    = 75 // try again: the mail system cannot take it now
	exConfig      = 78 // main.cf is broken
)

// sendmail submits a message from the command line: sendmail(1) in Postfix's
// form. It writes into the maildrop and needs no running server.
func sendmail(ctx context.Context, env Env) int {
	fail := func(status int, err error) int {
		fmt.Fprintf(env.Stderr, "sendmail: fatal: %v\n", err)
		return status
	}
	c, err := parseSendmail(env)
	if err != nil {
		return fail(exUsage, err)
	}
	settings, err := server.LoadSettings(c.dir)
	if err != nil {
		return fail(exConfig, err)
	}
	for _, w := range c.warnings {
		fmt.Fprintf(env.Stderr, "sendmail: warning: %s\n", w)
	}
	switch {
	case c.queue != nil && len(c.queue) == 0, c.mode == "h", c.mode == "H":
		return 0
	case c.queue != nil:
		return c.callQueue(ctx, env, c.queue)
	case c.mode == "p":
		return c.callQueue(ctx, env, []string{"-p"})
	case c.mode == "i":
		return newaliases(ctx, env)
	case c.mode == "s":
		if err := sendmailSMTP(ctx, env, settings); err != nil {
			return fail(exConfig, err)
		}
		return 0
	}
	if st, err := c.submit(env, settings); err != nil {
		return fail(st, err)
	}
	return 0
}

// submit checks the addresses and writes the message into the maildrop.
func (c *sendmailCall) submit(env Env, settings *config.Settings) (int, error) {
	e := maildrop.Envelope{
		FullName: c.fullName, FromHeader: c.fromHeader, Notify: c.notify, Ret: c.ret, EnvID: c.envid,
		EightBit: c.eightBit, Verify: c.mode == "v", Report: c.mode != "v" && c.verbose > 0,
	}
	var err error
	if e.Sender, err = c.envelopeSender(env); err != nil {
		return exDataErr, err
	}
	for _, r := range c.recipients {
		list, err := address.ParseList(r)
		if err != nil || len(list) == 0 {
			return exDataErr, fmt.Errorf("recipient %q: bad address syntax", r)
		}
		for _, a := range list {
			e.Recipients = append(e.Recipients, a.String())
		}
	}
	body, st, err := c.text(env, settings, &e)
	if err != nil {
		return st, err
	}
	dir := server.MaildropDirectory(settings)
	err = maildrop.Submit(dir, e, body)
	switch {
	case errors.Is(err, errTooBig):
		return exUnavailable, err
	case errors.Is(err, fs.ErrNotExist):
		return exTempFail, fmt.Errorf("no mail system here yet: start the server once (%w)", err)
	case err == nil && (e.Verify || e.Report):
		fmt.Fprintf(env.Stdout, "Mail Delivery Status Report will be mailed to <%s>.\n", e.Sender)
	}
	return exTempFail, err
}

// text is the message: standard input, or with -bv one that is never delivered.
// With an error comes the exit status.
func (c *sendmailCall) text(env Env, settings *config.Settings, e *maildrop.Envelope) (io.Reader, int, error) {
	if !c.fromHeader && len(e.Recipients) == 0 {
		return nil, exUsage, errors.New("recipient addresses must be specified on the command line or via the -t option")
	}
	if e.Verify {
		to := strings.Join(e.Recipients, ",\n\t")
		return strings.NewReader("Subject: probe\nTo: " + to + "\n"), 0, nil
	}
	in := &lineReader{r: bufio.NewReaderSize(env.Stdin, 64<<10), dots: !c.ignoreDots, limit: settings.Int64("message_size_limit")}
	if !c.fromHeader {
		return in, 0, nil
	}
	head, err := readHeader(in)
	if err != nil {
		return nil, exTempFail, err
	}
	if len(e.Recipients) == 0 && !hasRecipients(head) {
		return nil, exUsage, errors.New("no recipient addresses found in message header")
	}
	return io.MultiReader(bytes.NewReader(head), in), 0, nil
}

// envelopeSender is -f, or the login name. <> is the null sender.
func (c *sendmailCall) envelopeSender(env Env) (string, error) {
	if c.haveSender {
		if c.sender == "" || c.sender == "<>" {
			return "", nil
		}
		a, err := address.Parse(strings.Trim(c.sender, "<>"))
		if err != nil {
			return "", fmt.Errorf("sender %q: %w", c.sender, err)
		}
		return a.String(), nil
	}
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		return u.Username, nil
	}
	if name := env.Getenv("LOGNAME"); name != "" {
		return name, nil
	}
	return "", fmt.Errorf("user id %d has no name: use -f", os.Getuid())
}

// readHeader reads up to the empty line, at most 1 MiB.
func readHeader(r io.Reader) ([]byte, error) {
	var head []byte
	buf := make([]byte, 32<<10)
	for len(head) < 1<<20 {
		n, err := r.Read(buf)
		head = append(head, buf[:n]...)
		if err == io.EOF || bytes.Contains(head, []byte("\n\n")) {
			return head, nil
		}
		if err != nil {
			return head, err
		}
	}
	return head, nil
}

// hasRecipients reports whether a header has an address to deliver to.
func hasRecipients(head []byte) bool {
	for f := range header.Fields(head) {
		name := strings.TrimPrefix(strings.ToLower(string(f.Name)), "resent-")
		if name != "to" && name != "cc" && name != "bcc" {
			continue
		}
		if list, err := address.ParseList(f.Unfold()); err == nil && len(list) > 0 {
			return true
		}
	}
	return false
}

var errTooBig = errors.New("message file too big")

// lineReader passes on lines with LF ends, up to a lone dot unless -i was
// given.
type lineReader struct {
	r     *bufio.Reader
	dots  bool
	limit int64 // octets; 0: none
	total int64
	rest  []byte
	bol   bool // what was passed on ends a line
	begun bool
	err   error
}

func (l *lineReader) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		l.next()
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	l.total += int64(n)
	if l.limit > 0 && l.total > l.limit {
		return 0, errTooBig
	}
	return n, nil
}

// next reads one line, or a piece of a very long one.
func (l *lineReader) next() {
	line, err := l.r.ReadSlice('\n')
	start := !l.begun || l.bol
	l.begun = true
	l.bol = bytes.HasSuffix(line, []byte("\n"))
	if l.bol && bytes.HasSuffix(line, []byte("\r\n")) {
		line = append(line[:len(line)-2:len(line)-2], '\n')
	}
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		l.err = err
	}
	if l.dots && start && (string(line) == ".\n" || string(line) == ".") {
		l.err, line = io.EOF, nil
	}
	l.rest = line
}
