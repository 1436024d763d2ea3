package dns

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzRead gives any reply to a question about MX records. What is taken from
// it is of the type, and belongs to the name or to an alias of it.
func FuzzRead(f *testing.F) {
	for _, zone := range []string{
		"example.test. 300 IN MX 10 mx.test.",
		"example.test. 300 IN CNAME a.test.\na.test. 300 IN CNAME example.test.",
		"example.test. 300 IN CNAME a.test.\na.test. 60 IN MX 0 .\nother.test. 1 IN MX 1 evil.test.",
		"example.test. 300 IN A 192.0.2.1",
	} {
		m := new(dns.Msg).SetQuestion("example.test.", dns.TypeMX)
		for line := range strings.Lines(zone) {
			rr, err := dns.NewRR(line)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		a := read(question{"example.test", dns.TypeMX}, m)
		if len(a.records) == 0 && a.class != NoData && a.class != NotFound {
			t.Errorf("class %v", a.class)
		}
		for _, rr := range a.records {
			if _, ok := rr.(*dns.MX); !ok {
				t.Errorf("record %v is of another type", rr)
			}
			if owner := rr.Header().Name; !strings.EqualFold(owner, "example.test.") && !strings.Contains(m.String(), "CNAME") {
				t.Errorf("record of %q", owner)
			}
		}
	})
}
