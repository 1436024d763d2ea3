package address

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := []struct{ in, local, domain string }{
		{"", "", ""},
		{"(nobody)", "", ""},
		{"john", "john", ""},
		{"john@example.org", "john", "example.org"},
		{"John@Example.ORG", "John", "Example.ORG"},
		{"john@example.org.", "john", "example.org."},
		{`"john"@example.org`, "john", "example.org"},
		{`"john doe"@example.org`, "john doe", "example.org"},
		{`"jo\hn"@example.org`, "john", "example.org"},
		{`jo\ hn@example.org`, "jo hn", "example.org"},
		{`"a@b"@example.org`, "a@b", "example.org"},
		{`"a"."b"@example.org`, "a.b", "example.org"},
		{"a@b@example.org", "a@b", "example.org"},
		{`"a@b"`, "a", "b"}, // as Postfix resolves it
		{"a (comment (nested)) @ b . test", "a", "b.test"},
		{"john doe@example.org", "johndoe", "example.org"},
		{"a,b@example.org", "a,b", "example.org"},
		{"..x..@example.org", "..x..", "example.org"},
		{"site!john@example.org", "site!john", "example.org"},
		{"john%site", "john%site", ""},
		{"jörg@bücher.test", "jörg", "bücher.test"},
		{"john@[192.0.2.1]", "john", "[192.0.2.1]"},
		{"john@[IPv6:2001:db8::1]", "john", "[IPv6:2001:db8::1]"},
		{"user@", "user@", ""},
		{"@", "@", ""},
		{"@example.org", "", "example.org"},
		{"@relay.test:john@example.org", "john", "example.org"},
		{"@a.test,@b.test:john@example.org", "john", "example.org"},
		{`@a.test:"john doe"@example.org`, "john doe", "example.org"},
		{`"@a:"@example.org`, "@a:", "example.org"},
	}
	for _, tt := range tests {
		want := Address{tt.local, tt.domain}
		if got, err := Parse(tt.in); err != nil || got != want {
			t.Errorf("Parse(%q) = %#v, %v, want %#v", tt.in, got, err, want)
		}
	}
}

func TestParseError(t *testing.T) {
	tests := []struct{ in, reason string }{
		{`"john@example.org`, "not closed"},
		{`john@[192.0.2.1`, "not closed"},
		{"john (x@example.org", "not closed"},
		{`"\"`, "not closed"},
		{"jo\x01hn@example.org", "control character"},
		{"\"jo\x7fhn\"@example.org", "control character"},
		{"john\x00@example.org", "control character"},
		{"john@exa\x02mple.org", "bad character in the domain"},
		{`john@"example org"`, "bad character in the domain"},
		{"john@example;org", "bad character in the domain"},
		{"john@a<b", "bad character in the domain"},
		{"john@x[192.0.2.1]", "bad character in the domain"},
		{"john@[[192.0.2.1]", "bad address literal"},
		{`john@[a\]b]`, "bad address literal"},
		{"john@[a\x01b]", "bad address literal"},
	}
	for _, tt := range tests {
		got, err := Parse(tt.in)
		var bad *SyntaxError
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, tt.reason) || bad.Text != tt.in || got != (Address{}) {
			t.Errorf("Parse(%q) = %#v, %v, want a SyntaxError: %s", tt.in, got, err, tt.reason)
		}
	}
	const want = `bad address syntax: "a\"b": why`
	if got := (&SyntaxError{Text: `a"b`, Reason: "why"}).Error(); got != want {
		t.Errorf("Error() = %s, want %s", got, want)
	}
}

// The answers are those of Postfix 3.7.11 (sendmail with the text as recipient
// argument), but for source routes, which Postfix drops one step later.
func TestParseList(t *testing.T) {
	tests := []struct {
		in   string
		want []string // internal forms
	}{
		{"", nil},
		{" \t", nil},
		{",", nil},
		{"(c)", nil},
		{"<>", []string{""}},
		{" <> ", []string{""}},
		{`""`, []string{""}},
		{"a b c", []string{"a", "b", "c"}},
		{"a,,b", []string{"a", "b"}},
		{"a@b.test, c", []string{"a@b.test", "c"}},
		{"a@b c@d", []string{"a@b", "c@d"}},
		{"a @ b . c", []string{"a@b.c"}},
		{"a@b . c d", []string{"a@b.c", "d"}},
		{"a@b.", []string{"a@b."}},
		{"a..b@c", []string{"a..b@c"}},
		{"a@[1.2.3.4] b", []string{"a@[1.2.3.4]", "b"}},
		{"a!b c%d e|f", []string{"a!b", "c%d", "e|f"}},
		{"John Doe <j@x.test>", []string{"j@x.test"}},
		{`"John, Doe" <j@x>`, []string{"j@x"}},
		{"x <a> y <b>", []string{"a", "b"}},
		{"a b <c> d", []string{"c", "d"}},
		{`a, "b c" <d>; e`, []string{"a", "d", "e"}},
		{"<a b>", []string{"ab"}},
		{"<a,b>", []string{"a,b"}},
		{"<a> <b>", []string{"a", "b"}},
		{"<a>b", []string{"a", "b"}},
		{"a, <>", []string{"a"}},
		{"<<a>", []string{"a"}},
		{"<a@b", []string{"<a@b"}},
		{"John <j@x", []string{"John<j@x"}},
		{"a>b", []string{"a", "b"}},
		{"a;b", []string{"a", "b"}},
		{"grp: a, b@c.test;, d", []string{"a", "b@c.test", "d"}},
		{"undisclosed-recipients:;", nil},
		{"<a@b> c:d, e; f", []string{"d", "e", "f"}},
		{"a:b", []string{"a:b"}},
		{"x: y@z w", []string{"x:y@z", "w"}},
		{"a (x) b", []string{"a", "b"}},
		{"a (comment \\) still (nested)) @b.test", []string{"a@b.test"}},
		{"(un", nil},
		{`"un`, []string{"un"}},
		{"a@[1.2", []string{"a@[1.2]"}},
		{`"a b"@c "d e"@f`, []string{"a b@c", "d e@f"}},
		{`a"b"c@d`, []string{"a", "b", "c@d"}},
		{`"a"."b"@c`, []string{"a.b@c"}},
		{`"a\"b"@c`, []string{`a"b@c`}},
		{`a\ b@c`, []string{"a b@c"}},
		{`a\,b`, []string{"a,b"}},
		{`a\`, []string{"a"}},
		{"|cmd arg", []string{"|cmd", "arg"}},
		{`"|cmd arg"`, []string{"|cmd arg"}},
		{"/file/x, :include:/etc/x", []string{"/file/x", ":include:/etc/x"}},
		{"it's me@x", []string{"it's", "me@x"}},
		{"@ user@ @d", []string{"@user@@d"}}, // operators join
		{"@r.test:j@x.test", []string{"j@x.test"}},
		{"<@r.test,@s.test:j@x.test>, b", []string{"j@x.test", "b"}},
		{"jöhn@ü.test", []string{"jöhn@ü.test"}},
		{"a\r\n\tb", []string{"a", "b"}},
		{"\"a\tb\"", []string{"a b"}},
	}
	for _, tt := range tests {
		list, err := ParseList(tt.in)
		var got []string
		for _, a := range list {
			got = append(got, a.Internal())
		}
		if err != nil || !cmp.Equal(got, tt.want) {
			t.Errorf("ParseList(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

// A quoted '@' does not separate: the address has no domain yet.
func TestParseListQuotedAt(t *testing.T) {
	list, err := ParseList(`"a@b", "a@b"@c.test, user@`)
	want := []Address{{Local: "a@b"}, {"a@b", "c.test"}, {Local: "user@"}}
	if err != nil || !cmp.Equal(list, want) {
		t.Errorf("ParseList = %#v, %v, want %#v", list, err, want)
	}
}

func TestParseListKeepsTheGoodOnes(t *testing.T) {
	list, err := ParseList(`one@x.test, "\001"@x.test, two@"x y", three@x.test, "` + "\x01" + `"@x.test`)
	want := []Address{{"one", "x.test"}, {"001", "x.test"}, {"three", "x.test"}}
	if !cmp.Equal(list, want) {
		t.Errorf("ParseList = %#v, want %#v", list, want)
	}
	var bad *SyntaxError
	if !errors.As(err, &bad) || bad.Text != "two@x y" {
		t.Errorf("error = %v, want a SyntaxError for %q", err, "two@x y")
	}
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("error = %v, want one line for each of two addresses", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"john@example.org", `"a@b"@c`, "@r:j@x", "a@[1.2]", `"\"`, "(", "user@", "@", "a b", "x@y.", `a\`, "é@ü", "a@\"b\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err != nil {
			if a != (Address{}) {
				t.Fatalf("Parse(%q) = %#v beside error %v", text, a, err)
			}
			return
		}
		if b := Split(a.Internal()); b != a {
			t.Errorf("Parse(%q) = %#v, Split of its internal form %#v", text, a, b)
		}
		again, err := Parse(a.String())
		if err != nil || again != a {
			t.Errorf("Parse(%q) = %#v, printed %q, parsed %#v, %v", text, a, a.String(), again, err)
		}
	})
}

func FuzzParseList(f *testing.F) {
	for _, seed := range []string{"a, b c", "X <a@b>, g: c, d;", "a>b", "<<a>>", `"a@b" (c`, ":;,<>@", "<>", "g:h:i;", "é <ü@ö>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, _ := ParseList(text)
		var printed []string
		for _, a := range list {
			if fault := a.fault(); fault != "" {
				t.Errorf("ParseList(%q) has %#v: %s", text, a, fault)
			}
			if a.IsNull() || a.Local == "" || strings.HasSuffix(a.Local, "@") {
				return // "@domain" and "user@" are not separate addresses in a list
			}
			printed = append(printed, a.String())
		}
		again, err := ParseList(strings.Join(printed, ", "))
		if err != nil || !cmp.Equal(list, again) {
			t.Errorf("ParseList(%q) = %#v, printed and parsed %#v, %v", text, list, again, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, text := range []string{"john@example.org", `"john doe"@example.org`} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
