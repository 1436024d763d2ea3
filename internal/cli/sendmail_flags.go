package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"postern/internal/smtp"
)

// sendmailCall is what the command line of sendmail asked for.
type sendmailCall struct {
	mode       string // m, s, v, p, i, h
	sender     string
	haveSender bool
	fullName   string
	fromHeader bool
	ignoreDots bool
	queue      []string // arguments of postqueue; nil: nothing is asked of the queue
	verbose    int      // -v: once for a report, more for talk
	eightBit   bool
	notify     string
	ret        string
	envid      string
	dir        string
	warnings   []string
	recipients []string
}

// parentOfMain is the configuration directory that -C names: itself, or by the
// main.cf in it. What does not exist is missed by its name when it is read.
func parentOfMain(name string) string {
	info, err := os.Stat(name)
	if filepath.Base(name) == "main.cf" || err == nil && info.Mode().IsRegular() {
		return filepath.Dir(name)
	}
	return name
}

// sendmailFlags are the options of sendmail(1), for getopt.
const sendmailFlags = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:tvx"

// parseSendmail reads the flags. Those without a meaning here are accepted.
func parseSendmail(env Env) (sendmailCall, error) {
	c := sendmailCall{mode: "m", dir: defaultDir(env)}
	opts, rest, err := getopt(env.Args[1:], sendmailFlags, "q")
	if err != nil {
		return c, err
	}
	for _, o := range opts {
		if err := c.option(o); err != nil {
			return c, err
		}
	}
	if !strings.Contains("m s v i p h H", c.mode) || c.mode == "" {
		return c, fmt.Errorf("unsupported: -b%s", c.mode)
	}
	if abs, err := filepath.Abs(c.dir); err == nil {
		c.dir = abs
	}
	if c.recipients = rest; len(rest) > 0 && c.mode == "i" {
		return c, errors.New("alias initialization mode requires no recipient")
	}
	if err := c.requireNoRecipient(); err != nil {
		return c, err
	}
	if c.fromHeader && c.mode == "v" {
		return c, errors.New("-t option cannot be used with -bv")
	}
	if c.fullName == "" {
		c.fullName = fullName(env)
	}
	return c, nil
}

// requireNoRecipient is an error for recipients where the queue is shown or flushed.
func (c *sendmailCall) requireNoRecipient() error {
	switch {
	case len(c.recipients) == 0:
	case c.queue != nil:
		return errors.New("flush queue mode requires no recipient")
	case c.mode == "p":
		return errors.New("display queue mode requires no recipient; -C names the configuration")
	}
	return nil
}

// option takes one flag.
func (c *sendmailCall) option(o option) error {
	switch o.letter {
	case 'B':
		if c.eightBit = strings.EqualFold(o.value, "8BITMIME"); !c.eightBit && !strings.EqualFold(o.value, "7BIT") {
			return errors.New("-B option needs 8BITMIME or 7BIT")
		}
	case 'C':
		c.dir = parentOfMain(o.value)
	case 'F':
		c.fullName = o.value
	case 'f', 'r':
		c.sender, c.haveSender = o.value, true
	case 'N', 'R', 'V':
		c.dsn(o)
	case 'X':
		if strings.HasPrefix(o.value, "V") {
			return errors.New("-XV option is not supported: there are no variable envelope return paths here")
		}
	case 't':
		c.fromHeader = true
	case 'i':
		c.ignoreDots = true
	case 'o':
		c.ignoreDots = c.ignoreDots || o.value == "i"
	case 'v':
		c.verbose++
	case 'q':
		return c.flush(o.value)
	case 'b':
		c.mode = o.value
	case 'I':
		c.mode = "i"
	}
	return nil
}

// dsn takes a wish about reports. One that nobody understands is left out with a
// warning, as Postfix does: the message matters more.
func (c *sendmailCall) dsn(o option) {
	ignored := ""
	switch o.letter {
	case 'N':
		if _, ok := smtp.ParseNotify(strings.ReplaceAll(o.value, " ", "")); !ok {
			ignored = "bad -N option value -- ignored"
			break
		}
		c.notify = strings.ToUpper(strings.ReplaceAll(o.value, " ", ""))
	case 'R':
		if ret := strings.ToUpper(o.value); ret == "FULL" || ret == "HDRS" {
			c.ret = ret
			break
		}
		ignored = "bad -R option value -- ignored"
	case 'V':
		if c.envid = o.value; o.value == "" || strings.ContainsFunc(o.value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			c.envid, ignored = "", "bad syntax in -V option value -- ignored"
		}
	}
	if ignored != "" {
		c.warnings = append(c.warnings, ignored)
	}
}

// flush takes the value of -q: nothing for all mail, I and an id, R and a site. An
// interval between queue runs is ignored.
func (c *sendmailCall) flush(value string) error {
	switch {
	case value == "":
		c.queue = []string{"-f"}
	case value == "I" || value == "R":
		return fmt.Errorf("specify: -q%s%s", value, map[string]string{"I": "queueid", "R": "sitename"}[value])
	case value[0] == 'I':
		c.queue = []string{"-i", value[1:]}
	case value[0] == 'R':
		c.queue = []string{"-s", value[1:]}
	case '0' <= value[0] && value[0] <= '9':
		c.queue = []string{}
	default:
		return fmt.Errorf("-q%c is not implemented", value[0])
	}
	return nil
}

// fullName is the name of the person who calls: $NAME, or that of the account.
func fullName(env Env) string {
	if name := env.Getenv("NAME"); name != "" {
		return name
	}
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		return u.Name
	}
	return ""
}

// runMailq is the command mailq: sendmail(1) that shows the queue unless it is told
// to flush it. Wrong calls exit 75, as there.
func runMailq(ctx context.Context, env Env) int {
	env.Args = append([]string{"mailq", "-bp"}, env.Args[1:]...)
	c, err := parseSendmail(env)
	if err == nil && c.mode != "p" {
		err = fmt.Errorf("unsupported: -b%s", c.mode)
	}
	if err != nil {
		fmt.Fprintf(env.Stderr, "mailq: fatal: %v\n", err)
		return exTempFail
	}
	switch {
	case c.queue == nil:
		return c.callQueue(ctx, env, []string{"-p"})
	case len(c.queue) == 0:
		return 0
	}
	return c.callQueue(ctx, env, c.queue)
}

// callQueue runs postqueue, as sendmail(1) does.
func (c *sendmailCall) callQueue(ctx context.Context, env Env, args []string) int {
	env.Args = append([]string{"postqueue", "-c", c.dir}, args...)
	return runPostqueue(ctx, env)
}
