package bounce

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
)

// everything is a template file with all that there may be.
const everything = `# words of our own

  failure_template = <<EOF
charset: ISO-8859-1
From: MAILER-DAEMON (Mail)
SUBJECT : Came back
Postmaster-Subject: Copy: came back

The host $myhostname
  took ${delay_warning_time_minutes} $$ and $(maximal_queue_lifetime_days),
\n is no line end
 EOF
EOF
delay_template = <<E O F

Late
E O F
success_template = Done.
`

func TestParseTemplates(t *testing.T) {
	got, errs := ParseTemplates(strings.NewReader(everything), "bounce.cf")
	if len(errs) > 0 {
		t.Fatalf("errors %v", errs)
	}
	failure := got.kinds[Failure]
	if failure.charset != "ISO-8859-1" || failure.from != "MAILER-DAEMON (Mail)" || failure.subject != "Came back" ||
		failure.postmaster != "Copy: came back" || failure.at.Line != 3 {
		t.Errorf("header of the failure template: %+v", failure)
	}
	for kind, want := range map[Kind]string{
		Failure: "The host $myhostname\n  took ${delay_warning_time_minutes} $$ and $(maximal_queue_lifetime_days),\n\\n is no line end\n EOF\n",
		Delay:   "Late\n",
		Success: "Done.\n",
		Verify:  builtIn[Verify].text,
	} {
		if got.kinds[kind].text != want {
			t.Errorf("%v: text %q, want %q", kind, got.kinds[kind].text, want)
		}
	}
	if got.kinds[Delay].subject != builtIn[Delay].subject {
		t.Errorf("a header that the template has not is %q", got.kinds[Delay].subject)
	}
}

// TestTemplateMistakes: each is told with its place, and the built-in template is
// used.
func TestTemplateMistakes(t *testing.T) {
	const start = "failure_template = <<EOF\n"
	for name, test := range map[string]struct{ text, want string }{
		"unknown label":   {start + "X-Other: x\n\ntext\nEOF\n", `t.cf:1: failure_template: unknown header label "X-Other"; the built-in`},
		"empty value":     {start + "Subject:\n\ntext\nEOF\n", "t.cf:1: failure_template: empty Subject header value"},
		"value not ASCII": {start + "Charset: utf-8\nSubject: ü\n\ntext\nEOF\n", "non-ASCII or control character in the Subject"},
		"control":         {start + "Subject: a\rBcc: b\n\ntext\nEOF\n", "non-ASCII or control character in the Subject"},
		"8-bit text":      {"\n" + start + "Subject: x\n\nü\nEOF\n", "t.cf:2: failure_template: 8-bit message text needs a Charset"},
		"no text":         {start + "Subject: x\nEOF\n", "t.cf:1: failure_template: missing message text"},
		"nothing":         {start + "EOF\n", "missing message text"},
		"no mark":         {"# x\n" + start + "text\n", `t.cf:2: missing "EOF" end marker`},
		"quoted mark":     {"failure_template = <<'EOF'\nEOF\n", "t.cf:1: malformed end marker"},
		"empty mark":      {"failure_template = <<\ntext\n", "t.cf:1: malformed end marker"},
		"unknown name":    {"fail_template = <<EOF\nx\nEOF\n", `t.cf:1: unknown template "fail_template"`},
		"no equals sign":  {"failure_template <<EOF\n", `t.cf:1: missing "=" after the name of a template`},
	} {
		got, errs := ParseTemplates(strings.NewReader(test.text), "t.cf")
		if len(errs) == 0 || !strings.Contains(errs[0].Error(), test.want) {
			t.Errorf("%s: errors %v, want %q", name, errs, test.want)
		}
		if used := got.kinds[Failure]; used.text != builtIn[Failure].text || used.subject != builtIn[Failure].subject || used.charset != "us-ascii" {
			t.Errorf("%s: the template is %+v", name, used)
		}
	}
}

// TestOneBadTemplate leaves the others alone.
func TestOneBadTemplate(t *testing.T) {
	text := "failure_template = <<A\nNo: such\n\nx\nA\ndelay_template = <<B\nLate.\nB\ndelay_template = <<B\nLater.\nB\n"
	got, errs := ParseTemplates(strings.NewReader(text), "t.cf")
	if len(errs) != 1 || got.kinds[Delay].text != "Later.\n" {
		t.Errorf("delay text %q, errors %v", got.kinds[Delay].text, errs)
	}
	if _, errs := ReadTemplates(filepath.Join(t.TempDir(), "none")); len(errs) != 1 || !os.IsNotExist(errs[0]) {
		t.Errorf("a missing file: %v", errs)
	}
	_, errs = ParseTemplates(strings.NewReader("failure_template = <<EOF\n"+strings.Repeat("x", 2*maxTemplates)), "t.cf")
	if len(errs) == 0 {
		t.Error("a line without end is no mistake")
	}
}

// settings are those of a main.cf.
func settings(t *testing.T, main string) *config.Settings {
	t.Helper()
	dir := t.TempDir()
	text := "myhostname = mail.example.com\nmyorigin = example.com\n" + main
	for name, content := range map[string]string{"main.cf": text, "master.cf": "smtp inet n - n - - smtpd\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := config.Load(dir, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExpandTemplates(t *testing.T) {
	const times = "delay_warning_time = 90m\nmaximal_queue_lifetime = 12d\n"
	for _, test := range []struct{ main, text, want, problem string }{
		{times, "$myhostname $mydomain $$ ${mail_name?yes}", "mail.example.com example.com $ yes", ""},
		{times, "$delay_warning_time_minutes ${delay_warning_time_hours}", "90 1", ""},
		{times, "$maximal_queue_lifetime_days $maximal_queue_lifetime_weeks $maximal_queue_lifetime", "12 1 12d", ""},
		{times, "$delay_warning_time_days", "0", "t.cf:2: failure_template: $delay_warning_time_days is 0: choose another unit"},
		{times, "$delay_warning_time_seconds", "5400", "$delay_warning_time_seconds is 5400"},
		{"", "$delay_warning_time_hours", "0", ""},
		{"myhostname = mx.xn--bcher-kva.example\n", "$myhostname $mydomain", "mx.bücher.example bücher.example", ""},
		{"myhostname = mx.xn--bcher-kva.example\nsmtputf8_enable = no\n", "$myhostname", "mx.xn--bcher-kva.example", ""},
		{"", "$nosuch", "", "undefined parameter $nosuch; the built-in template is used"},
		{"", "${unclosed", "", "the built-in template is used"},
		{"", "$delay_warning_time_years", "", "undefined parameter $delay_warning_time_years"},
	} {
		file := filepath.Join(t.TempDir(), "t.cf")
		text := "\nfailure_template = <<EOF\nCharset: utf-8\n\n" + test.text + "\nEOF\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, errs := LoadTemplates(settings(t, test.main+"bounce_template_file = "+file+"\n"), nil)
		want := test.want + "\n"
		if test.want == "" {
			want = strings.NewReplacer("$myhostname", "mail.example.com", "$myorigin", "example.com").Replace(builtIn[Failure].text)
		}
		if got.kinds[Failure].text != want {
			t.Errorf("%q: text %q, want %q", test.text, got.kinds[Failure].text, want)
		}
		if test.problem == "" && len(errs) > 0 || test.problem != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), test.problem)) {
			t.Errorf("%q: problems %v, want %q", test.text, errs, test.problem)
		}
	}
}

// TestLoadTemplatesOpen: the file is opened by who is asked to.
func TestLoadTemplatesOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.cf")
	if err := os.WriteFile(file, []byte("failure_template = <<EOF\n\nelsewhere\nEOF\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := settings(t, "bounce_template_file = /no/such/file\n")
	got, errs := LoadTemplates(v, func(name string) (*os.File, error) {
		if name != "/no/such/file" {
			t.Errorf("asked for %s", name)
		}
		return os.Open(file)
	})
	if len(errs) > 0 || got.kinds[Failure].text != "elsewhere\n" {
		t.Errorf("text %q, problems %v", got.kinds[Failure].text, errs)
	}
	if _, errs := LoadTemplates(v, nil); len(errs) != 1 || !os.IsNotExist(errs[0]) {
		t.Errorf("by itself: %v", errs)
	}
}

// TestWriteTemplates: what is printed is a template file that says the same.
func TestWriteTemplates(t *testing.T) {
	written := func(t *testing.T, templates *Templates) string {
		t.Helper()
		var b bytes.Buffer
		if n, err := templates.WriteTo(&b); err != nil || n != int64(b.Len()) {
			t.Fatalf("WriteTo = %d, %v", n, err)
		}
		return b.String()
	}
	first, _ := ParseTemplates(strings.NewReader(everything), "t.cf")
	text := written(t, first)
	second, errs := ParseTemplates(strings.NewReader(text), "t.cf")
	if len(errs) > 0 {
		t.Fatalf("errors %v", errs)
	}
	if diff := cmp.Diff(text, written(t, second)); diff != "" {
		t.Errorf("after reading (-want +got):\n%s", diff)
	}
	var b bytes.Buffer
	if err := second.WriteTexts(&b); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.HasPrefix(got, "expanded_failure_text = <<EOF\nThe host ") || !strings.Contains(got, "EOF\n\nexpanded_delay_text = <<EOF\nLate\nEOF\n") {
		t.Errorf("WriteTexts: %s", got)
	}
}

func TestCompleteFrom(t *testing.T) {
	for from, want := range map[string]string{
		"Mail Delivery System <MAILER-DAEMON>": "Mail Delivery System <MAILER-DAEMON@x.test>",
		"Mail <a@b.test>":                      "Mail <a@b.test>",
		"MAILER-DAEMON (Mail)":                 "MAILER-DAEMON@x.test (Mail)",
		"MAILER-DAEMON":                        "MAILER-DAEMON@x.test",
		"a@b.test (Mail)":                      "a@b.test (Mail)",
		"two words":                            "two words",
		"Mail <>":                              "Mail <>",
		"Mail <open":                           "Mail <open",
	} {
		if got := completeFrom(from, "x.test"); got != want {
			t.Errorf("completeFrom(%q) = %q, want %q", from, got, want)
		}
	}
}

// FuzzTemplates: whatever a file says, there is a template of each kind, and it
// makes the header of a report no longer.
func FuzzTemplates(f *testing.F) {
	f.Add(everything)
	f.Add("failure_template = <<EOF\nSubject: a\r\n\nx\nEOF\n")
	f.Add("failure_template = <<EOF\nFrom: <\nEOF\nx\n")
	f.Fuzz(func(t *testing.T, text string) {
		templates, _ := ParseTemplates(strings.NewReader(text), "t.cf")
		n, got := compose(t, failure(func(r *Report) { r.Templates = templates }), original)
		head, _, _ := strings.Cut(got, "\n\nThis is a MIME-encapsulated message.\n")
		if lines := strings.Count(head, "\n"); lines != 7 {
			t.Errorf("header has %d lines, want 8:\n%s", lines+1, head)
		}
		if n.EightBit == isASCII([]byte(got)) {
			t.Errorf("EightBit = %v for %q", n.EightBit, got)
		}
	})
}
