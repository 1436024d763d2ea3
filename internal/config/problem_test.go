package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// loadFiles loads a directory of these two files.
func loadFiles(t *testing.T, main, master string) (*Settings, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(dir, Options{})
}

// TestKinds holds what each problem is, and what is lost by it.
func TestKinds(t *testing.T) {
	tests := []struct {
		main, master string
		kind         Kind
		lost         bool
		also         int
	}{
		{"smtpd_milters = inet:127.0.0.1:1\n", "", Ineffective, false, 0},
		{"quite_another_thing = 1\n", "", Unused, false, 0},
		{"notify_classes = bonce\n", "", Notice, false, 0},
		{"", "x inet n - n - - own-program\n", Program, false, 0},
		{"relay_domains = a\nrelay_domains = b\n", "", Repeated, false, 1},
		{"", "smtp inet n - n - - smtpd\nsmtp inet n - n - - smtpd\n", Repeated, false, 1},
		{"  x = 1\nrelay_domains = a\n", "", Orphan, false, 0},
		{"mail_name = a\n myhostname = b.test\n", "", Swallowed, false, 0},
		{"mail_name = a\n mydestination = b.test\n", "", Swallowed, true, 0},
		{"relay_domains = a.test # one\n", "", Comment, false, 0},
		{"relay_domains = a.test # one\n  b.test\n", "", Comment, true, 0},
		{"relay_domains = a.test #b.test\n", "", Comment, true, 0},
		{"mynetworks = 127.0.0.0/8 # 10.0.0.0/8\n", "", Comment, false, 0},
		{"transport_maps = inline:{a=b} # c\n", "", Comment, true, 0},
		{"relayhost = # none\n", "", Comment, true, 0},
		{"myhostname = a.test # us\n", "", Comment, true, 0},
		{"virtual_transport = lmtp:unix:x # dovecot\n", "", Comment, true, 0},
		{"relay_domains = a\nrelay_domains = b\nrelay_domains = a\n", "", Repeated, false, 2},
		{"relay_domain = a.test\n", "", Unknown, false, 0},
		{"", "x inet n - n - - smptd\n", Unknown, false, 0},
		{"", "smtp inet n - n - - smtpd -o soft_bounce= yes\n", Blanks, false, 0},
		{"smtpd_tls_ask_ccert = perhaps\n", "", Wrong, false, 0},
	}
	for _, tt := range tests {
		s, err := loadFiles(t, tt.main, tt.master)
		if err != nil {
			t.Errorf("%q: %v", tt.main+tt.master, err)
			continue
		}
		w := s.Warnings()
		if len(w) == 0 || w[0].Kind != tt.kind || w[0].Lost != tt.lost || len(w[0].Also) != tt.also {
			t.Errorf("%q: problems %+v, want kind %d, lost %v, %d more places", tt.main+tt.master, w, tt.kind, tt.lost, tt.also)
		}
		if len(w) > 0 && w[0].Kind.Miswritten() != (tt.kind >= Repeated) {
			t.Errorf("%q: kind %d: miswritten %v", tt.main+tt.master, w[0].Kind, w[0].Kind.Miswritten())
		}
	}
}

// TestNearTransports holds that the limits of a transport that master.cf does not
// have are not taken for those of another one.
func TestNearTransports(t *testing.T) {
	s, err := loadFiles(t, "dovecot_destination_recipient_limit = 1\ndefualt_destination_recipient_limit = 1\n", "smtp inet n - n - - smtpd\n")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []Kind
	for _, p := range s.Warnings() {
		kinds = append(kinds, p.Kind)
	}
	if diff := cmp.Diff([]Kind{Unused, Unknown}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

func TestFaults(t *testing.T) {
	s, err := loadFiles(t, "message_size_limit = 10M\nsmtpd_delay_reject = maybe\n", "smtp inet n\n")
	var got []string
	for _, f := range Faults(fmt.Errorf("around it: %w", errors.Join(err, errors.New("another")))) {
		got = append(got, fmt.Sprintf("%s:%d", filepath.Base(f.At.File), f.At.Line))
	}
	if diff := cmp.Diff([]string{"main.cf:1", "main.cf:2", "master.cf:1"}, got); diff != "" || s == nil {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if f := Faults(errors.New("x")); f != nil || Faults(nil) != nil {
		t.Errorf("faults of another error: %v", f)
	}
}
