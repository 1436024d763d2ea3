package mtasts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/tlsconf/tlstest"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	ca := tlstest.New(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pem, empty := write("ca.pem", string(ca.PEM)), write("empty.pem", "")
	o := &table.Opener{Dir: dir, Types: map[string]table.Constructor{"mta-sts": Open}, RelativeNames: true,
		Param: func(name string) (string, origin.At, bool) {
			value, ok := map[string]string{"queue_directory": "/q", "dns_servers": "127.0.0.1:1", "inet_protocols": "ipv4"}[name]
			return value, origin.At{}, ok
		}}
	defer o.Close()
	for i, test := range []struct{ text, want string }{
		{"timeout = 3\ncache_directory = c\nCAfile = " + pem + "\ndns_servers = 127.0.0.1:1, 127.0.0.2\nhttps_address = 127.0.0.1:443\n", ""},
		{"", ""},
		{"timeout = 0\n", "x.cf, line 1: timeout: must be at least 1"},
		{"\ntimeout = long\n", "x.cf, line 2: timeout: "},
		{"dns_servers = ns.test\n", `x.cf, line 1: dns_servers: "ns.test" is not an IP address`},
		{"CAfile = " + empty + "\n", "x.cf, line 1: CAfile: no certificates found"},
		{"CAfile = /no/such\n", "x.cf, line 1: CAfile: open /no/such: No such file"},
	} {
		path := write(fmt.Sprintf("%dx.cf", i), test.text)
		tab, err := o.Open(t.Context(), "mta-sts:"+path, table.Use{Fold: true, Parameter: test.text})
		if test.want == "" && (err != nil || tab.Name() != "mta-sts:"+path) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
	tab, err := open(o, "", table.Use{})
	if err != nil || tab.store.directory != "/q/postern/mta-sts" || tab.timeout != 10*time.Second || tab.Name() != "mta-sts:" {
		t.Errorf("without a file: %+v, %v", tab, err)
	}
	if tab, err := o.Open(t.Context(), "mta-sts:", table.Use{Fold: true}); err != nil || tab.Name() != "mta-sts:" {
		t.Errorf("mta-sts: %v", err)
	}
	if _, err := o.Open(t.Context(), "mta-sts:", table.Use{NoRemote: true}); err == nil || !strings.Contains(err.Error(), "not allowed for security-sensitive data") {
		t.Errorf("with NoRemote: %v", err)
	}
}
