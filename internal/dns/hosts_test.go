package dns

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestHostsFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	now := time.Unix(1e9, 0)
	n := &Native{client: &Client{ipv4: true, ipv6: true}, path: path, now: func() time.Time { return now }}
	count := func() int { m, _ := n.hosts(); return len(m) }
	if got := count(); got != 0 {
		t.Fatalf("%d names without a file", got)
	}
	if err := os.WriteFile(path, []byte("192.0.2.1 a.test b.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != 0 {
		t.Errorf("%d names: the file was looked at twice in a second", got)
	}
	now = now.Add(time.Second)
	if got := count(); got != 2 {
		t.Errorf("%d names, want 2", got)
	}
	if err := os.WriteFile(path, []byte("192.0.2.1 a.test b.test c.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if got := count(); got != 3 {
		t.Errorf("%d names after a change, want 3", got)
	}
}

func TestValidHost(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "a.b": true, "a_b.test": true, "1.test": true, "xn--a.test": true,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false, "-a": false, "a-": false, "a-.b": false,
		"a b": false, "a/b": false, "ä": false, "a\x00": false, `a\.b`: false,
	} {
		if got := validHost(name); got != want {
			t.Errorf("validHost(%q) = %v, want %v", name, got, want)
		}
	}
}

func FuzzParseHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n::1 a b # c\n\nx\n192.0.2.1")
	f.Fuzz(func(t *testing.T, text string) {
		byName, byAddr := parseHosts(text)
		for name, addrs := range byName {
			if len(addrs) == 0 || !validHost(name) {
				t.Errorf("%q: %v", name, addrs)
			}
		}
		for addr, names := range byAddr {
			if len(names) == 0 || addr.Is4In6() {
				t.Errorf("%v: %v", addr, names)
			}
		}
	})
}

func TestHostsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("192.0.2.7 mailbox.test mailbox\n2001:db8::7 mailbox.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"Mailbox.Test.": "[192.0.2.7 2001:db8::7]", "mailbox": "[192.0.2.7]", "other.test": "[]"} {
		if got := fmt.Sprint(HostsFile(path, host)); got != want {
			t.Errorf("HostsFile(%q) = %s, want %s", host, got, want)
		}
	}
	if got := HostsFile(path+".none", "mailbox"); len(got) > 0 {
		t.Errorf("a file that is not there: %v", got)
	}
}
