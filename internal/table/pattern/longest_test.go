package pattern

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// compiled makes a matcher of a regexp: pattern that longest runs.
func compiled(t *testing.T, pattern, flags string) matcher {
	t.Helper()
	m, _, err := compileRegexp(pattern, flags)
	if err != nil {
		t.Fatalf("%s: %v", pattern, err)
	}
	if s, ok := m.(*screened); ok {
		m = s.matcher
	}
	if _, ok := m.(*longest); !ok {
		t.Fatalf("%s is run by %T", pattern, m)
	}
	return m
}

func TestLongest(t *testing.T) {
	tests := []struct {
		pattern, flags, key string
		want                []string // nil: no match
	}{
		{`(a)\1`, "", "xaA", []string{"aA", "a"}},
		{`(a)\1`, "i", "xaA", nil},
		{`(a)\1`, "i", "xaaa", []string{"aa", "a"}},
		{"(\xe9)\\1", "", "\xe9\xc9", nil},
		{`(a|ab)(c|bcd)?\1`, "", "abcab", []string{"abcab", "ab", "c"}},
		{`(a|ab)\1*`, "", "abab", []string{"abab", "ab"}},
		{`(a*)*\1x`, "", "aax", []string{"aax", ""}},
		{`(a*)+\1`, "", "b", []string{"", ""}},
		{`(x)?\1a`, "", "a", nil},
		{`(a)(b)(c)(d)(e)(f)(g)(h)(i)\9`, "", "abcdefghii", []string{"abcdefghii", "a", "b", "c", "d", "e", "f", "g", "h", "i"}},
		{`\<a|\<ab`, "", "x ab", []string{"ab"}},
		{`(a|ab)\>`, "", "ab", []string{"ab", "ab"}},
		{`\<`, "", "", nil},
		{`\<`, "", " a", []string{""}},
		{`\>`, "", "a ", []string{""}},
		{`x\>`, "", "xx", []string{"x"}},
		{`\<(\>)?a`, "", "a", []string{"a", ""}},
		{`^\<.*\>$`, "m", "a b", []string{"a b"}},
		{`a\|\<b`, "x", "b", []string{"b"}},
	}
	for _, tt := range tests {
		s, _ := newText(tt.key)
		got, ok, err := compiled(t, tt.pattern, tt.flags).match(&s, true)
		if err != nil || ok != (tt.want != nil) || !slices.Equal(got, tt.want) {
			t.Errorf("/%s/%s and %q: %q, %v, %v, want %q", tt.pattern, tt.flags, tt.key, got, ok, err, tt.want)
		}
	}
}

// What cannot be decided in bounded time is an error.
func TestLongestGivesUp(t *testing.T) {
	tests := []struct{ pattern, key string }{
		{`^(a|aa)*(b|\1)*c$`, strings.Repeat("a", 60)},
		{`\<` + strings.Repeat("(a|b)?", 100), strings.Repeat("x", 20_000)},
	}
	for _, tt := range tests {
		s, _ := newText(tt.key)
		if _, _, err := compiled(t, tt.pattern, "").match(&s, false); !errors.Is(err, errBacktracking) {
			t.Errorf("%.20s: %v, want %v", tt.pattern, err, errBacktracking)
		}
	}
	// Without back-references the time is linear.
	s, _ := newText(strings.Repeat("a", 1000))
	if _, ok, err := compiled(t, `\<(a|aa)*(a|aaa)*b$`, "").match(&s, false); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
