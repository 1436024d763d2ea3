package cf

import (
	"fmt"
	"strings"
	"testing"
)

func TestSuggestion(t *testing.T) {
	known := []string{"dbpath", "query", "result_format", "domain", "expansion_limit", "table", "select_field", "where_field", "additional_conditions"}
	for name, want := range map[string]string{
		"dbpth": "dbpath", "db_path": "dbpath", "Query": "query", "result_filter": "result_format", "domains": "domain", "xyz": "", "": "", "hosts": "",
	} {
		if want != "" {
			want = fmt.Sprintf(", did you mean %q?", want)
		}
		if got := suggestion(name, known); got != want {
			t.Errorf("suggestion(%q) = %q, want %q", name, got, want)
		}
	}
}

// FuzzTemplate holds that what a template expands to is the template when
// every part reads like its letter, and that no part is missing.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{"%s", "%u@%d", "a%%b%1.%2", "%", "%x", "%S%U%D%9", ""} {
		f.Add(text, "user@a.b.example")
		f.Add(text, "@")
		f.Add(text, "x@..")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		tmpl, err := ParseTemplate(text)
		if err != nil {
			return
		}
		same := &Parts{Whole: "%s", User: "%u", Domain: "%d"}
		capital := &Parts{Whole: "%S", User: "%U", Domain: "%D", Labels: strings.Fields("%1 %2 %3 %4 %5 %6 %7 %8 %9")}
		if got, want := tmpl.Expand(capital, same), strings.ReplaceAll(text, "%%", "%"); len(tmpl.pieces) > 0 && got != want && !strings.Contains(text, "%%") {
			t.Errorf("ParseTemplate(%q).Expand = %q, want %q", text, got, want)
		}
		var n Needs
		tmpl.KeyNeeds(&n, false)
		if p, ok := CutParts(key, n); ok {
			tmpl.Expand(&p, &p)
		}
	})
}
