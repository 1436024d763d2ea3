// Package maillog writes the log lines that mail administrators and their tools
// already read:
//
//	Nov 22 20:51:57 mx postfix/smtpd[812]: connect from unknown[192.0.2.7]
//
// They go to one of three places: the file of maillog_file, the syslog socket,
// or standard error, in this order of preference. Lines are collected and
// written together, so that a busy server does not pay a system call for each;
// an idle one writes a line at once. What has not been written when the machine
// dies is lost: the log is no promise, the spool is.
//
// Remote text is made harmless here: control characters become '?', so that no
// client can forge a line.
//
// It imports only the standard library.
package maillog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxPending is how much text may wait for the writer; loggers wait beyond it.
const maxPending = 1 << 20

// Options say where the log goes.
type Options struct {
	File     string           // maillog_file; "" for syslog or standard error
	Name     string           // syslog_name, "postfix"
	Facility string           // syslog_facility, "mail"
	Socket   string           // syslog socket; "" means /dev/log
	Stderr   io.Writer        // used when there is no file and no syslog; nil means os.Stderr
	Now      func() time.Time // nil means time.Now
	Hostname string           // for the file's lines; "" means os.Hostname
	// OpenFile opens File for appending, and makes it; nil: as this process does.
	OpenFile func(name string) (*os.File, error)
}

// Log is the destination of all log lines. Its methods are safe for concurrent
// use.
type Log struct {
	o    Options
	pid  int
	done chan struct{}

	mu      sync.Mutex
	wake    *sync.Cond // the writer waits for text
	room    *sync.Cond // loggers wait for room, Flush for emptiness
	pending []byte
	spare   []byte
	writing bool
	closed  bool
	lost    int // lines that could not be written
	stamp   string
	second  int64
	taps    map[*func(severity, text string)]bool

	out sink
}

// A sink takes whole lines. Only the writer goroutine and Reopen use it, under outMu.
type sink struct {
	mu   sync.Mutex
	w    io.Writer
	file *os.File // nil unless the log is a file
	sys  net.Conn // nil unless the log is syslog
}

// Open starts a log. An unwritable File is an error that names it.
func Open(o Options) (*Log, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Socket == "" {
		o.Socket = "/dev/log"
	}
	if o.OpenFile == nil {
		o.OpenFile = OpenFile
	}
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname()
		o.Hostname, _, _ = strings.Cut(o.Hostname, ".")
	}
	l := &Log{o: o, pid: os.Getpid(), done: make(chan struct{})}
	l.wake, l.room = sync.NewCond(&l.mu), sync.NewCond(&l.mu)
	if err := l.open(); err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

func (l *Log) open() error {
	if l.o.File != "" {
		f, err := l.o.OpenFile(l.o.File)
		if err != nil {
			return fmt.Errorf("maillog_file: %w", err)
		}
		l.out.w, l.out.file = f, f
		return nil
	}
	if c, err := net.Dial("unixgram", l.o.Socket); err == nil {
		l.out.w, l.out.sys = c, c
		return nil
	}
	l.out.w = l.o.Stderr
	return nil
}

// OpenFile opens a log file for appending. One that it makes has the mode 0640,
// whatever the file mode mask is.
func OpenFile(name string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | syscall.O_NOCTTY
	f, err := os.OpenFile(name, flags, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if f, err = os.OpenFile(name, flags|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := f.Chmod(0o640); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Reopen opens the file anew, after it was rotated away. When that fails the
// log goes on in the old file and the error is returned.
func (l *Log) Reopen() error {
	if l.o.File == "" {
		return nil
	}
	l.Flush()
	f, err := l.o.OpenFile(l.o.File)
	if err != nil {
		return fmt.Errorf("maillog_file: %w", err)
	}
	l.out.mu.Lock()
	old := l.out.file
	l.out.w, l.out.file = f, f
	l.out.mu.Unlock()
	return old.Close()
}

// Flush waits until all lines logged so far are written.
func (l *Log) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.pending) > 0 || l.writing {
		l.room.Wait()
	}
}

// Close writes what is left and ends the log. Lines logged after it are lost.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.wake.Signal()
	l.mu.Unlock()
	<-l.done
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	var err error
	if l.out.file != nil {
		err = l.out.file.Close()
	}
	if l.out.sys != nil {
		err = errors.Join(err, l.out.sys.Close())
	}
	return err
}

// gather is how long a line may wait for others, so that they share a write.
const gather = 2 * time.Millisecond

// run is the writer: it takes what has gathered and writes it in one go.
func (l *Log) run() {
	defer close(l.done)
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.pending) == 0 && !l.closed {
			l.wake.Wait()
		}
		if len(l.pending) == 0 {
			return
		}
		if !l.closed && len(l.pending) < maxPending/2 {
			l.mu.Unlock()
			time.Sleep(gather)
			l.mu.Lock()
		}
		text := l.pending
		l.pending, l.spare, l.writing = l.spare[:0], nil, true
		l.mu.Unlock()
		failed := l.out.write(text)
		l.mu.Lock()
		l.lost += failed
		l.spare, l.writing = text, false
		l.room.Broadcast()
	}
}

// write sends whole lines and returns how many of them were lost.
func (s *sink) write(text []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sys == nil {
		if _, err := s.w.Write(text); err != nil {
			return strings.Count(string(text), "\n")
		}
		return 0
	}
	lost := 0
	for line := range strings.Lines(string(text)) {
		if _, err := s.w.Write([]byte(strings.TrimSuffix(line, "\n"))); err != nil {
			lost++
		}
	}
	return lost
}

// Program returns the logger of one part of the server, "smtpd" or "qmgr".
func (l *Log) Program(program string) *Program { return l.Named(l.o.Name, program) }

// Named is Program under another syslog_name, as a master.cf service may set
// it: Named("postfix/submission", "smtpd").
func (l *Log) Named(name, program string) *Program {
	return &Program{log: l, tag: name + "/" + program + "[" + strconv.Itoa(l.pid) + "]: "}
}

// Lost returns how many lines could not be written since the start.
func (l *Log) Lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// severities of syslog(3) for the kinds of lines.
const (
	levelInfo    = 6
	levelWarning = 4
	levelError   = 3
	levelFatal   = 2
)

func (l *Log) line(level int, tag, word, text string) {
	now := l.o.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.pending) > maxPending && !l.closed {
		l.room.Wait()
	}
	if s := now.Unix(); s != l.second || l.stamp == "" {
		l.second, l.stamp = s, now.Format("Jan _2 15:04:05 ")
	}
	if word != "" {
		l.tell(strings.TrimSuffix(word, ": "), text)
	}
	b := l.pending
	switch {
	case l.out.sys != nil:
		b = append(b, '<')
		b = strconv.AppendInt(b, int64(facility(l.o.Facility)<<3|level), 10)
		b = append(b, '>')
		b = append(b, l.stamp...)
	case l.o.File != "":
		b = append(b, l.stamp...)
		b = append(b, l.o.Hostname...)
		b = append(b, ' ')
	}
	b = append(b, tag...)
	b = append(b, word...)
	b = appendPrintable(b, text)
	l.pending = append(b, '\n')
	l.wake.Signal()
}

// appendPrintable appends text with control characters replaced by '?'.
func appendPrintable(b []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == 0x7f {
			b = append(b, '?')
		} else {
			b = append(b, c)
		}
	}
	return b
}

// facility maps a syslog_facility name to its number (RFC 5424, 6.2.1). An
// unknown name is "mail".
func facility(name string) int {
	names := []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"}
	for i, n := range names {
		if n == name {
			return i
		}
	}
	if n, ok := strings.CutPrefix(name, "local"); ok && len(n) == 1 && n[0] >= '0' && n[0] <= '7' {
		return 16 + int(n[0]-'0')
	}
	return 2
}

// Program logs under the name of one part of the server.
type Program struct {
	log *Log
	tag string
}

// Infof logs a line without a severity word.
func (p *Program) Infof(format string, args ...any) {
	p.log.line(levelInfo, p.tag, "", text(format, args))
}

// Warningf logs a line that starts with "warning: ".
func (p *Program) Warningf(format string, args ...any) {
	p.log.line(levelWarning, p.tag, "warning: ", text(format, args))
}

// Errorf logs a line that starts with "error: ".
func (p *Program) Errorf(format string, args ...any) {
	p.log.line(levelError, p.tag, "error: ", text(format, args))
}

// Fatalf logs a line that starts with "fatal: ": why the server ends. It goes on
// like any other line; whoever calls it does the rest.
func (p *Program) Fatalf(format string, args ...any) {
	p.log.line(levelFatal, p.tag, "fatal: ", text(format, args))
}

func text(format string, args []any) string {
	if len(args) == 0 && !strings.Contains(format, "%") {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// Destination says in words where the lines go, for the start-up message.
func (l *Log) Destination() string {
	switch {
	case l.o.File != "":
		if abs, err := filepath.Abs(l.o.File); err == nil {
			return abs
		}
		return l.o.File
	case l.out.sys != nil:
		return "syslog"
	default:
		return "standard error"
	}
}
