package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bounceFile is a template file in which every template has another form.
const bounceFile = `# words of our own
failure_template = <<EOF
charset: utf-8
From: Post <post>
SUBJECT : back
Postmaster-Subject: back, too

host $myhostname ü $$ ${mail_name?yes} $delay_warning_time_hours ($maximal_queue_lifetime_days)
  indented \n

EOF
delay_template = <<END
Subject: late

late
END
success_template = <<S S


Hello world
S S
verify_template = just this
`

// templateDir is a configuration with that file beside it.
func templateDir(t *testing.T, main, text string) string {
	t.Helper()
	dir := confDir(t, "compatibility_level = 3.6\nmyhostname = mx.host.test\n"+main, confMaster)
	if err := os.WriteFile(filepath.Join(dir, "bounce.cf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTemplatesAsPostfix: what is printed is what Postfix prints.
func TestTemplatesAsPostfix(t *testing.T) {
	reference := realPostconf(t)
	dir := templateDir(t, "bounce_template_file = DIR/bounce.cf\n", bounceFile)
	for _, option := range []string{"-t", "-b"} {
		for _, file := range [][]string{nil, {filepath.Join(dir, "bounce.cf")}} {
			args := append([]string{option}, file...)
			want, err := reference(dir, args)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, ourPostconf(dir, args)); diff != "" {
				t.Errorf("postconf %q (-postfix +ours):\n%s", args, diff)
			}
		}
	}
}

func TestPostconfTemplates(t *testing.T) {
	dir := templateDir(t, "bounce_template_file = DIR/bounce.cf\n", "failure_template = <<EOF\nNo: such\n\nx\nEOF\ndelay_template = <<EOF\nlate on $myhostname\nEOF\n")
	bad := "postconf: warning: DIR/bounce.cf:1: failure_template: unknown header label \"No\"; the built-in template is used"
	for _, tt := range []struct {
		args            []string
		stdout, warning string
	}{
		{[]string{"-b"}, "expanded_delay_text = <<EOF\nlate on mx.host.test\nEOF\n", bad},
		{[]string{"-t"}, "\nlate on $myhostname\nEOF\n", bad},
		{[]string{"-t", ""}, "failure_template = <<EOF\nCharset: us-ascii\nFrom: Mail Delivery System <MAILER-DAEMON>\n", ""},
		{[]string{"-b", ""}, "The mail server at mx.host.test could not deliver", ""},
		{[]string{"-b", "/nonexistent/file"}, "expanded_failure_text = <<EOF\nThe mail server at mx.host.test", "postconf: warning: open /nonexistent/file: no such file or directory"},
	} {
		got := ourPostconf(dir, tt.args)
		if got.Status != 0 || !strings.Contains(got.Stdout, tt.stdout) || !slices.Contains(got.Stderr, tt.warning) {
			t.Errorf("postconf %q: status %d, %q\n%s", tt.args, got.Status, got.Stderr, got.Stdout)
		}
	}
}
