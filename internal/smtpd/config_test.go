package smtpd

import (
	"net/netip"
	"testing"
	"time"
)

func TestConfigZeroValues(t *testing.T) {
	var c Config
	if c.timeout() != 300*time.Second || c.startTLSTimeout() != 300*time.Second {
		t.Errorf("timeouts are %v and %v, want 300 s", c.timeout(), c.startTLSTimeout())
	}
	if c.lineLimit() != 2048 || c.bareNewlineCode() != 550 {
		t.Errorf("line limit %d, code %d, want 2048, 550", c.lineLimit(), c.bareNewlineCode())
	}
	if c.offersTLS() {
		t.Error("TLS is offered without a certificate")
	}
}

func TestForbiddenCommand(t *testing.T) {
	var c Config
	for verb, want := range map[string]bool{"CONNECT": true, "get": true, "Post": true, "FOO": false, "x": false, "": true, "1x": true, "\xc3": true, "<": true} {
		if got := c.forbidden(verb); got != want {
			t.Errorf("forbidden(%q) = %v, want %v", verb, got, want)
		}
	}
	c.ForbiddenCommand = func(verb string) bool { return verb == "Foo" }
	if c.forbidden("GET") || !c.forbidden("Foo") {
		t.Error("ForbiddenCommand is not asked")
	}
}

func TestBareNewlineTemporaryCode(t *testing.T) {
	h := newHouse()
	h.config.ForbidBareNewline, h.config.BareNewlineRejectCode = 1, 450
	p := h.connect(t)
	p.send("NOOP\n")
	p.want("450 4.5.2 mx.host.example Error: bare <LF> received")
	p.wantEnd()
}

func TestClientString(t *testing.T) {
	c := Client{Name: "client.example", Addr: netip.MustParseAddr("2001:db8::1")}
	if got, want := c.String(), "client.example[2001:db8::1]"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got, want := (&Client{Name: unknown}).String(), "unknown[unknown]"; got != want {
		t.Errorf("String() without an address = %q, want %q", got, want)
	}
}

func TestEscape(t *testing.T) {
	if got, want := escape([]byte("a\t\\\x00\xff\r\n")), `a\t\\\000\377\r\n`; got != want {
		t.Errorf("escape = %q, want %q", got, want)
	}
	if got := escape(make([]byte, 1000)); len(got) != 400 {
		t.Errorf("escape of 1000 octets has %d, want 400", len(got))
	}
}
