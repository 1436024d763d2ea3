package smtpd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"postern/internal/smtp"
)

func TestNoticeClass(t *testing.T) {
	for _, test := range []struct {
		reply   smtp.Reply
		refused bool
		want    string
	}{
		{smtp.R(250, "2.1.5", "Ok"), false, ""},
		{smtp.R(354, "", "go ahead"), false, ""},
		{smtp.R(421, "4.4.2", "timeout exceeded"), false, ""},
		{smtp.R(452, "4.3.1", "Insufficient system storage"), false, ""},
		{smtp.R(500, "5.5.2", "Error: bad syntax"), false, "protocol"},
		{smtp.R(503, "5.5.1", "Error: need RCPT command"), false, "protocol"},
		{smtp.R(554, "5.7.1", "<a@b.example>: Relay access denied"), true, "policy"},
		{smtp.R(550, "5.1.1", "<a@b.example>: User unknown"), true, "bounce"},
		{smtp.R(451, "4.3.0", "<a@b.example>: Temporary lookup failure"), true, "data"},
		{smtp.R(451, "4.3.5", "Server configuration error"), true, "software"},
		{smtp.R(451, "4.3.0", "Error: queue file write error"), false, "software"},
	} {
		if got := noticeClass(test.reply, test.refused); got != test.want {
			t.Errorf("%v, refused %v: class %q, want %q", test.reply, test.refused, got, test.want)
		}
	}
}

// TestTranscript: the beginning and the end of a long session are kept, long lines
// are cut, and nobody's password is kept.
func TestTranscript(t *testing.T) {
	short := &transcript{}
	for _, line := range []string{" auth\tPLAIN c2VjcmV0", "c2VjcmV0", "rset", "c2VjcmV0"} {
		short.hear(line)
	}
	short.say(" Out: ", "250-a\n250 b\x07")
	want := []string{" In:  AUTH ...", " In:  ...", " In:  rset", " In:  c2VjcmV0", " Out: 250-a", " Out: 250 b?"}
	if diff := cmp.Diff(want, short.lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	long := &transcript{}
	for i := range 130 {
		long.say("", fmt.Sprint(i, strings.Repeat("x", 300)))
	}
	lines := long.lines()
	if len(lines) != 101 || !strings.HasPrefix(lines[49], "49x") || lines[50] != " ... 30 lines are left out ..." ||
		!strings.HasPrefix(lines[51], "80x") || !strings.HasPrefix(lines[100], "129x") {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	for _, line := range lines {
		if len(line) > transcriptLine+3 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

// TestNotices: the postmaster is told at the end of a session in which something of
// a class that he wants went wrong.
func TestNotices(t *testing.T) {
	for _, test := range []struct {
		name, classes string
		send          string
		class         string // "": nobody is told
		aborted       string
	}{
		{"nothing wrong", "policy protocol bounce data software", "EHLO c.example\r\nQUIT\r\n", "", ""},
		{"protocol", "protocol", "EHLO c.example\r\nRUBBISH\r\nQUIT\r\n", "protocol", ""},
		{"protocol, not wanted", "policy", "EHLO c.example\r\nRUBBISH\r\nQUIT\r\n", "", ""},
		{"refused", "bounce policy", "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<bad@a.example>\r\nQUIT\r\n", "bounce", ""},
		{"lost", "protocol", "EHLO c.example\r\nDATA\r\n", "protocol", "lost connection after DATA"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				h.config.NotifyClasses = map[string]bool{}
				for _, class := range strings.Fields(test.classes) {
					h.config.NotifyClasses[class] = true
				}
				var told []Notice
				h.swap(&Profile{Config: &h.config, Policy: &h.policy, Intake: &h.intake,
					Notice: func(_ context.Context, n Notice) { told = append(told, n) }})
				p := h.connect(t)
				go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
				for _, command := range strings.SplitAfter(test.send, "\r\n") {
					if command != "" {
						_, _ = p.Write([]byte(command))
						synctest.Wait()
					}
				}
				_ = p.Close()
				<-p.over
				if test.class == "" {
					if len(told) > 0 {
						t.Errorf("told %+v", told)
					}
					return
				}
				if len(told) != 1 || told[0].Class != test.class || told[0].Aborted != test.aborted {
					t.Fatalf("told %+v, want class %q, aborted %q", told, test.class, test.aborted)
				}
				text := strings.Join(told[0].Lines, "\n")
				if !strings.HasPrefix(text, " Out: 220 ") || !strings.Contains(text, "\n In:  EHLO c.example\n Out: 250-") {
					t.Errorf("transcript:\n%s", text)
				}
			})
		})
	}
}

// TestNoticeAfterReload: who was to be told when the session began is told at its end,
// whatever a reload has made of it meanwhile.
func TestNoticeAfterReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.config.NotifyClasses = map[string]bool{"protocol": true}
		told := 0
		h.swap(&Profile{Config: &h.config, Policy: &h.policy, Intake: &h.intake, Notice: func(context.Context, Notice) { told++ }})
		p := h.connect(t)
		go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
		p.send("RUBBISH\r\n")
		synctest.Wait()
		quiet := DefaultConfig("mx.host.example")
		h.swap(&Profile{Config: &quiet, Policy: &h.policy, Intake: &h.intake})
		p.send("NOOP\r\nQUIT\r\n")
		<-p.over
		if told != 1 {
			t.Errorf("told %d times, want once", told)
		}
	})
}
