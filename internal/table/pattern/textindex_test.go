package pattern

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/internal/table"
)

// TestTextIndex holds that a table with an index answers as its engines do when they
// are asked rule by rule.
func TestTextIndex(t *testing.T) {
	indexed := 0
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"^", "$", "info", "Sales", "@", `one\.test`, "two", "a", "[b-d]", ".*", "x?", "(info|team)", "(one)+", `\w`, "-", "s{2}"})
		pattern := rapid.Map(rapid.SliceOfN(piece, 1, 5), func(p []string) string { return "/" + strings.Join(p, "") + "/" })
		var text strings.Builder
		for i := range rapid.IntRange(0, 60).Draw(t, "rules") {
			flags := rapid.SampledFrom([]string{"", "", "i", "m"}).Draw(t, "flags")
			fmt.Fprintf(&text, rapid.SampledFrom([]string{"%s%s value%d\n", "%s%s value%d\n", "%s%s value%d\n", "!%s%s not%d\n", "if %s%s\n#%d\n", "if !%s%s\n#%d\n"}).Draw(t, "kind"),
				pattern.Draw(t, "pattern"), flags, i)
			if rapid.IntRange(0, 5).Draw(t, "endif") == 0 {
				text.WriteString("endif\n")
			}
		}
		d := rapid.SampledFrom([]dialect{textDialect("regexp", compileRegexp, true, ""), textDialect("pcre", compilePcre, false, "X")}).Draw(t, "type")
		l := &list{dialect: d, opener: &table.Opener{}}
		lines := fileLines("rules", []byte(text.String()))
		plain, quick := l.compile(lines), l.compile(lines)
		plain.texts = nil
		for i := range plain.rules {
			for j, c := range plain.rules[i].conditions {
				if s, ok := c.matcher.(*screened); ok {
					plain.rules[i].conditions[j].matcher = s.matcher
				}
			}
		}
		if quick.texts != nil {
			indexed++
		}
		word := rapid.SampledFrom([]string{"info", "INFO", "sales", "@", "one.test", "two", "a", "b", "-", "ss", "\n", "\xc3\xa9"})
		for range 20 {
			key := strings.Join(rapid.SliceOfN(word, 0, 6).Draw(t, "key"), "")
			s, _ := newText(key)
			want, _, err1 := plain.find(&s)
			got, _, err2 := quick.find(&s)
			if err1 != nil || err2 != nil || (got == nil) != (want == nil) || got != nil && got.at.Line != want.at.Line {
				t.Fatalf("%s\nkey %q: indexed %v, %v, plain %v, %v", text.String(), key, got, err2, want, err1)
			}
		}
	})
	if indexed == 0 {
		t.Error("no table had an index")
	}
}

// TestIndexed are the rules that are found by text, and those that are always tried.
func TestIndexed(t *testing.T) {
	var text strings.Builder
	for i := range minIndexed {
		fmt.Fprintf(&text, "/^user%d@one\\.test$/ x\n", i)
	}
	text.WriteString("!/team@/ x\nif /some@/\n/abc/ x\n/.*/!/abcd/ x\nendif\n/^other/!/abcd/ x\n")
	l := &list{dialect: textDialect("regexp", compileRegexp, true, ""), opener: &table.Opener{}}
	x := l.compile(fileLines("rules", []byte(text.String()))).texts
	if x == nil || !slices.Equal(x.always, []int32{minIndexed, minIndexed + 1, minIndexed + 2, minIndexed + 3}) {
		t.Errorf("index %+v", x)
	}
	if c := x.candidates("user3@one.test", nil); len(c.found) != 1 || c.found[0] != 3 {
		t.Errorf("user3@one.test is looked for in the rules %v", c.found)
	}
}
