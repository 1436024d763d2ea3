package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSendmailConfig: -C takes the directory as well as the main.cf in it.
func TestSendmailConfig(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(main, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		main:                  dir,
		dir:                   dir,
		dir + "/none":         dir + "/none",
		dir + "/none/main.cf": dir + "/none",
	} {
		call, err := parseSendmail(Env{Args: []string{"sendmail", "-C", name, "john@example.test"}, Getenv: os.Getenv})
		if err != nil || call.dir != want {
			t.Errorf("-C %s: directory %q, %v; want %q", name, call.dir, err, want)
		}
	}
}

// TestSendmailSMTP: the session of sendmail -bs has the parameters of smtpd, those
// of main.cf, but for what a local user need not care for.
func TestSendmailSMTP(t *testing.T) {
	dir := t.TempDir()
	run := func(main, input string) (int, string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("myhostname = mx.test\nqueue_directory = "+dir+"\n"+main), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "master.cf"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		status := sendmail(t.Context(), Env{Args: []string{"sendmail", "-C", dir, "-bs"}, Getenv: os.Getenv,
			Stdin: strings.NewReader(input), Stdout: &out, Stderr: &out})
		return status, out.String()
	}
	for _, tt := range []struct{ name, main, input, want string }{
		{"defaults", "", "QUIT\n", "220 mx.test ESMTP Postern\n221 2.0.0 Bye\n"},
		{"banner", "smtpd_banner = $myhostname welcomes you\n", "QUIT\n", "220 mx.test welcomes you\n221 2.0.0 Bye\n"},
		{"session", "smtpd_helo_required = yes\ndisable_vrfy_command = yes\nsmtpd_noop_commands = FOO\n", "MAIL FROM:<>\nVRFY x\nFOO\nQUIT\n",
			"220 mx.test ESMTP Postern\n503 5.5.1 Error: send HELO/EHLO first\n502 5.5.1 VRFY command is disabled\n250 2.0.0 Ok\n221 2.0.0 Bye\n"},
		{"no TLS", "smtpd_tls_security_level = encrypt\nsmtpd_tls_wrappermode = yes\n", "HELO x\nQUIT\n",
			"220 mx.test ESMTP Postern\n250 mx.test\n221 2.0.0 Bye\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, out := run(tt.main, tt.input)
			if diff := cmp.Diff(tt.want, strings.ReplaceAll(out, "\r", "")); status != 0 || diff != "" {
				t.Errorf("exit status %d, (-want +got)\n%s", status, diff)
			}
		})
	}
	status, out := run("smtpd_forbid_bare_newline = perhaps\n", "QUIT\n")
	if status != exConfig || !strings.Contains(out, "main.cf:3: smtpd_forbid_bare_newline") {
		t.Errorf("a parameter that is wrong: exit status %d, %q", status, out)
	}
}
