package address

import (
	"testing"

	"pgregory.net/rapid"
)

var full = Rewriter{
	AppendAtOrigin: true, AppendDotDomain: true, SwapBangPath: true, AllowPercentHack: true,
	Origin: "mx.test", Domain: "my.test",
}

func TestRewrite(t *testing.T) {
	usual := full
	usual.AppendDotDomain = false
	noBang := usual
	noBang.SwapBangPath = false
	noPercent := usual
	noPercent.AllowPercentHack = false
	noOrigin := usual
	noOrigin.AppendAtOrigin = false
	foreign := usual // header of a remote client: remote_header_rewrite_domain is empty
	foreign.Origin, foreign.Domain = "", ""

	tests := []struct {
		name string
		r    Rewriter
		in   string // internal
		want string
	}{
		{"null stays", usual, "", ""},
		{"lone at is null", usual, "@", ""},
		{"complete stays", usual, "John@Example.org", "John@Example.org"},
		{"origin", usual, "john", "john@mx.test"},
		{"origin switched off", noOrigin, "john", "john"},
		{"no origin", foreign, "john", "john"},
		{"quoted local part", usual, "two words", "two words@mx.test"},
		{"bang", usual, "site!john", "john@site"},
		{"first bang counts", usual, "a!b!c", "b!c@a"},
		{"bang switched off", noBang, "site!john", "site!john@mx.test"},
		{"bang goes before percent", usual, "a%b!c", "c@a%b"},
		{"bang with a domain stays", usual, "site!john@x.test", "site!john@x.test"},
		{"bang in quotes is no operator", usual, "a b!c", "a b!c@mx.test"},
		{"bang without site", usual, "!john", "john@"},
		{"percent", usual, "john%site", "john@site"},
		{"last percent counts", usual, "a%b%c", "a%b@c"},
		{"percent switched off", noPercent, "john%site", "john%site@mx.test"},
		{"percent with a domain stays", usual, "a%b@x.test", "a%b@x.test"},
		{"percent at the end", usual, "john%", "john@"},
		{"route", usual, "@a,@b:john@x.test", "john@x.test"},
		{"route to a bare name", usual, "@a:john", "john@mx.test"},
		{"colon at the end is no route", usual, "@a:", "@a:"},
		{"route in quotes has no at in front", usual, "x@a:b@c", "x@a:b@c"},
		{"user at nothing stays", usual, "user@", "user@"},
		{"at domain stays", usual, "@x.test", "@x.test"},
		{"dot domain", full, "john@host", "john@host.my.test"},
		{"dot domain after bang", full, "host!john", "john@host.my.test"},
		{"dot domain not for literals", full, "john@[IPv6:::1]", "john@[IPv6:::1]"},
		{"dot domain not with a dot at the end", full, "john@host.", "john@host"},
		{"dot domain not for the origin", Rewriter{AppendAtOrigin: true, AppendDotDomain: true, Origin: "mx.test", Domain: "my.test"}, "a", "a@mx.test"},
		{"trailing dot", usual, "john@x.test.", "john@x.test"},
		{"two trailing dots", usual, "john@x.test..", "john@x.test.."},
		{"only a dot", usual, "john@.", "john@."},
		{"zero rewriter", Rewriter{}, "a!b%c", "a!b%c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.r.Rewrite(Split(tt.in)); got != Split(tt.want) {
				t.Errorf("Rewrite(%q) = %#v, want %#v", tt.in, got, Split(tt.want))
			}
		})
	}
}

// Rewriting what is complete changes nothing more. (With append_dot_mydomain it
// may: "host." loses its dot, and a second time it is a domain without one.)
func TestRewriteTwice(t *testing.T) {
	usual := full
	usual.AppendDotDomain = false
	rapid.Check(t, func(t *rapid.T) {
		in := Split(rapid.StringMatching(`[a-c!%@.: ]{0,12}`).Draw(t, "internal"))
		once := usual.Rewrite(in)
		if once.Local == "" || once.Local[0] == '@' || once.Domain == "" {
			return // a route inside a route, "user@" and "@domain" are not complete
		}
		if once.Domain[0] == '.' || once.Domain[len(once.Domain)-1] == '.' {
			return // "x.." loses no dot, nor does "."
		}
		if twice := usual.Rewrite(once); twice != once {
			t.Errorf("Rewrite(%#v) = %#v, again %#v", in, once, twice)
		}
	})
}
