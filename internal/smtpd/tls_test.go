package smtpd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"postern/internal/smtp"
)

// serverTLS makes a certificate for mx.host.example.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	c, err := newServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newServerTLS() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.host.example"}, DNSNames: []string{"mx.host.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}

// secure makes the connection of p a TLS connection.
func (p *peer) secure() {
	p.t.Helper()
	conn := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		p.t.Fatalf("TLS handshake: %v", err)
	}
	p.Conn = conn
	p.in = smtp.NewReader(conn, make([]byte, 4096))
}

func TestStartTLS(t *testing.T) {
	h := newHouse()
	h.config.TLS, h.config.TLSLevel, h.config.LogTLS = serverTLS(t), TLSMay, true
	p := h.connect(t)
	p.ask("HELO client.example", "250 mx.host.example")
	p.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
	p.ask("RCPT TO:<x@a.example>", "250 2.1.5 Ok")
	p.ask("STARTTLS", "220 2.0.0 Ready to start TLS")
	p.secure()
	p.ask("RCPT TO:<x@a.example>", "503 5.5.1 Error: need MAIL command")
	p.send("EHLO client.example\r\n")
	var list []string
	for line := p.line(); ; line = p.line() {
		list = append(list, line[4:])
		if line[3] == ' ' {
			break
		}
	}
	if got, want := strings.Join(list, " "), "mx.host.example PIPELINING SIZE 10240000 VRFY ENHANCEDSTATUSCODES 8BITMIME DSN SMTPUTF8"; got != want {
		t.Errorf("EHLO after STARTTLS announces %q, want %q", got, want)
	}
	p.ask("STARTTLS", "554 5.5.1 Error: TLS already active")
	p.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
	p.ask("QUIT", "221 2.0.0 Bye")
	p.wantEnd()
	h.log.contains(t, "disconnect from unknown[192.0.2.1] helo=1 ehlo=1 starttls=1/2 mail=2 rcpt=1/2 quit=1 commands=7/9")
	if !strings.Contains(h.log.String(), "\nAnonymous TLS connection established from unknown[192.0.2.1]: TLSv1.3 with cipher TLS_") {
		t.Errorf("the log has no line about TLS:\n%s", &h.log)
	}
	if h.intake.aborted != 1 {
		t.Errorf("%d messages were aborted, want 1", h.intake.aborted)
	}
}

// Commands behind STARTTLS in clear must not count as said in TLS.
func TestStartTLSInjection(t *testing.T) {
	h := newHouse()
	h.config.TLS, h.config.TLSLevel = serverTLS(t), TLSMay
	p := h.connect(t)
	p.hello()
	p.send("STARTTLS\r\nMAIL FROM:<evil@b.example>\r\n")
	p.want("220 2.0.0 Ready to start TLS")
	p.secure()
	p.ask("RCPT TO:<x@a.example>", "503 5.5.1 Error: need MAIL command")
	p.ask("QUIT", "221 2.0.0 Bye")
	p.wantEnd()
}

func TestStartTLSFailure(t *testing.T) {
	h := newHouse()
	h.config.TLS, h.config.TLSLevel = serverTLS(t), TLSMay
	p := h.connect(t)
	p.ask("STARTTLS", "220 2.0.0 Ready to start TLS")
	p.send("NOOP\r\n")
	p.wantEndOfTLS()
	h.log.contains(t, "SSL_accept error from unknown[192.0.2.1]: tls: first record does not look like a TLS handshake")
	h.log.contains(t, "lost connection after STARTTLS from unknown[192.0.2.1]")
}

// wantEndOfTLS waits for the end of a session whose handshake failed; an alert
// may come before it.
func (p *peer) wantEndOfTLS() {
	for {
		if _, err := p.Read(make([]byte, 100)); err != nil {
			break
		}
	}
	<-p.over
}

func TestTLSRequired(t *testing.T) {
	h := newHouse()
	h.config.TLS, h.config.TLSLevel = serverTLS(t), TLSEncrypt
	p := h.connect(t)
	for _, command := range []string{"MAIL FROM:<a@b.example>", "RSET", "VRFY x", "AUTH PLAIN x", "DATA"} {
		p.ask(command, "530 5.7.0 Must issue a STARTTLS command first")
	}
	p.ask("HELO x", "250 mx.host.example")
	p.ask("FOO", "500 5.5.2 Error: command not recognized")
	p.ask("STARTTLS foo", "501 5.5.4 Syntax: STARTTLS")
	p.ask("STARTTLS", "220 2.0.0 Ready to start TLS")
	p.secure()
	p.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
	p.ask("QUIT", "221 2.0.0 Bye")
	p.wantEnd()
}

func TestWrapperMode(t *testing.T) {
	h := newHouse()
	h.config.TLS, h.config.WrapperMode = serverTLS(t), true
	p := h.connectSilently(t)
	p.secure()
	p.want("220 mx.host.example ESMTP")
	p.ask("STARTTLS", "554 5.5.1 Error: TLS already active")
	p.ask("QUIT", "221 2.0.0 Bye")
	p.wantEnd()
}

func TestWrapperModeWithoutCertificate(t *testing.T) {
	h := newHouse()
	h.config.WrapperMode = true
	p := h.connectSilently(t)
	p.wantEnd()
	h.log.contains(t, "warning: no TLS certificate for service smtp, closing the connection of unknown[192.0.2.1]")
}
