package macro

import (
	"errors"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	values := func(name string, _ bool) (string, bool) {
		v, ok := map[string]string{"a": "A", "b_1": "$a", "empty": ""}[name]
		return v, ok
	}
	tests := []struct {
		in, want string
		complete bool
		fault    string
	}{
		{"plain", "plain", true, ""},
		{"$a ${a} $(a) ${ a } $a.x", "A A A A A.x", true, ""},
		{"$$a$$", "$a$", true, ""},
		{"$b_1", "$a", true, ""}, // values are not looked at again
		{"$none x", " x", false, ""},
		{"$empty x", " x", true, ""},
		{"${a?yes}${empty?yes}${none?yes}", "yes", true, ""},
		{"${a:no}${empty:no}${none:no}", "nono", true, ""},
		{"${a?{yes}:{no}} ${empty?{yes}:{no}}", "yes no", true, ""},
		{"${a?{yes}}${a:{no}}", "yes", true, ""},
		{"${a?x$none}", "x", false, ""},
		{"${empty?x$none}", "", true, ""},
		{"${a?${empty:deep}}", "deep", true, ""},
		{"${a?a:b}", "a:b", true, ""}, // without braces the text goes on to the end
		{"$", "", true, "empty macro name"},
		{"x$-", "", true, "empty macro name"},
		{"${}", "", true, "empty macro name"},
		{"${?x}", "", true, "empty macro name"},
		{"${a", "", true, "truncated macro reference"},
		{"$(a}", "", true, "truncated macro reference"},
		{"${a b}", "", true, "attribute name syntax error"},
		{"${a?{x}y}", "", true, "unexpected input"},
		{"$(a?{x)", "", true, "unbalanced {}"},
		{strings.Repeat("${a?", 30) + strings.Repeat("}", 30), "", true, "nested too deeply"},
	}
	for _, tt := range tests {
		got, complete, err := Expand(tt.in, values)
		if tt.fault != "" {
			if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("Expand(%q): error %v, want %s", tt.in, err, tt.fault)
			}
			continue
		}
		if err != nil || got != tt.want || complete != tt.complete {
			t.Errorf("Expand(%q) = %q, %v, %v, want %q, %v", tt.in, got, complete, err, tt.want, tt.complete)
		}
	}
}

// TestTest: a condition asks in another way than a use.
func TestTest(t *testing.T) {
	var asked []string
	_, _, _ = Expand("${a?$b}", func(name string, test bool) (string, bool) {
		if test {
			name += "?"
		}
		asked = append(asked, name)
		return "x", true
	})
	if got := strings.Join(asked, " "); got != "a? b" {
		t.Errorf("asked for %s", got)
	}
}

// FuzzExpand: a text without a dollar sign stays as it is, and a value never is
// a macro.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"$a", "${a?{b}:{c}}", "$(a:b)", "$$", "${${", "}{", "${a?${a?${a}}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, _, err := Expand(in, func(string, bool) (string, bool) { return "", true })
		if err == nil && !strings.Contains(in, "$") && got != in {
			t.Errorf("Expand(%q) = %q", in, got)
		}
		if len(got) > len(in) {
			t.Errorf("Expand(%q) = %q: longer without values", in, got)
		}
	})
}
