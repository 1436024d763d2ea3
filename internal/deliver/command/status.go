package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"postern/internal/deliver"
	"postern/internal/privsep"
)

// exits are the exit statuses of sysexits.h, as pipe(8) of Postfix reads them.
var exits = map[int]struct{ dsn, text string }{
	64: {"5.3.0", "command line usage error"},
	65: {"5.6.0", "data format error"},
	66: {"5.3.0", "cannot open input"},
	67: {"5.1.1", "user unknown"},
	68: {"5.1.2", "host name unknown"},
	69: {"5.3.0", "service unavailable"},
	70: {"5.3.0", "internal software error"},
	71: {"4.3.0", "system resource problem"},
	72: {"5.3.0", "critical OS file missing"},
	73: {"5.2.0", "can't create user output file"},
	74: {"5.3.0", "input/output error"},
	75: {"4.3.0", "temporary failure"},
	76: {"5.5.0", "remote error in protocol"},
	77: {"5.7.0", "permission denied"},
	78: {"5.3.5", "local configuration error"},
}

// Status is the fate of a recipient whose mail was given to a program. name is
// the program for the texts, "/usr/bin/procmail -a x". Kind, DSN, Reason and
// Output are filled in; the reason of Sent is for the agent to say.
//
// What could not be started waits. A program that exits with a status other
// than 0 may say what it means: output that begins with an enhanced status code
// (RFC 3463) counts more than the exit status. See pipe(8), DIAGNOSTICS.
func Status(name string, r Result, err error) deliver.Status {
	switch {
	case err != nil:
		return notRun(name, err)
	case r.TimedOut:
		return ended("5.3.0", fmt.Sprintf("Command time limit exceeded: %q", name), r.Output)
	case r.Signal != 0:
		return ended("4.3.0", fmt.Sprintf("Command died with signal %d: %q", r.Signal, name), r.Output)
	case r.Status == 0:
		return deliver.Status{Kind: deliver.Sent, DSN: "2.0.0"}
	}
	output := Printable(r.Output)
	if dsn, text, ok := splitStatus(output); ok {
		s := failure(dsn, text)
		s.Output = text
		return s
	}
	if known, ok := exits[r.Status]; ok {
		return ended(known.dsn, known.text, r.Output)
	}
	return ended("5.3.0", fmt.Sprintf("Command died with status %d: %q", r.Status, name), r.Output)
}

// notRun defers. Who may not be become is a matter of the configuration.
func notRun(name string, err error) deliver.Status {
	var text *TextError
	switch {
	case errors.As(err, &text):
		return failure("4.3.0", "message text is not readable")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return failure("4.3.2", "delivery was interrupted")
	case errors.Is(err, privsep.ErrRoot), errors.Is(err, privsep.ErrNotRoot):
		return failure("4.3.5", fmt.Sprintf("cannot run command %q: %v", name, err))
	}
	reason := err.Error()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		reason = strings.ToUpper(errno.Error()[:1]) + errno.Error()[1:]
	}
	return ended("4.3.0", exits[75].text, fmt.Appendf(nil, "cannot run %q: %s", name, reason))
}

// ended adds what the program said.
func ended(dsn, text string, output []byte) deliver.Status {
	s := failure(dsn, text)
	s.Output = text
	if said := Printable(output); said != "" {
		s.Reason += ". Command output: " + said
		s.Output = said
	}
	return s
}

func failure(dsn, reason string) deliver.Status {
	s := deliver.Status{Kind: deliver.Bounced, DSN: dsn, Reason: reason}
	if dsn[0] == '4' {
		s.Kind = deliver.Deferred
	}
	return s
}

// splitStatus cuts "4.2.1 text" into its code and text. Of the classes only
// failures count: a program that fails has not delivered.
func splitStatus(output string) (dsn, text string, ok bool) {
	word, text, _ := strings.Cut(output, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != "4" && parts[0] != "5" {
		return "", "", false
	}
	for _, part := range parts[1:] {
		if part == "" || len(part) > 3 || strings.Trim(part, "0123456789") != "" {
			return "", "", false
		}
	}
	return word, strings.TrimSpace(text), true
}

// Printable is output as it goes into a log line: line ends and tabs as blanks,
// other control characters and bytes that are not text as '_'.
func Printable(output []byte) string {
	text := strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0, r == '\uFFFD':
			return '_'
		}
		return r
	}, strings.ToValidUTF8(string(output), "_"))
	return strings.TrimRight(text, " ")
}
