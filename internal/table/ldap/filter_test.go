package ldap

import (
	"slices"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"postern/internal/table/cf"
)

func TestParseFilter(t *testing.T) {
	key := &cf.Parts{Whole: "a*(b)@x.test", User: "a*(b)", Domain: "x.test", Labels: []string{"test", "x"}}
	tests := []struct{ text, want, wantErr string }{
		{text: "mail=%s", want: `(mail=a\2A\28b\29@x.test)`},
		{text: " ( & (mail=%s)\t( | (x=%u) (y=%d) ) (!(z= %1 ))) ", want: `(&(mail=a\2A\28b\29@x.test)(|(x=a\2A\28b\29)(y=x.test))(!(z= test )))`},
		{text: "(cn:dn:2.4.6.8.10:=%s)", want: `(cn:dn:2.4.6.8.10:=a\2A\28b\29@x.test)`},
		{text: "(&)", want: "(&)"},
		{text: "(a=100%%)", want: "(a=100%)"},
		{text: "(mail;lang-de~=%s)", want: `(mail;lang-de~=a\2A\28b\29@x.test)`},
		{text: "(a=b=%2)", want: "(a=b=x)"},

		{text: "", wantErr: `no '=' in "": `},
		{text: "()", wantErr: `no '=' in "": ()`},
		{text: "(mail=%s", wantErr: "a '(' is not closed: (mail=%s"},
		{text: "(&(mail=%s)", wantErr: "a '(' is not closed: (&(mail=%s)"},
		{text: "(&(mail=%s)(a=b", wantErr: "a '(' is not closed: (&(mail=%s)(a=b"},
		{text: "(&(mail=%s(a=b))", wantErr: `')' is missing before "(a=b))": (&(mail=%s(a=b))`},
		{text: "(mail=%s))", wantErr: `the filter ends before ")": (mail=%s))`},
		{text: "(mail=%s)(a=b)", wantErr: `the filter ends before "(a=b)": (mail=%s)(a=b)`},
		{text: "(!(a=b)(mail=%s))", wantErr: `')' is missing before "(mail=%s))": (!(a=b)(mail=%s))`},
		{text: "(!mail=%s)", wantErr: `'(' is missing before "mail=%s)": (!mail=%s)`},
		{text: "(& mail=%s)", wantErr: `')' is missing before "mail=%s)": (& mail=%s)`},
		{text: "((mail=%s))", wantErr: `no '=' in "": ((mail=%s))`},
		{text: "(%u=x)", wantErr: `a %-letter stands for a value, it cannot be before the '=' of "%u=x": (%u=x)`},
		{text: "(%s)", wantErr: `no '=' in "%s": (%s)`},
		{text: "(ma il=%s)", wantErr: `"ma il" is not the name of an attribute: (ma il=%s)`},
		{text: "(=%s)", wantErr: `"" is not the name of an attribute: (=%s)`},
		{text: "(mail=%x)", wantErr: `"%x" is not followed by one of % s u d S U D 1..9`},
		{text: `(a=\2)`, wantErr: `missing characters for escape in filter: (a=\2)`},
		{text: strings.Repeat("(!", 200), wantErr: "too many parentheses: " + strings.Repeat("(!", 200)},
	}
	for _, tt := range tests {
		f, err := parseFilter(tt.text)
		if tt.wantErr != "" {
			if err == nil || err.Error() != tt.wantErr {
				t.Errorf("parseFilter(%q): %v, want %q", tt.text, err, tt.wantErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("parseFilter(%q): %v", tt.text, err)
			continue
		}
		if got := f.expand(key); got != tt.want {
			t.Errorf("parseFilter(%q).expand = %q, want %q", tt.text, got, tt.want)
		}
	}
}

// FuzzFilter holds that the filter for any key can be sent, that it asks what
// the template asks, and that the key is in it as it is.
func FuzzFilter(f *testing.F) {
	for _, template := range []string{"(mail=%s)", "mail=%s", "(&(a=%u)(|(b=*%d*)(c>=%1)) (!(d=%%)))", "(cn:dn:=%s)", "(a=*)", "(a=%s*%s)", "(", `(a=\2a%u)`, "(&)", "(:x:=%s)"} {
		for _, key := range []string{"john@example.test", "*)(uid=*", `\`, "*", "(", "\x00\xff", " a b ", "\uFFFD@\u00e4.x", "=@="} {
			f.Add(template, key)
		}
	}
	f.Fuzz(func(t *testing.T, template, key string) {
		filter, err := parseFilter(template)
		if err != nil {
			return
		}
		var need cf.Needs
		filter.template.KeyNeeds(&need, false)
		parts, ok := cf.CutParts(key, need)
		if !ok || key == "" {
			return
		}
		plain := &cf.Parts{Whole: "x", User: "x", Domain: "x", Labels: slices.Repeat([]string{"x"}, 9)}
		want, err := goldap.CompileFilter(filter.expand(plain))
		if err != nil {
			t.Fatalf("parseFilter(%q) takes what does not compile: %v", template, err)
		}
		got, err := goldap.CompileFilter(filter.expand(&parts))
		if err != nil {
			t.Fatalf("parseFilter(%q).expand(%q) = %q: %v", template, key, filter.expand(&parts), err)
		}
		if diff := cmp.Diff(shape(want), shape(got)); diff != "" {
			t.Errorf("parseFilter(%q).expand(%q) = %q asks something else:\n%s", template, key, filter.expand(&parts), diff)
		}
		if template == "(mail=%s)" && got.Children[1].Value != key {
			t.Errorf("%q becomes %q", key, got.Children[1].Value)
		}
	})
}

// shape is what a filter asks, without the values.
func shape(p *ber.Packet) (lines []string) {
	lines = append(lines, string(rune('0'+p.Tag)))
	switch p.Tag {
	case goldap.FilterAnd, goldap.FilterOr, goldap.FilterNot:
		for _, c := range p.Children {
			lines = append(lines, shape(c)...)
		}
	case goldap.FilterPresent:
		lines = append(lines, p.Data.String())
	case goldap.FilterSubstrings:
		lines = append(lines, p.Children[0].Data.String())
		for _, c := range p.Children[1].Children {
			lines = append(lines, string(rune('0'+c.Tag)))
		}
	case goldap.FilterExtensibleMatch:
		for _, c := range p.Children {
			if lines = append(lines, string(rune('0'+c.Tag))); c.Tag != goldap.MatchingRuleAssertionMatchValue {
				lines = append(lines, c.Data.String())
			}
		}
	default:
		lines = append(lines, p.Children[0].Data.String())
	}
	return append(lines, ")")
}

func TestParseURL(t *testing.T) {
	tests := []struct {
		text, host string
		want       search
		wantErr    string
	}{
		{text: "ldap:///dc=x", want: search{base: "dc=x", filter: allEntries}},
		{text: "LDAPS://h:1/dc=x,dc=y%20z?a,b;c?SUB?(%26(a=b) (c=d))?!ext", host: "h:1",
			want: search{"dc=x,dc=y z", goldap.ScopeWholeSubtree, "(&(a=b)(c=d))", []string{"a", "b;c"}}},
		{text: "ldapi://%2Frun%2Fx/??one", host: "%2Frun%2Fx", want: search{scope: goldap.ScopeSingleLevel, filter: allEntries}},
		{text: "ldap://h", host: "h", want: search{filter: allEntries}},
		{text: "ldap:///??deep", wantErr: `unknown scope "deep"`},
		{text: "ldap:///???(a", wantErr: "a '(' is not closed: (a"},
		{text: "ldap:///%zz", wantErr: `invalid URL escape "%zz"`},
		{text: "http://x/", wantErr: "not an LDAP URL"},
		{text: "cn=x,dc=y", wantErr: "not an LDAP URL"},
	}
	for _, tt := range tests {
		host, got, err := parseURL(tt.text)
		if tt.wantErr != "" {
			if err == nil || err.Error() != tt.wantErr {
				t.Errorf("parseURL(%q): %v, want %q", tt.text, err, tt.wantErr)
			}
			continue
		}
		if err != nil || host != tt.host || !got.same(tt.want) {
			t.Errorf("parseURL(%q) = %q, %+v, %v; want %q, %+v", tt.text, host, got, err, tt.host, tt.want)
		}
	}
}

func TestWanted(t *testing.T) {
	used := []string{"mail", "maildrop", "cn;lang-de"}
	for asked, want := range map[string]string{
		"": "mail maildrop cn;lang-de", "MAIL": "mail", "mail;x": "mail;x", "cn": "cn;lang-de", "cn;lang-en": "", "other": "", "cn,mail": "cn;lang-de mail",
	} {
		var list []string
		if asked != "" {
			list = strings.Split(asked, ",")
		}
		if got := strings.Join(wanted(list, used), " "); got != want {
			t.Errorf("wanted(%q) = %q, want %q", asked, got, want)
		}
	}
}

func TestParseServer(t *testing.T) {
	for text, want := range map[string]string{
		"host":                     "ldap://host:99",
		"host:1":                   "ldap://host:1",
		"[::1]":                    "ldap://[::1]:99",
		"[::1]:7":                  "ldap://[::1]:7",
		"ldap://h":                 "ldap://h:389",
		"LDAPS://h/":               "ldaps://h:636",
		"ldaps://h:8/dc=x":         "ldaps://h:8",
		"ldapi://":                 "ldapi:///var/run/slapd/ldapi",
		"ldapi://%2Ftmp%2Fs":       "ldapi:///tmp/s",
		"ldapi://%2Ftmp%2Fs/dc=xx": "ldapi:///tmp/s",
		"::1":                      "",
		"host:port":                "",
		":1":                       "",
		"http://h":                 "",
		"a@b":                      "",
		"ldap://":                  "",
		"ldapi://%zz":              "",
	} {
		got := ""
		if s, err := parseServer(text, 99); err == nil {
			got = s.url
		}
		if got != want {
			t.Errorf("parseServer(%q) = %q, want %q", text, got, want)
		}
	}
}
