package address

import "testing"

func TestSplitAndPrint(t *testing.T) {
	tests := []struct {
		internal string
		want     Address
		external string
	}{
		{"", Address{}, ""},
		{"john", Address{Local: "john"}, "john"},
		{"john@example.org", Address{"john", "example.org"}, "john@example.org"},
		{"a@b@example.org", Address{"a@b", "example.org"}, `"a@b"@example.org`},
		{"two words@example.org", Address{"two words", "example.org"}, `"two words"@example.org`},
		{`q"\@example.org`, Address{`q"\`, "example.org"}, `"q\"\\"@example.org`},
		{"user@", Address{Local: "user@"}, `"user@"`},
		{"@", Address{Local: "@"}, `"@"`},
		{"@example.org", Address{Domain: "example.org"}, `""@example.org`},
		{".a@x.test", Address{".a", "x.test"}, `".a"@x.test`},
		{"a..b@x.test", Address{"a..b", "x.test"}, `"a..b"@x.test`},
		{"a.@x.test", Address{"a.", "x.test"}, `"a."@x.test`},
		{"jörg@bücher.test", Address{"jörg", "bücher.test"}, "jörg@bücher.test"},
		{"x@[192.0.2.1]", Address{"x", "[192.0.2.1]"}, "x@[192.0.2.1]"},
		{"o'hara!#%=x@x.test", Address{"o'hara!#%=x", "x.test"}, "o'hara!#%=x@x.test"},
	}
	for _, tt := range tests {
		got := Split(tt.internal)
		if got != tt.want {
			t.Errorf("Split(%q) = %#v, want %#v", tt.internal, got, tt.want)
		}
		if s := got.Internal(); s != tt.internal {
			t.Errorf("Split(%q).Internal() = %q", tt.internal, s)
		}
		if s := got.String(); s != tt.external {
			t.Errorf("Split(%q).String() = %q, want %q", tt.internal, s, tt.external)
		}
		if got.IsNull() != (tt.internal == "") {
			t.Errorf("Split(%q).IsNull() = %v", tt.internal, got.IsNull())
		}
	}
}

func TestFold(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"already.lower", "already.lower"},
		{"John.Doe", "john.doe"},
		{"JÖRG", "jörg"},
		{"Straße", "strasse"},
		{"ΣΊΣΥΦΟΣ", "σίσυφοσ"},
		{"Latin1\xe4ABC", "latin1\xe4abc"}, // not UTF-8: only ASCII is folded
	}
	for _, tt := range tests {
		if got := Fold(tt.in); got != tt.want {
			t.Errorf("Fold(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	if allocs := testing.AllocsPerRun(100, func() { Fold("already.lower") }); allocs != 0 {
		t.Errorf("Fold of folded text allocates %v times", allocs)
	}
}

func TestEqual(t *testing.T) {
	a := Address{"John", "Example.ORG"}
	for b, want := range map[Address]bool{
		{"john", "example.org"}: true,
		{"JOHN", "EXAMPLE.ORG"}: true,
		{"jon", "example.org"}:  false,
		{"john", "example.com"}: false,
		{Local: "john"}:         false,
	} {
		if got := a.Equal(b); got != want {
			t.Errorf("%v.Equal(%v) = %v, want %v", a, b, got, want)
		}
	}
}

func TestDelimiter(t *testing.T) {
	plus := Delimiter{Set: "+", DoubleBounce: "double-bounce", OwnerRequest: true}
	both := Delimiter{Set: "+-", DoubleBounce: "double-bounce", OwnerRequest: true}
	plain := Delimiter{Set: "-", DoubleBounce: "double-bounce"}
	tests := []struct {
		d         Delimiter
		local     string
		base, ext string
		ok        bool
	}{
		{Delimiter{}, "john+shop", "john+shop", "", false},
		{plus, "john", "john", "", false},
		{plus, "john+shop", "john", "+shop", true},
		{plus, "john+shop+more", "john", "+shop+more", true},
		{plus, "john+", "john", "+", true},
		{plus, "+shop", "+shop", "", false},
		{plus, "owner-list+x", "owner-list", "+x", true},
		{both, "john-a+b", "john", "-a+b", true},
		{both, "john+a-b", "john", "+a-b", true},
		{both, "Owner-list", "Owner-list", "", false},
		{both, "list-Request", "list-Request", "", false},
		{both, "list-request+x", "list", "-request+x", true},
		{both, "double-bounce", "double-bounce", "", false},
		{both, "Mailer-Daemon", "Mailer-Daemon", "", false},
		{plain, "owner-list", "owner", "-list", true},
	}
	for _, tt := range tests {
		base, ext, ok := tt.d.Split(tt.local)
		if base != tt.base || ext != tt.ext || ok != tt.ok {
			t.Errorf("%+v.Split(%q) = %q, %q, %v, want %q, %q, %v", tt.d, tt.local, base, ext, ok, tt.base, tt.ext, tt.ok)
		}
	}
}
