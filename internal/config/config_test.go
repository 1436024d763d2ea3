package config

import (
	"errors"
	"fmt"
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

// The answers are those of postconf -x of Postfix 3.7.11.
func TestExpand(t *testing.T) {
	s := mustLoad(t, "empty =\nb = bee\nnested = <$b>\n")
	tests := []struct{ in, want, err string }{
		{"[${b?{ a }}]", "[ a ]", ""},
		{"[${b ? { a } : {c} }]", "[ a ]", ""},
		{"[${b? a b }]", "[ a b ]", ""},
		{"[${b?a:c}]", "[a:c]", ""},
		{"[${empty?{a}: c d }]", "[ c d ]", ""},
		{"[${empty:{ x } }]", "[ x ]", ""},
		{"[${b?{a}x}]", "", `":" expected at`},
		{"x$", "", "empty macro name"},
		{"x${", "", "truncated macro reference"},
		{"x${}", "", "empty macro name"},
		{"x${ }", "x", ""},
		{"${b-c}", "", "attribute name syntax error"},
		{"$(b)", "bee", ""},
		{"$(b?{x})", "x", ""},
		{"${b?(x)}", "(x)", ""},
		{"${ b }", "bee", ""},
		{"[${{a}=={a}}]", "[true]", ""},
		{"[${{a}=={b}}]", "[]", ""},
		{"[${{a} != {b} ? {y}}]", "[y]", ""},
		{"[${{a} == {b} ? {y}}]", "[]", ""},
		{"[${{a} == {b} : {n}}]", "[n]", ""},
		{"[${{010} == {10} ? {y} : {n}}]", "[y]", ""},
		{"[${{10} > {9} ? {y} : {n}}]", "[y]", ""},
		{"[${{10} > {9a} ? {y} : {n}}]", "[n]", ""},
		{"[${{3.10} >level {3.9} ? {y}:{n}}]", "[y]", ""},
		{"[${{x} >level {3.9} ? {y}:{n}}]", "", "malformed compatibility level syntax"},
		{"[${{3} >=level {3.0} ? {y}:{n}}]", "[y]", ""},
		{"[${{a} ~ {b}}]", "", `or ">" expected at`},
		{"[$undefd]", "[]", ""},
		{"[${undefd?{a}:{b}}]", "[b]", ""},
		{"$$b", "$b", ""},
		{"[${b:}]", "[]", ""},
		{"[${b?}]", "[]", ""},
		{"[${b?{}}]", "[]", ""},
		{"${b}}", "bee}", ""},
		{"$b-c", "bee-c", ""},
		{"$b.c", "bee.c", ""},
		{"[${{ a } == {a} ? {y} : {n}}]", "[n]", ""},
		{"${{$b} == {bee} ? {${empty:{q}}} : {n}}", "q", ""},
		{"${b?{a}:}", "a", ""},
		{"[${empty?{a}:}]", "[]", ""},
		{"[${?x}]", "[]", ""},
		{"${b ?x}", "x", ""},
		{"[${empty ?x}]", "[]", ""},
		{"[${{ } == {} ?{y}:{n}}]", "[n]", ""},
		{"[${{3.6.0.1} >level {3.9} ? {y}:{n}}]", "", "malformed compatibility level syntax"},
		{"[${{3.} >level {3.9} ? {y}:{n}}]", "", "malformed compatibility level syntax"},
		{"[${{} >level {3.9} ? {y}:{n}}]", "", "malformed compatibility level syntax"},
		{"[${b?{a} : c}]", "[a]", ""},
		{"[${b? {a}}]", "[a]", ""},
		{"${b?x}{y}", "x{y}", ""},
		{"$(b?{)})", "", "unbalanced {} in attribute expression"},
		{"${b?)}", ")", ""},
		{"[${{3} <level{4}?{y}}]", "[y]", ""},
		{"[${b?{$$b}}]", "[$b]", ""},
		{"[${b?$$b}]", "[$b]", ""},
		{"[$nested]", "[<bee>]", ""},
		{"[${{$empty} == {} ? {y}:{n}}]", "[y]", ""},
		{"[${{a} < {b} ? {y}:{n}}]", "[y]", ""},
		{"[${{B} < {a} ? {y}:{n}}]", "[y]", ""},
		{"[${{-5} < {4} ? {y}:{n}}]", "[y]", ""},
		{"[${{} < {4} ? {y}:{n}}]", "[y]", ""},
		{"[${{a}==level {b}?{y}}]", "", "malformed compatibility level syntax"},
		{"[${b?{a}:{c} }]", "[a]", ""},
		{"[${b?{a}{c}}]", "", `":" expected at`},
		{"[${{4}<{5}?{y} : n m }]", "[y]", ""},
		{"[${{a}=={a} ? x }]", "[ x ]", ""},
		{"[${{a}=={a}:}]", "[]", ""},
		{"[${b?a}b}]", "[ab}]", ""},
		{"[${b?a$(b)c}]", "[abeec]", ""},
		{"[$(b?a${b}c)]", "[abeec]", ""},
		{"[$(b?a)c)]", "[ac)]", ""},
		{"[${b?a{x}c}]", "[a{x}c]", ""},
		{"[$b$b]", "[beebee]", ""},
		{"[$(b}]", "", "truncated macro reference"},
		{"[${{3.6} >=level {3.6.1} ? {y}:{n}}]", "[n]", ""},
		{"[${{1000000} >=level {3.6.1} ? {y}:{n}}]", "[y]", ""},
		{"[${{-1} >=level {3.6.1} ? {y}:{n}}]", "", "malformed compatibility level syntax"},
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

// Numbers beyond 64 bits are compared as numbers, where Postfix dies.
func TestExpandLargeNumbers(t *testing.T) {
	s := mustLoad(t, "")
	for in, want := range map[string]string{
		"${{99999999999999999999} < {4} ? {y} : {n}}":    "n",
		"${{5} < {99999999999999999999} ? {y} : {n}}":    "y",
		"${{0000} == {0} ? {y} : {n}}":                   "y",
		"${{18446744073709551616} == {0} ? {y} : {n}}":   "n",
		"${{00018446744073709551616} > {9} ? {y} : {n}}": "y",
	} {
		if got, err := s.Expand(in); err != nil || got != want {
			t.Errorf("Expand(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

// Values that double at every step end in an error, not in a full memory.
func TestExpandGrowth(t *testing.T) {
	var main strings.Builder
	for i := range 60 {
		fmt.Fprintf(&main, "v%d = $v%d$v%d\n", i, i+1, i+1)
	}
	_, err := load(t, main.String()+"v60 = x\nmydestination = $v0\n", "")
	if err == nil || !strings.Contains(err.Error(), "unreasonable macro call nesting") {
		t.Errorf("Load = %v, want an error", err)
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
		{"plus and min", "smtpd_timeout = +0\n", "", "main.cf:1: invalid smtpd_timeout: +0 (min 1)"},
		{"time max", "bounce_queue_lifetime = 101d\n", "", "main.cf:1: invalid bounce_queue_lifetime: 101d (max 8640000)"},
		{"time overflow", "smtpd_timeout = 4000w\n", "", "bad time value or unit: 4000w"},
		{"empty time", "smtpd_timeout =\n", "", "parameter smtpd_timeout: bad time value or unit: "},
		{"32 bits", "hopcount_limit = 3000000000\n", "", "bad numerical configuration: hopcount_limit = 3000000000"},
		{"level", "compatibility_level = x\n", "", `main.cf:1: malformed compatibility level syntax: "x"`},
		{"service parameter", "relay_destination_recipient_limit = many\n", "", "main.cf:1: bad numerical configuration: relay_destination_recipient_limit = many"},
		{"pipe parameter", "maildrop_time_limit = 1x\n", "maildrop unix - n n - - pipe argv=/bin/maildrop\n", "main.cf:1: parameter maildrop_time_limit: bad time value or unit: 1x"},
		{"user-defined but used", "own = ${\nmydestination = $own\n", "", "main.cf:1: parameter own: macro processing error: truncated macro reference"},
		{"option text", "", "smtp inet n - n - - smtpd -o x\n", "master.cf:1: -o x: missing '='"},
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

// Everything wrong is said at once, each mistake once, in the order of the files.
func TestErrorsTogether(t *testing.T) {
	s, err := load(t, "nonsense\nsoft_bounce = maybe\n\nmydestination = ${x\nvirtual_mailbox_domains = $mydestination\n"+
		"a = 1\nb = 2\nc = 3\nd = 4\nhopcount_limit = x\n", "smtp inet n\n")
	if s == nil || err == nil {
		t.Fatalf("Load = %v, %v, want both", s, err)
	}
	var got []string
	for line := range strings.Lines(err.Error()) {
		got = append(got, strings.TrimSpace(strings.TrimPrefix(line, s.Dir()+"/")))
	}
	want := []string{
		`main.cf:1: missing '=' after attribute name: "nonsense"`,
		"main.cf:2: bad boolean configuration: soft_bounce = maybe (use yes or no)",
		`main.cf:4: parameter mydestination: macro processing error: truncated macro reference: "${x"`,
		"main.cf:10: bad numerical configuration: hopcount_limit = x",
		"master.cf:1: bad field count: 3 fields, need at least 8",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWarnings(t *testing.T) {
	const smtpd = "smtp inet n - n - - smtpd"
	tests := []struct{ name, main, master, want string }{
		{"near", "virtual_alias_domian = x\n", "", "main.cf:1: unknown parameter: virtual_alias_domian; did you mean virtual_alias_domains?"},
		{"one letter", "virtual_alias_domain = x\n", "", "main.cf:1: unknown parameter: virtual_alias_domain; did you mean virtual_alias_domains"},
		{"one letter of a short name", "relay_domain = x\n", "", "unknown parameter: relay_domain; did you mean relay_domains"},
		{"best first", "virtual_alias_map = x\n", "", "; did you mean virtual_alias_maps"},
		{"nothing near", "qwertz = x\n", "", "main.cf:1: unused parameter: qwertz=x"},
		{"twice", "myorigin = a\nmyorigin = b\n", "", "main.cf:2: overriding earlier entry: myorigin=a"},
		{"orphan", " x = y\n", "", "main.cf:1: logical line must not start with whitespace"},
		{"notices", "notify_classes = bounce, 2bounce, delay, {software}, resource, data, policy, protocol, ${x}\n", "", ""},
		{"unknown notices", "notify_classes = bonce\n", "", `main.cf:1: notify_classes: unknown class "bonce"; did you mean bounce or 2bounce?`},
		{"comment", "mydestination = a # b\n", "", "main.cf:1: mydestination: comment at end of line is not supported: #"},
		{"indented setting", "virtual_alias_maps =\n\tvirtual_mailbox_base = /x\n", "", "main.cf:1: continuation line looks like a setting of its own: virtual_mailbox_base"},
		{"broken but unused", "own_text = ${\n", "", "main.cf:1: parameter own_text: macro processing error: truncated macro reference"},
		{"wrong but without effect", "biff = maybe\n", "", "main.cf:1: bad boolean configuration: biff = maybe"},
		{"a password twice", "foo_password = x\nfoo_password = y\n", "", "main.cf:2: overriding earlier entry: foo_password=... ("},
		{"a password", "foo_password = x\n", "", "main.cf:1: unused parameter: foo_password=..."},
		{"a password of another name", "isp_passphrase = x\n", "", "main.cf:1: unused parameter: isp_passphrase=..."},
		{"a short name of a password", "smtp_pass = x\n", "", "main.cf:1: unused parameter: smtp_pass=..."},
		{"no password", "mail_bypass = x\n", "", "main.cf:1: unused parameter: mail_bypass=x"},
		{"tables of passwords twice", "smtp_sasl_password_maps = static:a:b\nsmtp_sasl_password_maps = static:c:d\n", "", "overriding earlier entry: smtp_sasl_password_maps=... ("},
		{"tables of passwords", "own_relay_password_maps = static:a:b\n", "", "main.cf:1: unused parameter: own_relay_password_maps=..."},
		{"table of another name", "transport_maps = mysql:foo\nbar_dbname = x\n", "", "main.cf:2: unused parameter: bar_dbname=x"},
		{"orphan in master.cf", "", "# c\n  x inet\n" + smtpd + "\n", "master.cf:2: logical line must not start with whitespace"},
		{"service twice", "", smtpd + "\n" + smtpd + " -o myorigin=b\n", `master.cf:2: duplicate entry for service "smtp" (inet), first at`},
		{"unknown override", "", smtpd + " -o smtpd_relay_restriction=reject\n", "master.cf:1: unknown parameter: smtpd_relay_restriction; did you mean smtpd_relay_restrictions?"},
		{"override with blanks", "", smtpd + "\n -o smtpd_relay_restrictions=permit_mynetworks, reject -o x=y\n", `master.cf:1: service smtp: "reject" and what follows is no option`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := load(t, tt.main, tt.master)
			if err != nil {
				t.Fatal(err)
			}
			w := s.Warnings()
			if len(w) == 0 || len(w) > 2 || !strings.Contains(w[0].String(), tt.want) {
				t.Errorf("Warnings = %v, want %q", w, tt.want)
			}
		})
	}
}

func TestNoWarnings(t *testing.T) {
	s, err := load(t, `
own = x
mydestination = $own
second = y
myorigin = ${ second?{a}:{b} }
transport_maps = unionmap:{proxy:mysql:virtual, texthash:/etc/t}
virtual_dbname = mail
virtual_no_such_thing = z
smtpd_restriction_classes = strict
strict = reject
relay_destination_concurrency_limit = 3
policy_time_limit = 3600
in_master = reject
`, `policy unix - n n - 0 spawn user=nobody argv=/usr/bin/policyd -o x
smtp inet n - n - - smtpd -v -o smtpd_client_restrictions=$in_master
`)
	if err != nil || len(s.Warnings()) != 0 {
		t.Errorf("Load = %v, Warnings = %v, want none", err, s.Warnings())
	}
}

func TestMaster(t *testing.T) {
	s, err := load(t, "hopcount_limit = 20\nrelay_destination_recipient_limit = 7\n", `
# service
smtp      inet  n       -       -       -       -       smtpd
submission inet n       -       y       -       3       smtpd
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
	if list[0].Chroot || !list[1].Chroot || list[2].Chroot {
		t.Errorf("confined are %v, %v, %v", list[0].Chroot, list[1].Chroot, list[2].Chroot)
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
	for _, sv := range s.Services() {
		v, err := s.ForService(sv)
		if err != nil || v.String("service_name") != sv.Name || v.String("process_name") != sv.Command {
			t.Errorf("ForService(%s): %v", sv.Name, err)
		}
	}
	if _, err := s.With([]Override{{Name: "soft_bounce", Value: "maybe"}}); err == nil {
		t.Error("a bad override was taken")
	}
}

// Options end at the first other word: the rest belongs to the program.
func TestMasterArguments(t *testing.T) {
	s, err := load(t, "", `
relay unix - - n - - smtp -v -o syslog_name=postfix/$service_name
mailman unix - n n - - pipe flags=R argv=/usr/bin/post -o x {a b} -o
`)
	if err != nil {
		t.Fatal(err)
	}
	list := s.Services()
	if d := cmp.Diff([]string{"flags=R", "argv=/usr/bin/post", "-o", "x", "a b", "-o"}, list[1].Args); d != "" {
		t.Error(d)
	}
	if len(list[1].Overrides) != 0 || len(list[0].Overrides) != 1 || !cmp.Equal(list[0].Args, []string{"-v"}) {
		t.Errorf("services = %+v", list)
	}
	v, err := s.ForService(list[0])
	if err != nil || v.String("syslog_name") != "postfix/relay" {
		t.Errorf("syslog_name = %q, %v", v.String("syslog_name"), err)
	}
}

func TestLastServiceCounts(t *testing.T) {
	s, err := load(t, "default_process_limit = 7\n", "smtp inet n - n - 3 smtpd\nsmtp unix - - n - - smtp\nsmtp inet n - n - - smtpd -o a=b\n")
	if err != nil {
		t.Fatal(err)
	}
	list := s.Services()
	if len(list) != 2 || list[0].At.Line != 3 || list[0].MaxProc != 7 || len(list[0].Overrides) != 1 || list[1].Command != "smtp" {
		t.Errorf("services = %+v", list)
	}
}

func TestNetworks(t *testing.T) {
	tests := []struct{ main, want string }{
		{"", "192.0.2.7/32 [::1]/128"},
		{"mynetworks_style = subnet\n", "192.0.2.0/24 [::1]/128"},
		{"mynetworks_style = class\n", "192.0.2.0/24 [::1]/128"},
		{"inet_protocols = ipv4\n", "192.0.2.7/32"},
		{"inet_protocols = ipv6\n", "[::1]/128"},
		{"inet_interfaces = loopback-only\n", "[::1]/128"},
		{"inet_interfaces = 192.0.2.7, [2001:db8::1]\n", "192.0.2.7/32"},
		{"inet_interfaces = $myhostname\n", "192.0.2.7/32 [::1]/128"},
		{"inet_interfaces =\n", ""},
	}
	for _, tt := range tests {
		if got := mustLoad(t, tt.main).String("mynetworks"); got != tt.want {
			t.Errorf("mynetworks with %q = %q, want %q", tt.main, got, tt.want)
		}
	}
}

func TestTimes(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration
	}{
		{"5", 5 * time.Second}, {"5s", 5 * time.Second}, {"5m", 5 * time.Minute}, {"5minutes", 5 * time.Minute},
		{"+5m", 5 * time.Minute}, {"1h30m", time.Hour}, {"2d", 48 * time.Hour}, {"1w", 7 * 24 * time.Hour}, {"${stress?{1}:{2}}m", 2 * time.Minute},
	}
	for _, tt := range tests {
		if got := mustLoad(t, "smtpd_timeout = "+tt.in+"\n").Duration("smtpd_timeout"); got != tt.want {
			t.Errorf("smtpd_timeout = %s is %v, want %v", tt.in, got, tt.want)
		}
	}
	if got := mustLoad(t, "maximal_queue_lifetime = 3\n").Duration("maximal_queue_lifetime"); got != 3*24*time.Hour {
		t.Errorf("maximal_queue_lifetime = 3 is %v, want days as in the default", got)
	}
}

func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("compatibility_level = 3.6\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(dir, Options{}); err != nil {
			b.Fatal(err)
		}
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

func TestUnknownProgram(t *testing.T) {
	s, err := load(t, "", "smtp inet n - n - - smptd\nverify unix - - n - 1 verify\n")
	if err != nil {
		t.Fatal(err)
	}
	w := s.Warnings()
	if len(w) != 1 || !strings.Contains(w[0].String(), `master.cf:1: service smtp: unknown program "smptd"; did you mean smtpd?`) {
		t.Errorf("Warnings = %v", w)
	}
}

func TestParametersWithoutEffect(t *testing.T) {
	main := "content_filter = scan:[127.0.0.1]:10024\nmailbox_command =\nsmtpd_sasl_auth_enable = no\n"
	s, err := load(t, main, "submission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes\n")
	if err != nil {
		t.Fatal(err)
	}
	w := s.Warnings()
	if len(w) != 2 || !strings.Contains(w[0].String(), "main.cf:1: content_filter has no effect in this version") ||
		!strings.Contains(w[1].String(), "master.cf:1: smtpd_sasl_auth_enable has no effect") {
		t.Errorf("Warnings = %v", w)
	}
}

// TestAbsentAreKnown keeps the list of parameters without effect and the
// catalogue together: they are known and promise nothing.
func TestAbsentAreKnown(t *testing.T) {
	for _, name := range absent {
		if p, ok := LookupParam(name); !ok || p.Doc != "" {
			t.Errorf("%s: known %v, documented %+v", name, ok, p)
		}
	}
}

// TestOriginFile is Debian's "myorigin = /etc/mailname".
func TestOriginFile(t *testing.T) {
	for text, want := range map[string]string{
		"mail.example.org\n":                    "mail.example.org",
		"# the name\n\n  mail.example.org  \nx": "mail.example.org",
		"":                                      "main.cf:1: myorigin: the file {dir}/mailname is empty",
		"-":                                     "main.cf:1: myorigin: open {dir}/mailname: no such file or directory",
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, "mailname")
		err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("myorigin = "+name+"\nmydestination = $myorigin\n"), 0o644)
		if text != "-" {
			err = errors.Join(err, os.WriteFile(name, []byte(text), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
		v, err := Load(dir, Options{})
		if err != nil {
			if got := strings.ReplaceAll(err.Error(), dir+"/main.cf", "main.cf"); got != strings.ReplaceAll(want, "{dir}", dir) {
				t.Errorf("%q: %v, want %s", text, got, want)
			}
			continue
		}
		if got := v.String("myorigin"); got != want || v.String("mydestination") != name {
			t.Errorf("%q: myorigin %q, mydestination %q, want %q and the name of the file", text, got, v.String("mydestination"), want)
		}
	}
}
