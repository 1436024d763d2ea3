package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// load reads a configuration made of the given texts.
func load(t *testing.T, main, master string) (*Settings, error) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("main.cf", main)
	if master != "" {
		write("master.cf", master)
	}
	return Load(dir, Options{
		Hostname: func() (string, error) { return "mx", nil },
		Interfaces: func() ([]netip.Prefix, error) {
			return []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("::1/128")}, nil
		},
	})
}

func mustLoad(t *testing.T, main string) *Settings {
	t.Helper()
	s, err := load(t, main, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefaults(t *testing.T) {
	s := mustLoad(t, "")
	want := map[string]string{
		"myhostname": "mx.localdomain", "mydomain": "localdomain", "myorigin": "mx.localdomain",
		"mydestination": "mx.localdomain, localhost.localdomain, localhost", "local_transport": "local:mx.localdomain",
		"mynetworks": "192.0.2.7/32 [::1]/128", "virtual_alias_domains": "", "relay_domains": "",
		"virtual_mailbox_format": "auto", "table_single_value": "strict", "smtpd_forbid_bare_newline": "normalize",
		"smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
	}
	for name, text := range want {
		if got := s.String(name); got != text {
			t.Errorf("String(%q) = %q, want %q", name, got, text)
		}
	}
	if s.Bool("append_dot_mydomain") || !s.Bool("virtual_mailbox_overrides_catchall") || s.Int("hopcount_limit") != 50 ||
		s.Duration("maximal_queue_lifetime") != 5*24*time.Hour || s.Raw("luser_relay") != "" {
		t.Error("typed defaults differ")
	}
	at := s.Value("virtual_alias_domains").At
	if at.Line != 0 || at.Parameter != "virtual_alias_domains" || at.Text != "(default) $virtual_alias_maps" {
		t.Errorf("At of a default = %+v", at)
	}
}

func TestCompatibility(t *testing.T) {
	s := mustLoad(t, "compatibility = postfix\ntable_autocompile = yes\n")
	want := map[string]string{
		"virtual_mailbox_overrides_catchall": "no", "table_autocompile": "yes", "virtual_mailbox_format": "slash",
		"table_relative_names": "no", "table_single_value": "join", "smtpd_reject_unlisted_target": "no",
		"smtpd_forbid_bare_newline": "no", "smtpd_forbid_unauth_pipelining": "no", "compatibility_level": "0",
	}
	for name, text := range want {
		if got := s.String(name); got != text {
			t.Errorf("String(%q) = %q, want %q", name, got, text)
		}
	}
}

func TestMain(t *testing.T) {
	s := mustLoad(t, `
# a comment
mydomain = example.org
virtual_mailbox_domains = a.test,
# between
   b.test

	c.test
empty =
mydestination = one
mydestination = two
me = $empty${mydomain}
notify_classes = bounce, { 2bounce }
`)
	v := s.Value("virtual_mailbox_domains")
	if v.Text != "a.test,   b.test	c.test" || v.At.Line != 4 || !v.Set {
		t.Errorf("value = %+v", v)
	}
	if d := cmp.Diff([]string{"a.test", "b.test", "c.test"}, s.List("virtual_mailbox_domains")); d != "" {
		t.Error(d)
	}
	if got := s.String("myhostname"); got != "mx.example.org" {
		t.Errorf("myhostname = %q", got)
	}
	if v, ok := s.Lookup("me"); !ok || v.Text != "example.org" {
		t.Errorf("user-defined parameter = %+v, %v", v, ok)
	}
	if _, ok := s.Lookup("nothing"); ok {
		t.Error("Lookup of an unknown name says ok")
	}
	if got := s.String("mydestination"); got != "two" {
		t.Errorf("mydestination = %q, want the later line", got)
	}
}

func TestExpand(t *testing.T) {
	s := mustLoad(t, "a = x\nb = $a$a\nempty =\nn = 10\n")
	tests := []struct{ in, want, err string }{
		{"plain", "plain", ""},
		{"$$", "$", ""},
		{"$b-", "xx-", ""},
		{"${b}", "xx", ""},
		{"$(b)", "xx", ""},
		{"${ b }", "xx", ""},
		{"$undefined.", ".", ""},
		{"${a?yes}", "yes", ""},
		{"${empty?yes}", "", ""},
		{"${empty:no}", "no", ""},
		{"${a:no}", "", ""},
		{"${a?{ yes }:{no}}", "yes", ""},
		{"${empty?{yes}:{no}}", "no", ""},
		{"${empty?{yes}:no}", "no", ""},
		{"${a?t1:t2}", "t1:t2", ""},
		{"${a?$b}", "xx", ""},
		{"${{$a} == {x} ? {same} : {other}}", "same", ""},
		{"${{$a} != {x} ? {same} : {other}}", "other", ""},
		{"${{9} < {$n} ? {less} : {more}}", "less", ""},
		{"${{9a} < {10} ? {less} : {more}}", "more", ""},
		{"${{x} == {x}}", "true", ""},
		{"${{x} == {y}}", "", ""},
		{"${{x} == {y} : {no}}", "no", ""},
		{"${{3.6} >=level {3.5.9} ? {new} : {old}}", "new", ""},
		{"${{2} <level {10} ? {less} : {more}}", "less", ""},
		{"$", "", "truncated macro reference"},
		{"${a", "", "truncated macro reference"},
		{"${}", "", "empty macro name"},
		{"$-", "", "empty macro name"},
		{"${a b}", "", "attribute name syntax error"},
		{"${a?{x}y}", "", "attribute name syntax error"},
		{"${{x} ~ {y}}", "", "attribute name syntax error"},
		{"${{x} ==level {y}}", "", "bad compatibility level"},
	}
	for _, tt := range tests {
		got, err := s.Expand(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Expand(%q) = %q, %v, want error %q", tt.in, got, err, tt.err)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("Expand(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	tests := []struct{ name, main, master, want string }{
		{"no equals", "a\n", "", "main.cf:1: missing '=' after attribute name"},
		{"no name", "x = 1\n= 2\n", "", "main.cf:2: missing attribute name"},
		{"bool", "soft_bounce = true\n", "", "main.cf:1: bad boolean configuration: soft_bounce = true"},
		{"number", "\nhopcount_limit = many\n", "", "main.cf:2: bad numerical configuration: hopcount_limit = many"},
		{"range", "hopcount_limit = -1\n", "", "main.cf:1: invalid hopcount_limit parameter value -1 < 1"},
		{"time", "smtpd_timeout = 5 m\n", "", "main.cf:1: parameter smtpd_timeout: bad time value or unit: 5 m"},
		{"unit", "smtpd_timeout = 5x\n", "", "bad time value or unit: 5x"},
		{"empty", "virtual_mailbox_base =\n", "", "main.cf:1: bad string length 0 < 1: virtual_mailbox_base = "},
		{"choice", "compatibility = sendmail\n", "", "main.cf:1: bad value: compatibility = sendmail (use postern or postfix)"},
		{"macro", "mydestination = ${x\n", "", "main.cf:1: parameter mydestination: macro processing error: truncated macro reference"},
		{"loop", "mydestination = $myorigin\nmyorigin = $mydestination\n", "", "unreasonable macro call nesting"},
		{"fields", "", "smtp inet n\n", "master.cf:1: bad field count: 3 fields, need at least 8"},
		{"type", "", "\nsmtp tcp n - n - - smtpd\n", `master.cf:2: bad service type "tcp"`},
		{"process limit", "", "smtp inet n - n - x smtpd\n", `master.cf:1: bad process limit "x"`},
		{"flag", "", "smtp inet x - n - - smtpd\n", `master.cf:1: field "private": "x" instead of y, n or -`},
		{"option", "", "smtp inet n - n - - smtpd -o\n", "master.cf:1: -o needs name=value"},
		{"option text", "", "smtp inet n - n - - smtpd -o x\n", "master.cf:1: -o x: missing '='"},
		{"twice", "", "smtp inet n - n - - smtpd\nsmtp inet n - n - - smtpd\n", "master.cf:2: service smtp inet is defined at"},
		{"orphan", "", "  smtp inet\n", "logical line must not start with whitespace"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := load(t, tt.main, tt.master); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load = %v, want an error with %q", err, tt.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), Options{}); err == nil || !strings.Contains(err.Error(), "main.cf") {
		t.Errorf("Load of a missing directory = %v", err)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct{ main, want string }{
		{"virtual_alias_domian = x\n", "main.cf:1: unknown parameter: virtual_alias_domian; did you mean virtual_alias_domains?"},
		{"qwertz = x\n", "main.cf:1: unused parameter: qwertz=x"},
		{"myorigin = a\nmyorigin = b\n", "main.cf:2: overriding earlier entry: myorigin=a"},
		{" x = y\n", "main.cf:1: logical line must not start with whitespace"},
		{"mydestination = a # b\n", "main.cf:1: mydestination: comment at end of line is not supported: #"},
	}
	for _, tt := range tests {
		s := mustLoad(t, tt.main)
		if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0].String(), tt.want) {
			t.Errorf("Warnings of %q = %v, want %q", tt.main, w, tt.want)
		}
	}
	quiet := "own = x\nmydestination = $own\nmyorigin = a\nmyorigin = a\nvirtual_dbname = mail\n" +
		"smtpd_restriction_classes = strict\nstrict = reject\nrelay_destination_concurrency_limit = 3\n"
	if w := mustLoad(t, quiet).Warnings(); len(w) != 0 {
		t.Errorf("Warnings = %v, want none", w)
	}
}

func TestMaster(t *testing.T) {
	s, err := load(t, "hopcount_limit = 20\nrelay_destination_recipient_limit = 7\n", `
# service
smtp      inet  n       -       n       -       -       smtpd
submission inet n       -       n       -       3       smtpd
  -o syslog_name=postfix/submission
  # a comment in between
  -o { smtpd_relay_restrictions = permit_mynetworks, reject }
  -osmtpd_helo_required=yes -o smtpd_helo_required=no
dovecot   unix  -       n       n       -       -       pipe
  flags=DRhu user=vmail argv=/usr/lib/deliver {two words}
`)
	if err != nil {
		t.Fatal(err)
	}
	list := s.Services()
	if len(list) != 3 || list[1].At.Line != 4 || list[0].MaxProc != 100 || list[1].MaxProc != 3 {
		t.Fatalf("services = %+v", list)
	}
	if d := cmp.Diff([]string{"flags=DRhu", "user=vmail", "argv=/usr/lib/deliver", "two words"}, list[2].Args); d != "" {
		t.Error(d)
	}
	v, err := s.With(list[1].Overrides)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.String("smtpd_relay_restrictions"); got != "permit_mynetworks, reject" {
		t.Errorf("override = %q", got)
	}
	if v.Bool("smtpd_helo_required") || v.Int("hopcount_limit") != 20 || v.String("syslog_name") != "postfix/submission" {
		t.Error("overrides: the last one counts, others stay")
	}
	if at := v.Value("syslog_name").At; !strings.HasSuffix(at.File, "master.cf") || at.Line != 4 {
		t.Errorf("place of an override = %+v", at)
	}
	if s.String("syslog_name") != "postfix" {
		t.Error("With changed the original")
	}
	if s.TransportInt("relay", "destination_recipient_limit") != 7 || s.TransportInt("smtp", "destination_recipient_limit") != 50 ||
		s.TransportInt("local", "destination_recipient_limit") != 1 || s.TransportInt("smtp", "initial_destination_concurrency") != 5 {
		t.Error("TransportInt")
	}
	if _, err := s.With([]Override{{Name: "soft_bounce", Value: "maybe"}}); err == nil {
		t.Error("a bad override was taken")
	}
}

func TestMissingMaster(t *testing.T) {
	if n := len(mustLoad(t, "").Services()); n != 9 {
		t.Errorf("%d default services, want 9", n)
	}
}

// TestDocumented keeps the catalogue and the code together: what the code asks
// for is in the catalogue and has a line of documentation.
func TestDocumented(t *testing.T) {
	for name, p := range catalogue() {
		if p.Name != name || p.Type == "" {
			t.Errorf("catalogue entry %+v", p)
		}
		if strings.Contains(p.Doc, "\t") || strings.HasSuffix(p.Doc, ".") {
			t.Errorf("%s: documentation %q", name, p.Doc)
		}
	}
	if p, ok := LookupParam("virtual_alias_maps"); !ok || p.Doc == "" {
		t.Error("virtual_alias_maps has no documentation")
	}
}

func FuzzMain(f *testing.F) {
	f.Add("a = b\n c\n#x\n$a = ${a?{b}:{c}}\n", "smtp inet n - n - - smtpd -o a=b\n")
	f.Add("mydestination = ${{$x} ==level {3.6} ? {a} : {b}}\n", "x unix - - n - - pipe argv={a b}\n")
	f.Fuzz(func(t *testing.T, main, master string) {
		s, err := load(t, main, master)
		if err == nil && s.String("myhostname") == "" && !strings.Contains(main, "myhostname") {
			t.Error("no host name")
		}
	})
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$a", "${a?{b}:{c}}", "${{a} < {b} ? {c} : {d}}", "$(a)", "${a"} {
		f.Add(s)
	}
	s := &Settings{params: catalogue(), written: map[string]Value{"a": {Raw: "$b"}, "b": {Raw: "${c:x}"}}}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := s.Expand(text)
		if err == nil && !strings.Contains(text, "$") && out != text {
			t.Errorf("Expand(%q) = %q", text, out)
		}
	})
}
