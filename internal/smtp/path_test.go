package smtp

import (
	"errors"
	"strings"
	"testing"

	"postern/internal/address"
)

// The replies of Postfix 3.7.11 to these arguments of MAIL FROM are known;
// lenient and strict say whether it takes them (strict_rfc821_envelopes).
func TestParsePath(t *testing.T) {
	plain := address.Address{Local: "a", Domain: "b.example"}
	tests := []struct {
		args            string
		want            address.Address
		params          string
		lenient, strict bool
	}{
		{"FROM:<a@b.example>", plain, "", true, true},
		{"from:<a@b.example>", plain, "", true, true},
		{"FROM: <a@b.example> size=100 body=8bitmime", plain, "size=100 body=8bitmime", true, true},
		{"FROM:<a@b.example>\tSIZE=5", plain, "SIZE=5", true, true},
		{"FROM:a@b.example", plain, "", true, false},
		{"FROM:a@b.example SIZE=5", plain, "SIZE=5", true, false},
		{"FROM:<>", address.Address{}, "", true, true},
		{"FROM: <> SIZE=0", address.Address{}, "SIZE=0", true, true},
		{"FROM:<a@b.example", plain, "", false, false},
		{"FROM:<a@b.example>>", plain, "", true, true},
		{"FROM:<<a@b.example>>", plain, "", true, true},
		{"FROM:<<a@b.example>", plain, "", false, false},
		{"FROM:<<a>b@b.example>", plain, "", false, false},
		{"FROM:a@b.example>", plain, "", true, false},
		{"FROM:<a@b.example>x", plain, "", false, false},
		{"FROM:<a@b.example>SIZE=10", plain, "", false, false},
		{"FROM:Name<a@b.example>", plain, "", true, false},
		{`FROM:"Some Name"<a@b.example>`, plain, "", true, false},
		{"FROM:<a b@b.example>", plain, "", false, false},
		{"FROM:< a@b.example >", plain, "", true, true},
		{`FROM:<"a b"@b.example>`, address.Address{Local: "a b", Domain: "b.example"}, "", true, true},
		{`FROM:"a b"@b.example`, address.Address{Local: "a b", Domain: "b.example"}, "", true, false},
		{`FROM:<"a>b"@b.example>`, address.Address{Local: "a>b", Domain: "b.example"}, "", true, true},
		{`FROM:<"a\"b"@b.example> X`, address.Address{Local: `a"b`, Domain: "b.example"}, "X", true, true},
		{"FROM:<a(c)@b.example>", plain, "", true, false},
		{"FROM:(c)<a@b.example>", plain, "", true, false},
		{"FROM:<a@b.example>(c)", plain, "", true, false},
		{"FROM:<a@b.example,c@d.example>", plain, "", false, false},
		{"FROM:a@b.example,c@d.example", plain, "", false, false},
		{"FROM:<@x.example:a@b.example>", plain, "", true, true},
		{"FROM:<@x.example,@y.example:a@b.example>", plain, "", true, true},
		{"FROM:<@x.example>", address.Address{Domain: "x.example"}, "", true, false},
		{"FROM:<@>", plain, "", false, false},
		{"FROM:<a@>", plain, "", false, false},
		{"FROM:<a>", address.Address{Local: "a"}, "", true, true},
		{"FROM:<a@b@c.example>", address.Address{Local: "a@b", Domain: "c.example"}, "", true, true},
		{"FROM:<a@[192.0.2.1]>", address.Address{Local: "a", Domain: "[192.0.2.1]"}, "", true, true},
		{"FROM:<a;b@c.example>", plain, "", false, false},
		{"FROM:<a..b@c.example>", address.Address{Local: "a..b", Domain: "c.example"}, "", true, true},
		{`FROM:<a\b@c.example>`, address.Address{Local: "ab", Domain: "c.example"}, "", true, true},
		{`FROM:<"a@c.example>`, plain, "", false, false},
		{"FROM:<(a@c.example>", plain, "", false, false},
		{`FROM:<"">`, address.Address{}, "", true, true},
		{`FROM:<""@b.example>`, address.Address{Domain: "b.example"}, "", true, false},
		{"FROM:<\xc3\xa9@b.example> SMTPUTF8", address.Address{Local: "é", Domain: "b.example"}, "SMTPUTF8", true, true},
		{"FROM:Some Name <d@x.example>", address.Address{Local: "Some"}, "Name <d@x.example>", true, false},
		{"FROM:<a@b.example> (c)", plain, "(c)", true, true},
	}
	for _, tt := range tests {
		for _, strict := range []bool{false, true} {
			got, params, err := ParsePath("FROM:", tt.args, strict)
			taken := tt.lenient
			if strict {
				taken = tt.strict
			}
			if !taken {
				if !errors.Is(err, ErrBadPath) || got.Given == "" {
					t.Errorf("ParsePath(%q, strict %v) = %+v, %v, want %v", tt.args, strict, got, err, ErrBadPath)
				}
				continue
			}
			if err != nil || got.Address != tt.want || params != tt.params {
				t.Errorf("ParsePath(%q, strict %v) = %+v, %q, %v, want %+v, %q", tt.args, strict, got, params, err, tt.want, tt.params)
			}
		}
	}
}

func TestParsePathGiven(t *testing.T) {
	p, _, err := ParsePath("TO:", `TO: <"a b"@b.example> NOTIFY=NEVER`, false)
	if want := `<"a b"@b.example>`; err != nil || p.Given != want {
		t.Errorf("Given = %q, %v, want %q", p.Given, err, want)
	}
}

func TestParsePathNone(t *testing.T) {
	for _, args := range []string{"", "FROM", "FROM ", "FROM:", "FROM: \t", "FROM <a@b.example>", "TO:<a@b.example>", "FROM :<a@b.example>"} {
		if p, _, err := ParsePath("FROM:", args, false); err != ErrNoPath {
			t.Errorf("ParsePath(%q) = %+v, %v, want %v", args, p, err, ErrNoPath)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{"FROM:<a@b.example> SIZE=1", `FROM:"x y"<<a@b>>> (`, `FROM:<"\">`, "FROM:(<", "FROM:<@a:b@c> \\", "FROM:<a@b>(()"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, args string, strict bool) {
		p, params, err := ParsePath("FROM:", args, strict)
		if err != nil {
			if !errors.Is(err, ErrNoPath) && !errors.Is(err, ErrBadPath) {
				t.Errorf("ParsePath(%q) has error %v of no class", args, err)
			}
			return
		}
		if !strings.Contains(args, p.Given) || !strings.Contains(args, params) {
			t.Errorf("ParsePath(%q) = %q, %q, not parts of it", args, p.Given, params)
		}
		if strings.ContainsAny(p.Address.Local+p.Address.Domain, "\r\n\x00") {
			t.Errorf("ParsePath(%q) = %+v with control characters", args, p.Address)
		}
		if strict {
			if _, _, err := ParsePath("FROM:", args, false); err != nil {
				t.Errorf("ParsePath(%q) is good when strict, and not otherwise: %v", args, err)
			}
		}
	})
}
