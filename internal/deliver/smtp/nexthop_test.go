package smtp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var nextHops = []struct {
	text string
	want []destination
	err  string
}{
	{"example.test", []destination{{Host: "example.test", Port: "25", MX: true}}, ""},
	{"example.test:587", []destination{{Host: "example.test", Port: "587", MX: true}}, ""},
	{"example.test:submission", []destination{{Host: "example.test", Port: "587", MX: true}}, ""},
	{"[mx.test]", []destination{{Host: "mx.test", Port: "25"}}, ""},
	{"[mx.test]:smtps", []destination{{Host: "mx.test", Port: "465"}}, ""},
	{"[192.0.2.1]:2525", []destination{{Host: "192.0.2.1", Port: "2525"}}, ""},
	{"192.0.2.1:lmtp", []destination{{Host: "192.0.2.1", Port: "24"}}, ""},
	{"[2001:db8::1]:25", []destination{{Host: "2001:db8::1", Port: "25"}}, ""},
	{"[IPv6:2001:db8::1]", []destination{{Host: "2001:db8::1", Port: "25"}}, ""},
	{"2001:db8::1", []destination{{Host: "2001:db8::1", Port: "25"}}, ""},
	{"inet:mx.test:24", []destination{{Host: "mx.test", Port: "24"}}, ""},
	{"inet:[::1]:24", []destination{{Host: "::1", Port: "24"}}, ""},
	{"unix:private/dovecot-lmtp", []destination{{Unix: "private/dovecot-lmtp"}}, ""},
	{"a.test, [b.test]:26\tunix:c", []destination{{Host: "a.test", Port: "25", MX: true}, {Host: "b.test", Port: "26"}, {Unix: "c"}}, ""},
	{"", nil, `bad next hop "": no destination`},
	{" , ", nil, "no destination"},
	{"[mx.test", nil, "missing ]"},
	{"[]", nil, "no host"},
	{"[mx.test]x", nil, "text behind ]"},
	{"[mx.test]:", nil, "text behind ]"},
	{"mx.test:", nil, "no port behind the colon"},
	{":25", nil, "no host"},
	{"inet:", nil, "no host"},
	{"unix:", nil, "no path of a socket"},
	{"mx.test:0", nil, "port 0"},
	{"mx.test:65536", nil, `unknown service "65536"`},
	{"mx.test:nosuchservice", nil, `unknown service "nosuchservice"`},
	{"good.test [bad", nil, `bad next hop "[bad"`},
}

func TestParseNextHop(t *testing.T) {
	for _, test := range nextHops {
		got, err := parseNextHop(test.text, "25", true)
		for i := range got {
			if got[i].Text == "" || !strings.Contains(test.text, got[i].Text) {
				t.Errorf("parseNextHop(%q): Text %q", test.text, got[i].Text)
			}
			got[i].Text = ""
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("parseNextHop(%q): %s", test.text, diff)
		}
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("parseNextHop(%q): error %v, want %q", test.text, err, test.err)
		}
	}
	if got, _ := parseNextHop("mx.test", "24", false); got[0].MX || got[0].Port != "24" {
		t.Errorf("LMTP: %+v", got)
	}
}

func FuzzParseNextHop(f *testing.F) {
	for _, test := range nextHops {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseNextHop(text, "25", true)
		if err != nil {
			return
		}
		for _, d := range list {
			if (d.Host == "") == (d.Unix == "") || (d.Port == "") != (d.Unix != "") {
				t.Errorf("parseNextHop(%q) = %+v", text, d)
			}
		}
	})
}
