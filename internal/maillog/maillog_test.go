package maillog

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func at() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mail.log")
	l, err := Open(Options{File: name, Name: "postfix", Now: at, Hostname: "mx"})
	if err != nil {
		t.Fatal(err)
	}
	l.Program("smtpd").Infof("connect from %s", "unknown[192.0.2.7]")
	l.Named("postfix/submission", "smtpd").Warningf("odd\r\nline\x7f")
	l.Flush()
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Program("qmgr").Errorf("after 100%% rotation")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	pid := l.Program("").tag
	pid = pid[strings.IndexByte(pid, '['):]
	want := "Mar  4 05:06:07 mx postfix/smtpd" + pid + "connect from unknown[192.0.2.7]\n" +
		"Mar  4 05:06:07 mx postfix/submission/smtpd" + pid + "warning: odd??line?\n"
	if got, _ := os.ReadFile(name + ".1"); string(got) != want {
		t.Errorf("old file = %q, want %q", got, want)
	}
	want = "Mar  4 05:06:07 mx postfix/qmgr" + pid + "error: after 100% rotation\n"
	if got, _ := os.ReadFile(name); string(got) != want {
		t.Errorf("new file = %q, want %q", got, want)
	}
	l.Program("late").Infof("lost")
}

// TestFileMode: a new log has its mode whatever the mask, an old one keeps its own.
func TestFileMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	name := filepath.Join(t.TempDir(), "mail.log")
	for _, want := range []os.FileMode{0o640, 0o604} {
		f, err := OpenFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, want)
		}
		if err := os.Chmod(name, 0o604); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnwritableFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "missing", "mail.log")
	if _, err := Open(Options{File: name}); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("Open = %v, want an error that names %s", err, name)
	}
}

func TestSyslog(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, err := Open(Options{Name: "postfix", Facility: "local3", Socket: socket, Now: at})
	if err != nil {
		t.Fatal(err)
	}
	l.Program("qmgr").Infof("one")
	l.Program("qmgr").Warningf("two")
	for _, want := range []string{"<158>Mar  4 05:06:07 postfix/qmgr[", "<156>Mar  4 05:06:07 postfix/qmgr["} {
		b := make([]byte, 200)
		n, err := c.Read(b)
		if err != nil || !strings.HasPrefix(string(b[:n]), want) {
			t.Errorf("datagram = %q, %v, want prefix %q", b[:n], err, want)
		}
	}
	if got := l.Destination(); got != "syslog" {
		t.Errorf("Destination = %q", got)
	}
	l.Close()
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func TestConcurrentLinesStayWhole(t *testing.T) {
	var out lockedBuilder
	l, err := Open(Options{Name: "postfix", Socket: filepath.Join(t.TempDir(), "none"), Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p := l.Program("smtpd")
			for range 500 {
				p.Infof("%s", line)
			}
		})
	}
	wg.Wait()
	l.Close()
	lines := strings.Split(strings.TrimSpace(out.b.String()), "\n")
	if len(lines) != 4000 || l.Lost() != 0 {
		t.Fatalf("%d lines, %d lost, want 4000 and 0", len(lines), l.Lost())
	}
	for _, s := range lines {
		if !strings.HasSuffix(s, "]: "+line) {
			t.Fatalf("broken line %q", s)
		}
	}
}
