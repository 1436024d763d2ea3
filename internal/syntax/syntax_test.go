package syntax

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestLines(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Line
	}{
		{"empty", "", nil},
		{"only comments and blanks", "# a\n\n \t\n  # b\n", nil},
		{"one", "a = b\n", []Line{{1, "a = b"}}},
		{"no newline at the end", "a\nb", []Line{{1, "a"}, {2, "b"}}},
		{"continuation keeps its blanks", "a =\n  b\n\tc\n", []Line{{1, "a =  b\tc"}}},
		{"trailing blanks stay", "a =  \n b\n", []Line{{1, "a =   b"}}},
		{"comment inside", "a\n# no\n  # nor\n b\nc\n", []Line{{1, "a b"}, {5, "c"}}},
		{"blank line inside", "a\n\n   \n b\n", []Line{{1, "a b"}}},
		{"number is that of the first line", "\n#\na\n b\nc\n", []Line{{3, "a b"}, {5, "c"}}},
		{"hash elsewhere is text", "a = b # c\n", []Line{{1, "a = b # c"}}},
		{"carriage return stays", "a\r\n b\r\n", []Line{{1, "a\r b\r"}}},
		{"line of carriage return is blank", "a\n\r\n b\n", []Line{{1, "a b"}}},
		{"no backslash continuation", "a\\\nb\n", []Line{{1, `a\`}, {2, "b"}}},
		{"no maximum", strings.Repeat("x", 100_000) + "\n y\n", []Line{{1, strings.Repeat("x", 100_000) + " y"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []Line
			for line, err := range Lines(strings.NewReader(tt.in)) {
				if err != nil {
					t.Fatalf("Lines(%q): %v", clip(tt.in, 50), err)
				}
				got = append(got, line)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("Lines(%q): %s", clip(tt.in, 50), d)
			}
		})
	}
}

func TestLinesOrphan(t *testing.T) {
	var texts []string
	var orphans []error
	in := "# c\n  a continuation of nothing, rather long\n\tb\nc\n d\n"
	for line, err := range Lines(strings.NewReader(in)) {
		if err != nil {
			orphans = append(orphans, err)
		} else {
			texts = append(texts, line.Text)
		}
	}
	if !slices.Equal(texts, []string{"c d"}) || len(orphans) != 2 {
		t.Errorf("Lines = %q, errors %v", texts, orphans)
	}
	const want = `logical line must not start with whitespace: "  a continuation of nothing, r..."`
	if !errors.Is(orphans[0], ErrOrphan) || orphans[0].Error() != want {
		t.Errorf("error = %v, want %s", orphans[0], want)
	}
}

func TestLinesReadError(t *testing.T) {
	broken := errors.New("broken disk")
	r := io.MultiReader(strings.NewReader("a\nb\n c"), iotest.ErrReader(broken))
	var got []Line
	var last error
	for line, err := range Lines(r) {
		if got, last = append(got, line), err; err != nil && !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	if want := []Line{{1, "a"}, {2, "b c"}}; !cmp.Equal(got, want) || !errors.Is(last, broken) {
		t.Errorf("Lines = %v, last error %v, want %v and %v", got, last, want, broken)
	}
	for _, err := range Lines(iotest.ErrReader(broken)) {
		last = err
	}
	if !errors.Is(last, broken) {
		t.Errorf("error of an unreadable file = %v", last)
	}
}

func TestLinesStop(t *testing.T) {
	for _, in := range []string{"a\nb\nc\n", " orphan\nb\n", "a"} {
		n := 0
		for range Lines(strings.NewReader(in)) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("Lines(%q) yields %d times before a break", in, n)
		}
	}
}

func TestSplit(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", nil},
		{" ,, \t\r\n", nil},
		{"a", []string{"a"}},
		{"a,b c\td\r\ne", []string{"a", "b", "c", "d", "e"}},
		{" a, b ,", []string{"a", "b"}},
		{"inline:{ a=b, {c = d} } x", []string{"inline:{ a=b, {c = d} }", "x"}},
		{"{a b},{c}", []string{"{a b}", "{c}"}},
		{"pre{a b}post x", []string{"pre{a b}post", "x"}},
		{"{a b", []string{"{a b"}},
		{"a} b", []string{"a}", "b"}},
		{"a}} {b c} d", []string{"a}}", "{b c}", "d"}},
	}
	for _, tt := range tests {
		if got := Split(tt.text, Separators); !slices.Equal(got, tt.want) {
			t.Errorf("Split(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
	if got := Split("a,b c", Blank); !slices.Equal(got, []string{"a,b", "c"}) {
		t.Errorf("Split at blanks = %q", got)
	}
}

func TestUnbrace(t *testing.T) {
	tests := []struct {
		text, inner string
		ok          bool
	}{
		{"{}", "", true},
		{"{ a b }", "a b", true},
		{"{{a} {b}}", "{a} {b}", true},
		{"{a} {b}", "{a} {b}", false},
		{"{a}}", "{a}}", false},
		{"{{a}", "{{a}", false},
		{"a", "a", false},
		{"{", "{", false},
		{"", "", false},
		{"{a}b", "{a}b", false},
	}
	for _, tt := range tests {
		if inner, ok := Unbrace(tt.text); inner != tt.inner || ok != tt.ok {
			t.Errorf("Unbrace(%q) = %q, %v, want %q, %v", tt.text, inner, ok, tt.inner, tt.ok)
		}
	}
}

func TestBraced(t *testing.T) {
	for text, want := range map[string]string{
		"{ a b }": "", "{}": "", "{a}b": `syntax error after '}' in "{a}b"`, "{a}}": `syntax error after '}' in "{a}}"`,
		"{{a}": `missing '}' in "{{a}"`, "{": `missing '}' in "{"`, "{a} {b}": `syntax error after '}' in "{a} {b}"`,
	} {
		inner, err := Braced(text)
		if plain, _ := Unbrace(text); err == nil && (want != "" || inner != plain) || err != nil && err.Error() != want {
			t.Errorf("Braced(%q) = %q, %v, want error %q", text, inner, err, want)
		}
	}
}

func TestNameValue(t *testing.T) {
	tests := []struct {
		line, name, value string
		err               error
	}{
		{"a=b", "a", "b", nil},
		{" a \t= b c \n", "a", "b c", nil},
		{"a=", "a", "", nil},
		{"a==b", "a", "=b", nil},
		{"a = b = c", "a", "b = c", nil},
		{"a", "", "", ErrNoEquals},
		{"a b = c", "", "", ErrNoEquals},
		{"= b", "", "", ErrNoName},
		{"", "", "", ErrNoEquals},
	}
	for _, tt := range tests {
		name, value, err := NameValue(tt.line)
		if name != tt.name || value != tt.value || !errors.Is(err, tt.err) {
			t.Errorf("NameValue(%q) = %q, %q, %v, want %q, %q, %v", tt.line, name, value, err, tt.name, tt.value, tt.err)
		}
	}
	if _, _, err := NameValue("x y"); err == nil || err.Error() != `missing '=' after attribute name: "x y"` {
		t.Errorf("error = %v", err)
	}
}

// Lines must find the same settings however the text is laid out.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{"a = b\n c\n", " x\n", "#\n\n a\nb", "a\r\n\tb\r\n", "a\x00b\n", "\v\n a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var laid strings.Builder
		var want []string
		last := 0
		for line, err := range Lines(strings.NewReader(text)) {
			if line.Number <= last {
				t.Errorf("Lines(%q): line %d after line %d", text, line.Number, last)
			}
			last = line.Number
			if err != nil {
				if !errors.Is(err, ErrOrphan) {
					t.Fatalf("Lines(%q): %v", text, err)
				}
				continue
			}
			if line.Text == "" || strings.ContainsRune(Blank+"#", rune(line.Text[0])) || strings.Contains(line.Text, "\n") {
				t.Errorf("Lines(%q) yields %q", text, line.Text)
			}
			want = append(want, line.Text)
			laid.WriteString(line.Text + "\n \n  # between\n")
		}
		var got []string
		for line, err := range Lines(strings.NewReader(laid.String())) {
			if err != nil {
				t.Fatalf("Lines(%q): %v", laid.String(), err)
			}
			got = append(got, line.Text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("Lines(%q) = %q, laid out again %q", text, want, got)
		}
	})
}

// What Split cuts apart and is joined again splits the same way, and nothing but
// separators is lost.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"a, b", "{a b} c", "inline:{a={b, c}}", "a} {b", "{{}", ",", "a}b{c d}e"} {
		f.Add(seed)
	}
	noSeparators := strings.NewReplacer(",", "", " ", "", "\t", "", "\r", "", "\n", "")
	f.Fuzz(func(t *testing.T, text string) {
		items := Split(text, Separators)
		for _, item := range items {
			if item == "" || strings.IndexByte(Separators, item[0]) >= 0 || !strings.Contains(text, item) {
				t.Errorf("Split(%q) has item %q", text, item)
			}
			if inner, ok := Unbrace(item); ok && len(inner) > len(item)-2 {
				t.Errorf("Unbrace(%q) = %q", item, inner)
			}
		}
		if again := Split(strings.Join(items, ", "), Separators); !slices.Equal(again, items) {
			t.Errorf("Split(%q) = %q, joined and split %q", text, items, again)
		}
		if a, b := noSeparators.Replace(text), noSeparators.Replace(strings.Join(items, "")); a != b {
			t.Errorf("Split(%q) loses text: %q", text, items)
		}
	})
}

func FuzzNameValue(f *testing.F) {
	for _, seed := range []string{"a = b", "a", "= b", "a b = c", "a=\x00", " a\t=\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		name, value, err := NameValue(line)
		if err != nil {
			if name != "" || value != "" || !errors.Is(err, ErrNoName) && !errors.Is(err, ErrNoEquals) {
				t.Errorf("NameValue(%q) = %q, %q, %v", line, name, value, err)
			}
			return
		}
		if name == "" || strings.ContainsAny(name, "="+Blank) || value != strings.Trim(value, Blank) {
			t.Errorf("NameValue(%q) = %q, %q", line, name, value)
		}
		n, v, err := NameValue(name + " = " + value)
		if n != name || v != value || err != nil {
			t.Errorf("NameValue(%q) = %q, %q, put together %q, %q, %v", line, name, value, n, v, err)
		}
	})
}
