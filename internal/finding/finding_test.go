package finding

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/origin"
)

func TestPages(t *testing.T) {
	if n := len(Codes()); n != 45 {
		t.Errorf("%d pages", n)
	}
	for _, code := range Codes() {
		page, ok := Page(strings.ToLower(code))
		if !ok || !strings.HasPrefix(page, "# "+code+": ") {
			t.Errorf("Page(%s) = %.20q, %v", code, page, ok)
		}
		if Title(code) == "" || Cure(code) == "" || section(code, "Symptom") == "" || section(code, "Cause") == "" {
			t.Errorf("page %s lacks a title, Symptom, Cause or Cure", code)
		}
	}
	for _, code := range []string{"", "VD999", "../finding", "VD*"} {
		if page, ok := Page(code); ok || page != "" || Title(code) != "" || Cure(code) != "" {
			t.Errorf("Page(%q) is there", code)
		}
	}
}

func TestPrint(t *testing.T) {
	f := Finding{Code: "VD204", Severity: Error, Message: "hides\x1b[31m john", Near: []string{"a@b.test", "c@d.test"}, Fix: "do\nthis", At: []origin.At{
		{File: "virtual", Line: 7, Text: "@b.test\ta@b.test"},
		{File: "main.cf", Parameter: "virtual_alias_domains", Text: "(default) $virtual_alias_maps"},
		{Table: "sqlite:x.cf", Key: "k", Query: "SELECT 1"},
	}}
	var b bytes.Buffer
	f.Print(&b, false)
	want := `VD204 error  hides` + "\uFFFD" + `[31m john
   at virtual:7
      @b.test a@b.test
   at virtual_alias_domains, which is not written in main.cf
      (default) $virtual_alias_maps
   at sqlite:x.cf "k"
      SELECT 1
   near a@b.test, c@d.test
   fix: do this
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("Print (-want +got):\n%s", diff)
	}
	b.Reset()
	f.Print(&b, true)
	if !strings.Contains(b.String(), "\x1b[31merror\x1b[0m") {
		t.Errorf("no colour in %q", b.String())
	}
}

func TestList(t *testing.T) {
	var l List
	at := []origin.At{{File: "main.cf", Line: 2}}
	l.Add(Finding{Code: "VD310", Severity: Info, At: at})
	l.Add(Finding{Code: "VD310", Severity: Error, At: at}) // the same place
	l.Add(Finding{Code: "VD101", Severity: Error, At: make([]origin.At, MaxPlaces+1)})
	l.Add(Finding{Code: "VD102", Severity: Warning, At: []origin.At{{File: "main.cf", Line: 1}}})
	got := l.Sorted()
	if len(got) != 3 || got[0].Code != "VD101" || got[1].Code != "VD102" || got[2].Severity != Info || len(got[0].At) != MaxPlaces {
		t.Errorf("Sorted = %+v", got)
	}
	if Count(got, Error) != 1 || (&List{}).Sorted() == nil {
		t.Error("Count, or an empty list that is nil")
	}
}
