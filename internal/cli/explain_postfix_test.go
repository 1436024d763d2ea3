package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/internal/setup"
)

// postfixCase is a directory in which Postfix does something else than Postern.
func postfixCase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.cf": `compatibility_level = 3.6
myhostname = mx.host.example
mydestination = localhost
alias_maps =
virtual_alias_domains =
virtual_mailbox_domains = example.org
virtual_mailbox_maps = texthash:$config_directory/boxes
virtual_alias_maps = texthash:$config_directory/virtual
virtual_mailbox_base = /var/vmail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
`,
		"boxes":   "john@example.org john/\nall@example.org all/\njack@example.org jack/Maildir\n",
		"virtual": "@example.org all@example.org\nall@example.org all@example.org\njack@example.org jack@example.org\nlost@example.org x@localhost\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func explainIn(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = Main(Env{Args: append([]string{"postern", "explain"}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(string) string { return "" }})
	return out.String(), errs.String(), status
}

// TestExplainPostfix: the answer is that of Postfix, and where Postern's is another
// one it follows with the parameters that make the difference.
func TestExplainPostfix(t *testing.T) {
	dir := postfixCase(t)
	for _, tt := range []struct{ address, want string }{
		{"john@example.org", "because of virtual_mailbox_overrides_catchall = yes\n`- john@example.org   class virtual-mailbox, virtual to /var/vmail/john/\n"},
		{"jack@example.org", "because of virtual_mailbox_format = auto\n`- jack@example.org   class virtual-mailbox, virtual to /var/vmail/jack/Maildir/\n"},
		{"lost@example.org", "550 5.1.1 <lost@example.org>: Recipient address rejected: User unknown in local recipient table   because of smtpd_reject_unlisted_target = yes\n"},
	} {
		out, errs, status := explainIn(t, "-c", dir, "--postfix", tt.address)
		if status != 0 || !strings.Contains(out, "Postern with its own defaults: ") || !strings.Contains(out, tt.want) {
			t.Errorf("%s: status %d, no %q in\n%s%s", tt.address, status, tt.want, out, errs)
		}
	}
	out, _, status := explainIn(t, "-c", dir, "--postfix", "x@localhost")
	if status != 1 || strings.Contains(out, "own defaults") {
		t.Errorf("x@localhost: status %d, a difference in\n%s", status, out)
	}
	out, _, _ = explainIn(t, "-c", dir, "--postfix", "--json", "john@example.org")
	if strings.Count(out, "\n") != 1 || !strings.Contains(out, `"recipients":[{"address":"all@example.org"`) {
		t.Errorf("--json: %s", out)
	}
}

func TestExplainWrongCalls(t *testing.T) {
	dir := postfixCase(t)
	for _, args := range [][]string{{"-c", dir}, {"--nosuchflag"}, {"-c", t.TempDir(), "a@b.test"}, {"-c", dir, "-f", "a@[", "a@b.test"}} {
		out, errs, status := explainIn(t, args...)
		if status != 3 || out != "" || !strings.HasPrefix(errs, "postern: ") {
			t.Errorf("%q: status %d, %q, %q", args, status, out, errs)
		}
	}
	if out, errs, status := explainIn(t, "-c", dir, "-f", "<>", "jack@example.org", "nosuch", "x@other.test"); status != 2 || strings.Count(out, "- class ") != 3 {
		t.Errorf("the worst status is %d\n%s%s", status, out, errs)
	}
}

// TestCompatibility: compatibility = postfix has another default for every parameter
// that docs/differences.md lists, and for no other.
func TestCompatibility(t *testing.T) {
	page, err := os.ReadFile("../../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\(").FindAllStringSubmatch(string(page), -1) {
		listed[m[1]] = true
	}
	dir := postfixCase(t)
	open := func(o setup.Options) *setup.Setup {
		s, err := setup.Open(t.Context(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	own, theirs := open(setup.Options{}), open(setup.Options{}.WithPostfix())
	for name, v := range own.Settings.All() {
		text, _ := own.Settings.Default(name)
		direct := strings.Contains(text, "$compatibility}")
		if direct != listed[name] || listed[name] && v.Text == theirs.Settings.String(name) {
			t.Errorf("%s: in differences.md %v, %q with compatibility = postern and %q with postfix", name, listed[name], v.Text, theirs.Settings.String(name))
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("differences.md names %s, which is no parameter", name)
	}
	if got := strings.Join(switched(own.Settings), " "); got != "smtpd_reject_unlisted_target table_autocompile table_relative_names table_single_value virtual_mailbox_format virtual_mailbox_overrides_catchall" {
		t.Errorf("switched: %s", got)
	}
}
