package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// warnings are the lines of the mail log that hold text, once the server has
// ended.
func (h *house) warnings(text string) (found []string) {
	h.t.Helper()
	h.ends()
	log, err := os.ReadFile(filepath.Join(h.dir, "mail.log"))
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// TestBadFeedback: a concurrency feedback that cannot be read is named as
// written, once, with its line.
func TestBadFeedback(t *testing.T) {
	h := start(t, "default_destination_concurrency_positive_feedback = foo\n"+
		"virtual_destination_concurrency_negative_feedback = 7\n"+
		"default_destination_concurrency_negative_feedback = 1/8\n", freePort(t))
	found := h.warnings("concurrency feedback")
	if len(found) != 2 {
		t.Fatalf("warnings %q, want one for each", found)
	}
	for i, want := range []string{
		`main.cf:11: default_destination_concurrency_positive_feedback: bad concurrency feedback "foo"`,
		`main.cf:12: virtual_destination_concurrency_negative_feedback: bad concurrency feedback "7"`,
	} {
		if !strings.Contains(found[i], want) {
			t.Errorf("warning %q lacks %q", found[i], want)
		}
	}
}

// TestRestartNeeded: what differs from the start is said at every reload, and
// what is again as it was is not.
func TestRestartNeeded(t *testing.T) {
	address := freePort(t)
	h := start(t, "spool_inline_limit = 10000\n", address)
	for _, limit := range []string{"20000", "20000", "10000"} {
		h.configure("spool_inline_limit = "+limit+"\n", address)
		h.reload()
	}
	if found := h.warnings("spool_inline_limit has changed"); len(found) != 2 {
		t.Errorf("warnings %q, want one for each of the first two reloads", found)
	}
}

func TestLogsTLS(t *testing.T) {
	for mainCF, want := range map[string]bool{
		"": false, "smtpd_tls_loglevel = 0\n": false, "smtpd_tls_loglevel = none\n": false,
		"smtpd_tls_loglevel = 1\n": true, "smtpd_tls_loglevel = routine\n": true, "smtpd_tls_loglevel = 2\n": true,
	} {
		v := settingsOf(t, mainCF)
		if got := logsTLS(v, "smtpd_"); got != want {
			t.Errorf("%q: %v, want %v", mainCF, got, want)
		}
	}
}
