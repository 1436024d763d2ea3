package mtasts

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const good = "version: STSv1\nmode: enforce\nmx: mx1.example.test\nmx: *.example.net\nmax_age: 86400\n"

func TestParsePolicy(t *testing.T) {
	want := policy{modeEnforce, []string{"mx1.example.test", "*.example.net"}, 24 * time.Hour}
	for _, test := range []struct {
		name, text string
		want       policy
		err        string
	}{
		{"LF", good, want, ""},
		{"CR LF", strings.ReplaceAll(good, "\n", "\r\n"), want, ""},
		{"no end of line", strings.TrimSuffix(good, "\n"), want, ""},
		{"blanks", "version:STSv1 \nmode :\tenforce\nmx: MX1.Example.Test.\nmx: *.example.net\nmax_age: 86400\n\n", want, ""},
		{"unknown field", good + "x-more: 1\n", want, ""},
		{"the first of two counts", good + "mode: none\nmax_age: 1\n", want, ""},
		{"testing", "version: STSv1\nmode: testing\nmx: a.test\nmax_age: 1", policy{modeTesting, []string{"a.test"}, time.Second}, ""},
		{"none", "version: STSv1\nmode: none\nmax_age: 0", policy{modeNone, nil, 0}, ""},
		{"very long", "version: STSv1\nmode: none\nmax_age: 9999999999", policy{modeNone, nil, maxMaxAge * time.Second}, ""},
		{"empty", "", policy{}, "no version"},
		{"no version", "mode: none\nmax_age: 1", policy{}, "no version"},
		{"no mode", "version: STSv1\nmax_age: 1", policy{}, "no mode"},
		{"no max_age", "version: STSv1\nmode: none", policy{}, "no max_age"},
		{"no mx", "version: STSv1\nmode: enforce\nmax_age: 1", policy{}, "no mx"},
		{"version", "version: STSv2\nmode: none\nmax_age: 1", policy{}, `unknown version "STSv2"`},
		{"mode", "version: STSv1\nmode: Enforce\nmax_age: 1", policy{}, `unknown mode "Enforce"`},
		{"age", "version: STSv1\nmode: none\nmax_age: 1d", policy{}, "not a number"},
		{"negative age", "version: STSv1\nmode: none\nmax_age: -1", policy{}, "not a number"},
		{"long age", "version: STSv1\nmode: none\nmax_age: 00000000001", policy{}, "not a number"},
		{"wildcard inside", good + "mx: a.*.test", policy{}, "neither a host name"},
		{"match of our own", good + "mx: a.test:.test", policy{}, "neither a host name"},
		{"address", good + "mx: 192.0.2.1", policy{}, "neither a host name"},
		{"one label", good + "mx: localhost", policy{}, "neither a host name"},
		{"no colon", good + "hello", policy{}, "is not \"name: value\""},
		{"HTML", "<html></html>", policy{}, "is not \"name: value\""},
		{"many mx", good + strings.Repeat("mx: a.test\n", maxPatterns), policy{}, "more than"},
	} {
		got, err := parsePolicy(test.text)
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(policy{})); test.err == "" && diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.err)
		}
	}
	if got, wanted := want.value(), "secure match=mx1.example.test:.example.net servername=hostname policy_type=sts"; got != wanted {
		t.Errorf("value() = %q, want %q", got, wanted)
	}
}

func TestParseRecords(t *testing.T) {
	for _, test := range []struct {
		records []string
		want    string // "" is no policy
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{[]string{"v=STSv1;id=1"}, "1"},
		{[]string{"v=STSv1 ; x=y ; id=1 ; id=2"}, "1"},
		{[]string{"v=spf1 -all", "v=STSv1; id=1"}, "1"},
		{[]string{"v=STSv1; id=1", "v=STSv1; id=2"}, ""},
		{[]string{"v=STSv1"}, ""},
		{[]string{"v=STSv1;"}, ""},
		{[]string{"v=STSv1; id=a b"}, ""},
		{[]string{"v=STSv1; id=" + strings.Repeat("x", 33)}, ""},
		{[]string{"v=STSv2; id=1"}, ""},
		{[]string{" v=STSv1; id=1"}, ""},
		{nil, ""},
	} {
		id, ok := parseRecords(test.records)
		if ok != (test.want != "") || ok && id != test.want {
			t.Errorf("parseRecords(%q) = %q, %v; want %q", test.records, id, ok, test.want)
		}
	}
}

// FuzzParsePolicy holds that a policy never makes an entry of more than its own
// names, and that the file it is kept in gives it back.
func FuzzParsePolicy(f *testing.F) {
	f.Add(good)
	f.Add("version: STSv1\r\nmode: testing\r\nmx: *.a.test\r\nmax_age: 604800\r\n")
	f.Add("version: STSv1\nmode: none\nmax_age: 0")
	f.Add("mx: a b\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePolicy(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(strings.Join(p.mx, ""), " :,{}|=\r\n\t/") {
			t.Errorf("%q: patterns %q", text, p.mx)
		}
		k, err := parseKept("id1 1767225600\n" + text)
		if err != nil || cmp.Diff(p, k.policy, cmp.AllowUnexported(policy{})) != "" {
			t.Errorf("%q: kept as %+v, %v", text, k, err)
		}
	})
}
