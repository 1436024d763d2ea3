package pattern

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.elara.ws/pcre/lib"
	"pgregory.net/rapid"

	"postern/internal/table"
)

func TestTranslate(t *testing.T) {
	tests := []struct {
		pattern string
		opt     syntaxOptions
		want    string
		wantErr error
	}{
		{pattern: "", want: ""},
		{pattern: "aé", want: `a\x{c3}\x{a9}`},
		{pattern: "a1", opt: syntaxOptions{fold: true}, want: "[aA]1"},
		{pattern: `^a.b$`, want: `\Aa(?s:.)b\z`},
		{pattern: `^a.b$`, opt: syntaxOptions{newline: true}, want: `(?m:^)a[^\n]b(?m:$)`},
		{pattern: `(a|b)*`, want: `(a|b)*`},
		{pattern: `a**`, want: `(?:a*)*`},
		{pattern: `a*?`, want: `(?:a*)?`},
		{pattern: `a{2}{3,}{,4}{5,6}`, want: `(?:(?:(?:a{2}){3,}){0,4}){5,6}`},
		{pattern: `a{,}`, want: `a{0,}`},
		{pattern: `\d\n\.`, want: `dn\.`},
		{pattern: `[\d]`, want: `[\x{5c}\x{64}]`},
		{pattern: `[]a-c-]`, want: `[\x{2d}\x{5d}\x{61}-\x{63}]`},
		{pattern: `[[:digit:][.-.][=a=]]`, want: `[\x{2d}\x{30}-\x{39}\x{61}]`},
		{pattern: `[^b]`, opt: syntaxOptions{fold: true, newline: true}, want: `[\x{00}-\x{09}\x{0b}-\x{41}\x{43}-\x{61}\x{63}-\x{ff}]`},
		{pattern: "[^\x01-\xff]", opt: syntaxOptions{}, want: `[\x{00}]`},
		{pattern: "[^\x00-\xff]", want: `[^\x{00}-\x{ff}]`},
		{pattern: `\<a\>\b\B`, opt: syntaxOptions{pcre: true}, want: `\b(?=\w)a\b(?<=\w)\b\B`},
		{pattern: `\<a\>`, want: `(?:\x{10ff0a}{1})a(?:\x{10ff0b}{1})`},
		{pattern: "\\`a\\'", want: `\Aa\z`},
		{pattern: `(a)\1`, opt: syntaxOptions{pcre: true}, want: `(a)\g{1}`},
		{pattern: `(a)\1*`, want: `(a)(?:\x{10ff01}{1})*`},
		{pattern: `[[=a=]-]`, want: `[\x{2d}\x{61}]`},
		{pattern: `a{1\,2}`, want: `a{1,2}`},
		{pattern: `(a)(b\1|c)\2`, opt: syntaxOptions{pcre: true}, want: `(a)(b\g{1}|c)\g{2}`},
		{pattern: `\a\A[A-z[:lower:]]`, opt: syntaxOptions{fold: true}, want: `[^\x{00}-\x{ff}][aA][\x{41}-\x{5a}\x{61}-\x{7a}]`},
		{pattern: `^^a`, opt: syntaxOptions{basic: true}, want: `\A\^a`},
		{pattern: `[[=a=]-b]`, wantErr: errBadRange},
		{pattern: `[Z-a]`, opt: syntaxOptions{fold: true}, wantErr: errBadRange},
		{pattern: `(a)|\1`, wantErr: errBadBackReference},
		{pattern: `a)`, want: `a\)`},
		{pattern: `\s\W`, want: `[\x{09}-\x{0d}\x{20}][\x{00}-\x{2f}\x{3a}-\x{40}\x{5b}-\x{5e}\x{60}\x{7b}-\x{ff}]`},
		{pattern: `*a\(b\|^*c\)\{2\}d+e\+`, opt: syntaxOptions{basic: true}, want: `\*a(b|\A\*c){2}d\+e+`},
		{pattern: `a^b$c$`, opt: syntaxOptions{basic: true}, want: `a\^b\$c\z`},
		{pattern: `\(a$\|b$\)`, opt: syntaxOptions{basic: true}, want: `(a\z|b\z)`},
		{pattern: `(a`, wantErr: errUnmatchedParen},
		{pattern: `a\)`, opt: syntaxOptions{basic: true}, wantErr: errUnmatchedClose},
		{pattern: `[a`, wantErr: errUnmatchedBracket},
		{pattern: `[`, wantErr: errUnmatchedBracket},
		{pattern: `[[.a`, wantErr: errUnmatchedBracket},
		{pattern: `[[:alpha`, wantErr: errUnmatchedBracket},
		{pattern: `a{`, wantErr: errUnmatchedBrace},
		{pattern: `a{1`, wantErr: errUnmatchedBrace},
		{pattern: `a{1,`, wantErr: errUnmatchedBrace},
		{pattern: `a{}`, wantErr: errBadBrace},
		{pattern: `a{1x}`, wantErr: errBadBrace},
		{pattern: `a{2,1}`, wantErr: errBadBrace},
		{pattern: `a{32768}`, wantErr: errTooBig},
		{pattern: `a{99999999999999999999}`, wantErr: errTooBig},
		{pattern: `*a`, wantErr: errBadRepeat},
		{pattern: `^*`, wantErr: errBadRepeat},
		{pattern: `a|+`, wantErr: errBadRepeat},
		{pattern: `({1})`, wantErr: errBadRepeat},
		{pattern: `\{1\}`, opt: syntaxOptions{basic: true}, wantErr: errBadRepeat},
		{pattern: `a**`, opt: syntaxOptions{basic: true}, wantErr: errBadRepeat},
		{pattern: `[b-a]`, wantErr: errBadRange},
		{pattern: `[a-b-c]`, wantErr: errBadRange},
		{pattern: `[a-[:digit:]]`, wantErr: errBadRange},
		{pattern: `[a-[.xx.]]`, wantErr: errBadCollation},
		{pattern: `[[.ab.]]`, wantErr: errBadCollation},
		{pattern: `[[:foo:]]`, wantErr: errBadClass},
		{pattern: `\1(a)`, wantErr: errBadBackReference},
		{pattern: `(a\1)`, wantErr: errBadBackReference},
		{pattern: `a\`, wantErr: errTrailingBackslash},
		{pattern: strings.Repeat("(", maxNested+1), wantErr: errTooDeep},
		{pattern: "a" + strings.Repeat("*", maxNested+1), wantErr: errTooDeep},
	}
	for _, tt := range tests {
		got, err := translate(tt.pattern, tt.opt)
		if got.text != tt.want || !errors.Is(err, tt.wantErr) {
			t.Errorf("translate(%.40q, %+v) = %s, %v; want %s, %v", tt.pattern, tt.opt, got.text, err, tt.want, tt.wantErr)
		}
	}
}

func TestTooManyGroups(t *testing.T) {
	if _, _, err := compilePcre(strings.Repeat("()", maxGroups), ""); !errors.Is(err, errTooManyGroups) {
		t.Errorf("compilePcre of %d groups: %v, want %v", maxGroups, err, errTooManyGroups)
	}
}

func TestReplacementPlainText(t *testing.T) {
	for _, text := range []string{"", "x", "a b"} {
		r, err := parseReplacement(text)
		if err != nil || r.expand(nil) != text {
			t.Errorf("parseReplacement(%q).expand = %q, %v", text, r.expand(nil), err)
		}
	}
}

// FuzzTranslate holds that what is translated compiles, and that the two
// engines then agree on what matches.
func FuzzTranslate(f *testing.F) {
	for _, p := range []string{
		`^sales-([a-z]+)@(.*)$`, `[^]a-z[:alpha:]-]`, `a{1,3}{2}**`, `\(a\|b\)*c`, `(a)\1`, `\<x\>`, "\xe9[\xc0-\xff]", `(^|x)(y|$)`, `a{,2}|b+?`, "\\`.\\'", `[[.-.][=x=]]`, `()*|`,
	} {
		f.Add(p, "sales-x@y", uint8(0))
		f.Add(p, "aab\xe9\n", uint8(7))
	}
	f.Fuzz(func(t *testing.T, pattern, key string, flags uint8) {
		opt := syntaxOptions{basic: flags&1 != 0, fold: flags&2 != 0, newline: flags&4 != 0}
		if len(pattern) > 60 || len(key) > 60 {
			return
		}
		expr, err := translate(pattern, opt)
		if err != nil {
			return
		}
		ours, err := newLongest(expr, opt.fold)
		if err != nil && !tooBig(err) {
			t.Fatalf("translate(%q, %+v) = %s, which Go refuses: %v", pattern, opt, expr.text, err)
		}
		s, _ := newText(key)
		if err == nil && !expr.marked {
			agree(t, expr, ours, &s)
		}
		opt.pcre = true
		expr, _ = translate(pattern, opt)
		var options uint32
		if opt.fold {
			options = lib.DPCRE2_CASELESS
		}
		pcre, pcreErr := newBacktracking(expr.text, options)
		if pcreErr != nil {
			if text := pcreErr.Error(); !strings.Contains(text, "too large") && !strings.Contains(text, "too big") {
				t.Fatalf("translate(%q, %+v) = %s, which PCRE2 refuses: %v", pattern, opt, expr.text, pcreErr)
			}
			return
		}
		if err != nil {
			return
		}
		groups, got, err1 := ours.match(&s, true)
		_, want, err2 := pcre.match(&s, false)
		// PCRE2 does not see the beginning of a line behind a final newline.
		if err1 == nil && err2 == nil && got != want && !(opt.newline && strings.HasSuffix(key, "\n")) {
			t.Errorf("%q (%s) and %q: we say %v, PCRE2 %v", pattern, expr.text, key, got, want)
		}
		if got && (len(groups) != expr.groups+1 || !strings.Contains(key, groups[0])) {
			t.Errorf("%q and %q: groups %q, want %d and the first in the key", pattern, key, groups, expr.groups+1)
		}
	})
}

// agree holds that both of our engines find the same groups.
func agree(t *testing.T, expr expression, ours matcher, s *subject) {
	t.Helper()
	linear, err := newLinear(expr.text)
	if err != nil {
		t.Fatalf("%s: %v", expr.text, err)
	}
	want, found, _ := linear.match(s, true)
	got, ok, err := ours.match(s, true)
	if err == nil && (ok != found || !slices.Equal(got, want)) {
		t.Errorf("%s and %q: %q, %v; the linear engine says %q, %v", expr.text, s.key, got, ok, want, found)
	}
}

// FuzzRules holds that any text is a table of any type.
func FuzzRules(f *testing.F) {
	for _, text := range []string{
		"/^a(.)/i x$1\n!/b/ y\nif /c/\n/d/!/e/ ${1}\nendif\n", "192.0.2.0/24 x\nif !10.0.0.0/8\n[::1]/128 y\nendif",
		"/a/", "  x\n/(", "if", "endif x", "!!!", "/a\\", "@x@ $$ $(1) ${", "::/0 a", "[", "[]", "/",
	} {
		f.Add(text, "abc")
		f.Add(text, "192.0.2.1")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		if len(text) > 500 || len(key) > 50 {
			return
		}
		for _, d := range []dialect{textDialect("regexp", compileRegexp, true, ""), textDialect("pcre", compilePcre, false, "X"), {family: "cidr", prepare: newAddress, rule: networkRule, condition: networkCondition, finish: indexNetworks}} {
			l := &list{dialect: d, opener: &table.Opener{}, path: "rules"}
			l.inline = l.compile(fileLines("rules", []byte(text)))
			_, err := l.Lookup(context.Background(), key)
			var e *table.Error
			if err != nil && err != table.ErrNotFound && !errors.As(err, &e) {
				t.Errorf("%s table %q, Lookup(%q): %v", d.family, text, key, err)
			}
		}
	})
}

// FuzzInline holds that any name in braces is refused or opened.
func FuzzInline(f *testing.F) {
	for _, name := range []string{"{{/a/ x}}", "{}", "{", "{{}", "{{/a{1,2}/ x}, {#}, {/b/ y}}", "{ {/a/ x}\n{/b/ y} }", "{a}"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !strings.HasPrefix(name, "{") || len(name) > 500 {
			return
		}
		tab, err := Regexp(context.Background(), &table.Opener{}, name, table.Use{})
		if (tab == nil) == (err == nil) {
			t.Errorf("Regexp(%q) = %v, %v; want one of them", name, tab, err)
		}
	})
}

// TestNetIndex holds that an indexed table answers as one that is searched
// rule by rule.
func TestNetIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for i := range rapid.IntRange(0, 40).Draw(t, "rules") {
			host := netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 3).Draw(t, "c")), byte(rapid.IntRange(0, 255).Draw(t, "d"))})
			if rapid.IntRange(0, 4).Draw(t, "family") == 0 {
				host = netip.AddrFrom16(host.As16())
			}
			p, _ := host.Prefix(host.BitLen() - rapid.IntRange(0, 10).Draw(t, "mask"))
			switch rapid.IntRange(0, 15).Draw(t, "kind") {
			case 0:
				fmt.Fprintf(&text, "if %s\n", p)
			case 1:
				fmt.Fprintf(&text, "endif\n")
			case 2:
				fmt.Fprintf(&text, "!%s not%d\n", p, i)
			default:
				fmt.Fprintf(&text, "%s value%d\n", p, i)
			}
		}
		d := dialect{family: "cidr", prepare: newAddress, rule: networkRule, condition: networkCondition}
		l := &list{dialect: d, opener: &table.Opener{}}
		lines := fileLines("rules", []byte(text.String()))
		plain, indexed := l.compile(lines), l.compile(lines)
		indexNetworks(indexed)
		for range 20 {
			key := fmt.Sprintf("10.0.%d.%d", rapid.IntRange(0, 3).Draw(t, "kc"), rapid.IntRange(0, 255).Draw(t, "kd"))
			if rapid.Bool().Draw(t, "mapped") {
				key = "::ffff:" + key
			}
			s, _ := newAddress(key)
			want, _, _ := plain.find(&s)
			got, _, _ := indexed.find(&s)
			if (got == nil) != (want == nil) || got != nil && got.result.expand(nil) != want.result.expand(nil) {
				t.Fatalf("%s\nkey %s: indexed %v, plain %v", text.String(), key, got, want)
			}
		}
	})
}

func benchmark(b *testing.B, family, text string, keys ...string) {
	l := &list{opener: &table.Opener{}}
	switch family {
	case "regexp":
		l.dialect = textDialect("regexp", compileRegexp, true, "")
	case "pcre":
		l.dialect = textDialect("pcre", compilePcre, false, "X")
	case "cidr":
		l.dialect = dialect{family: "cidr", prepare: newAddress, rule: networkRule, condition: networkCondition, finish: indexNetworks}
	}
	l.inline = l.compile(fileLines("rules", []byte(text)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := l.Lookup(context.Background(), keys[i%len(keys)]); err != nil && err != table.ErrNotFound {
			b.Fatal(err)
		}
	}
}

func BenchmarkText(b *testing.B) {
	rules := "/^sales-([a-z]+)@(.*)$/ $1@$2\n/^team\\+(.*)@example\\.test$/ j$1@example.test\n/@list\\.example\\.test$/ list\n/^postmaster@/ root\n"
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "/^x?user%d(\\+.*)?@example\\.test$/ x\n", i)
	}
	for _, family := range []string{"regexp", "pcre"} {
		b.Run(family+"/miss", func(b *testing.B) { benchmark(b, family, rules, "john.doe@example.test") })
		b.Run(family+"/group", func(b *testing.B) { benchmark(b, family, rules, "sales-jim@example.test") })
		b.Run(family+"/many", func(b *testing.B) { benchmark(b, family, many.String(), "user700@example.test", "jim@example.test") })
	}
}

func BenchmarkCidr(b *testing.B) {
	for _, n := range []int{5, 100, 50_000} {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "10.%d.%d.%d/%d x\n", i>>16&255, i>>8&255, i&255, 32)
		}
		text.WriteString("192.0.2.0/24 last\n")
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) { benchmark(b, "cidr", text.String(), "192.0.2.1", "198.51.100.1") })
	}
}
