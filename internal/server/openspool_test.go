package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/spool"
)

// hearer calls a function with each line that is logged, and counts them.
type hearer struct {
	heard func(line string)
	lines int
}

func (l *hearer) Infof(format string, args ...any) {
	l.lines++
	if l.heard != nil {
		l.heard(fmt.Sprintf(format, args...))
	}
}

func (l *hearer) Warningf(format string, args ...any) { l.Infof(format, args...) }

// smallSpool are options with which opening is quick.
var smallSpool = spool.Options{SegmentSize: 1 << 20}

// take opens a spool that nobody else holds.
func take(t *testing.T, dir string, command bool) *spool.Spool {
	t.Helper()
	o := smallSpool
	o.Command = command
	sp, err := spool.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return sp
}

// TestWaitForCommand: who finds a command in the spool says whom he waits for,
// once, and goes on when it has let go.
func TestWaitForCommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	holder := take(t, dir, true)
	want := fmt.Sprintf("spool is in use by a command, process %d: waiting for it", os.Getpid())
	log := &hearer{heard: func(line string) {
		if !strings.Contains(line, want) {
			t.Errorf("logged %q, want %q in it", line, want)
		}
		go func() {
			if err := holder.Close(); err != nil {
				t.Error(err)
			}
		}()
	}}
	sp, err := openPatiently(t.Context(), dir, smallSpool, patience, log)
	if err != nil {
		t.Fatal(err)
	}
	if log.lines != 1 {
		t.Errorf("%d lines were logged, want 1", log.lines)
	}
	if err := sp.Close(); err != nil {
		t.Error(err)
	}
}

// TestWaitInVain: a server is not waited for, and a command not for ever.
func TestWaitInVain(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	for _, tt := range []struct {
		name     string
		ctx      context.Context
		command  bool
		patience time.Duration
		lines    int
		text     string
		err      error
	}{
		{"server", t.Context(), false, patience, 0, "in use by a server, process", spool.ErrLocked},
		{"command that stays", t.Context(), true, time.Nanosecond, 1, "in use by a command, process", spool.ErrLocked},
		{"the wait is ended", ended, true, patience, 1, "in use by a command, process", context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			holder := take(t, dir, tt.command)
			defer holder.Close()
			log := &hearer{}
			_, err := openPatiently(tt.ctx, dir, smallSpool, tt.patience, log)
			if !errors.Is(err, tt.err) || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("openPatiently = %v, want %v with %q", err, tt.err, tt.text)
			}
			if log.lines != tt.lines {
				t.Errorf("%d lines were logged, want %d", log.lines, tt.lines)
			}
		})
	}
}
