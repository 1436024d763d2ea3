package pattern

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRequired(t *testing.T) {
	for _, tt := range []struct {
		family, pattern, flags string
		want                   string // the pieces; "^" in front: the key begins with them
	}{
		{"pcre", `^sales-.*@Example\.org$`, "", "^sales- @example.org"},
		{"pcre", `^x?r0@d0\.example$`, "", "r0@d0.example"},
		{"pcre", `(info)(@)`, "", "info@"},
		{"pcre", `a+b{2,}c{0,1}d?e*f`, "", "a b f"},
		{"pcre", `(abc){2}-(d)`, "", "abc -d"},
		{"pcre", `(^)+abc`, "", "abc"},
		{"pcre", `^(foo)bar`, "", "^foobar"},
		{"pcre", `^`, "", ""},
		{"pcre", `foo|bar`, "", ""},
		{"pcre", `foo[a-c]bar.baz\wx`, "", "foo bar baz x"},
		{"pcre", `^foo`, "m", "foo"},
		{"pcre", `(?m)^foo`, "", "foo"},
		{"pcre", `^foo bar`, "x", ""},
		{"pcre", `(?=foo)bar`, "", ""},
		{"pcre", `(*UTF)foo`, "", ""},
		{"pcre", `\Qfoo\E`, "", ""},
		{"pcre", `foo\v`, "", ""},
		{"pcre", `(f)\1oo`, "", ""},
		{"pcre", `\\1foo\x41`, "", `\1fooa`},
		{"pcre", "\xe9foo", "", ""},
		{"pcre", `foo{,3}`, "", ""},
		{"pcre", `foo{1, 3}`, "", ""},
		{"pcre", `foo{`, "", ""},
		{"regexp", `^sales-.*@Example\.org$`, "", "^sales- @example.org"},
		{"regexp", `^Kiss@`, "i", "^kiss@"},
		{"regexp", `\<cat\>(s)x\1y`, "", "cat sx y"},
		{"regexp", `caf` + "\xe9" + `x`, "", "caf x"},
		{"regexp", `^foo`, "m", "foo"},
		{"regexp", `^\(a\|b\)c`, "x", "c"},
	} {
		compile := compilePcre
		if tt.family == "regexp" {
			compile = compileRegexp
		}
		m, _, err := compile(tt.pattern, tt.flags)
		if err != nil {
			t.Errorf("%s /%s/%s: %v", tt.family, tt.pattern, tt.flags, err)
			continue
		}
		got := ""
		if s, ok := m.(*screened); ok {
			got = strings.Join(s.required.pieces, " ")
			if s.required.start {
				got = "^" + got
			}
		}
		if got != tt.want {
			t.Errorf("%s /%s/%s requires %q, want %q", tt.family, tt.pattern, tt.flags, got, tt.want)
		}
	}
}

func TestRequiredIn(t *testing.T) {
	for _, tt := range []struct {
		start  bool
		pieces []string
		key    string
		want   bool
	}{
		{false, nil, "", true},
		{true, []string{"ab", "c"}, "abxc", true},
		{true, []string{"ab", "c"}, "xabc", false},
		{false, []string{"ab", "b"}, "ab", false},
		{false, []string{"ab", "b"}, "xabb", true},
		{false, []string{"b", "a"}, "ab", false},
	} {
		r := required{tt.start, tt.pieces}
		if got := r.in(tt.key); got != tt.want {
			t.Errorf("%+v in %q: %v, want %v", r, tt.key, got, tt.want)
		}
	}
}

// TestRequiredRandom makes patterns of the pieces in which the notations differ, or may
// do, and keys that are likely to match: the screen keeps none from its pattern.
func TestRequiredRandom(t *testing.T) {
	matched := 0
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"a", "b", "K", "s", "1", "@", "{", "}", ",3}", "{2}", "{,2}", "{0}", "{1,}", "{ 1}", "[", "]", "[^", "-", "^", "$", "(", ")", "(?:", "(?i)", "(?-i:", "(?m)", "(?U)", "(?=", "(?!", "(?<n>",
			"(?#", "(?|", "(?>", "|", "*", "+", "?", ".", `\`, `\1`, `\Q`, `\E`, `\v`, `\x41`, `\x{61}`, `\101`, `\0`, `\b`, `\d`, `\s`, `\n`, `\A`, `\z`, `\Z`, `\K`, `\-`, `\{`, "[[:alpha:]]", "[[:<:]]", "[a]", "[aA]", "[Kk]", "#", " ", "\n", "\xe9", "(*"})
		pieces := rapid.SliceOfN(piece, 1, 8).Draw(t, "pieces")
		pattern, flags := strings.Join(pieces, ""), rapid.SampledFrom([]string{"", "i", "m", "x", "U", "A"}).Draw(t, "flags")
		word := rapid.SampledFrom(append(pieces, "a", "b", "A", "B", "k", "S", "1", "@", "\n", ""))
		for _, compile := range []func(source, flags string) (matcher, int, error){compilePcre, compileRegexp} {
			m, _, err := compile(pattern, flags)
			s, ok := m.(*screened)
			if err != nil || !ok {
				continue
			}
			for range 10 {
				key := strings.Join(rapid.SliceOfN(word, 0, 6).Draw(t, "key"), "")
				k, _ := newText(key)
				if _, matches, err := s.matcher.match(&k, false); err == nil && matches {
					matched++
					if !s.required.in(k.folded) {
						t.Fatalf("/%s/%s matches %q, which has not %+v", pattern, flags, key, s.required)
					}
				}
			}
		}
	})
	if matched == 0 {
		t.Error("no key has matched")
	}
}

// FuzzRequired holds that the screen keeps no key from a pattern that matches it.
func FuzzRequired(f *testing.F) {
	for _, p := range []string{
		`^sales-.*@Example\.org$`, `(info)(@|x)+`, `a{1,3}b{0}c?`, `(?i:K)s[Kk][ab]\x41\012`, `(?m)^a$\nb`, `[[:alpha:]]x[]a]y[^\]]`, `\bfoo\B`, `(?<n>a)\k<n>`, `a{2}{`, `(a|ab)(?U)c+`,
		`x\Q.*\Ey`, `(?#c)a`, `(?>a+)b`, `a++b`, `\v\h\R`, `(?|(a)|(b))c`, `[a-\d]b`, `[[.a.]]`, `\cAb`, `\e\0`, `a#b c`, `(?x) a b`, `(?-i)aB`, `\p{L}x\pN`, `(^|x)(y|$)z*`, `^*a`, `[\v]a`, `[a]b[A]`,
	} {
		f.Add(p, "sales-x@example.org", "")
		f.Add(p, "AABKks\nb@", "im")
		f.Add(p, "xay", "xs")
	}
	f.Fuzz(func(t *testing.T, pattern, key, flags string) {
		if len(pattern) > 60 || len(key) > 60 {
			return
		}
		for _, compile := range []func(source, flags string) (matcher, int, error){compilePcre, compileRegexp} {
			m, _, err := compile(pattern, flags)
			s, ok := m.(*screened)
			if err != nil || !ok {
				continue
			}
			k, _ := newText(key)
			if _, matches, err := s.matcher.match(&k, false); err == nil && matches && !s.required.in(k.folded) {
				t.Errorf("/%s/%s matches %q, which has not %+v", pattern, flags, key, s.required)
			}
		}
	})
}
