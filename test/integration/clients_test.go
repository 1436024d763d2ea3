package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// certificate writes a self-made certificate with its key into one file.
func (w *world) certificate(file, name string) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(w.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(w.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(w.t, err)
	var text bytes.Buffer
	must(w.t, pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	must(w.t, pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	w.write(file, text.String())
}

// presented is the name in the certificate that STARTTLS shows.
func (w *world) presented() string {
	w.t.Helper()
	c := w.hello()
	defer c.Close()
	c.want("STARTTLS\r\n", "220 ")
	secure := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	must(w.t, secure.Handshake())
	return secure.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func (w *world) swaks(args ...string) string {
	w.t.Helper()
	out, err := w.run(exec.Command(need(w.t, "swaks"), append([]string{"--server", "127.0.0.1", "--port", w.port,
		"--from", "sender@client.example", "--helo", "client.example"}, args...)...))
	if err != nil {
		w.t.Fatalf("swaks: %v\n%s", err, out)
	}
	return out
}

func TestSwaks(t *testing.T) {
	need(t, "swaks")
	w := newWorld(t, "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {dir}/etc/cert.pem\n")
	w.certificate("etc/cert.pem", "first.example")
	w.start()
	w.swaks("--to", "john@example.org,jack@example.org", "--body", "plain text of swaks")
	for _, box := range []string{"john", "jack"} {
		if text := w.arrived(box, 1)[0]; !strings.Contains(text, "plain text of swaks") || !strings.Contains(text, "with ESMTP id") {
			t.Errorf("message in %s:\n%s", box, text)
		}
	}
	w.swaks("--to", "john@example.org", "--tls", "--body", "secret text of swaks")
	secret := 0
	for _, text := range w.arrived("john", 2) {
		if strings.Contains(text, "secret text of swaks") && strings.Contains(text, "with ESMTPS id") {
			secret++
		}
	}
	if secret != 1 {
		t.Errorf("%d messages came by TLS, want 1", secret)
	}
	if name := w.presented(); name != "first.example" {
		t.Errorf("certificate of %s, want first.example", name)
	}
	w.certificate("etc/cert.pem", "second.example")
	w.eventually("the new certificate", func() bool { return w.presented() == "second.example" })
	if out := w.swaks("--to", "jack@example.org", "--tls"); !strings.Contains(out, "second.example") {
		t.Errorf("swaks did not see the new certificate:\n%s", out)
	}
	w.arrived("jack", 2)
	// A broken file does not take the working certificate away.
	w.write("etc/cert.pem", "no certificate\n")
	w.eventually("a warning about the certificate", func() bool {
		if name := w.presented(); name != "second.example" {
			t.Fatalf("certificate of %s, want second.example", name)
		}
		return regexp.MustCompile(`warning: .*cert\.pem`).MatchString(w.log())
	})
}

const pythonClient = `
import smtplib, sys
s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), local_hostname="client.example", timeout=60)
text = "From: a@client.example\r\nSubject: several\r\n\r\nto several\r\n.\r\n..\r\n"
refused = s.sendmail("a@client.example", ["john@example.org", "nobody@example.org", "jack@example.org"], text)
assert list(refused) == ["nobody@example.org"], refused
assert refused["nobody@example.org"][0] == 550, refused
eight = "Subject: eight\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngr\u00fc\u00dfe\r\n".encode("latin-1")
assert not s.sendmail("a@client.example", ["john@example.org"], eight, mail_options=["BODY=8BITMIME"])
wide = "Subject: gr\u00fc\u00dfe\r\n\r\nan j\u00fcrgen\r\n".encode("utf-8")
assert not s.sendmail("\u00e4@client.example", ["j\u00fcrgen@example.org"], wide, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
s.quit()
`

func TestSmtplib(t *testing.T) {
	python := need(t, "python3")
	w := newWorld(t, "")
	w.start()
	if out, err := w.run(exec.Command(python, "-c", pythonClient, w.port)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if text := w.arrived("jack", 1)[0]; !strings.HasSuffix(text, "\nSubject: several\n\nto several\n.\n..\n") {
		t.Errorf("message for jack:\n%s", text)
	}
	all := strings.Join(w.arrived("john", 2), "")
	if !strings.Contains(all, "\n\ngr\xfc\xdfe\n") {
		t.Errorf("the 8-bit text was changed:\n%q", all)
	}
	wide := w.arrived("juergen", 1)[0]
	for _, part := range []string{"Return-Path: <ä@client.example>", "Delivered-To: jürgen@example.org", "with UTF8SMTP id", "Subject: grüße\n\nan jürgen\n"} {
		if !strings.Contains(wide, part) {
			t.Errorf("no %q in\n%s", part, wide)
		}
	}
}

// bulk is the number of messages of the tests with Postfix's tools, in sessions
// at the same time.
const (
	bulk         = 500
	bulkSessions = "10"
	bulkSize     = 2048
)

// source runs smtp-source against the server.
func (w *world) source(to string) {
	w.t.Helper()
	out, err := w.run(exec.Command(need(w.t, "smtp-source"), "-s", bulkSessions, "-m", strconv.Itoa(bulk), "-l", strconv.Itoa(bulkSize),
		"-f", "sender@client.example", "-t", to, "-M", "client.example", "inet:"+w.addr()))
	if err != nil {
		w.t.Fatalf("smtp-source: %v\n%s", err, out)
	}
}

// sameBodies complains when the texts differ behind the header, or are too short.
func sameBodies(t *testing.T, texts []string) {
	t.Helper()
	var first string
	for i, text := range texts {
		_, body, _ := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n")
		body = strings.TrimRight(body, "\n")
		if i == 0 {
			first = body
		}
		if body != first || len(body) < bulkSize/2 {
			t.Fatalf("%d octets of text, want %d:\n%.300s", len(body), len(first), text)
		}
	}
}

func TestSource(t *testing.T) {
	need(t, "smtp-source")
	w := newWorld(t, "smtpd_client_connection_count_limit = 0\n")
	w.start()
	w.source("john@example.org")
	sameBodies(t, w.arrived("john", bulk))
	w.eventually("all messages removed", func() bool { return strings.Count(w.log(), ": removed\n") == bulk })
}

func TestSink(t *testing.T) {
	need(t, "smtp-source")
	sink := need(t, "smtp-sink")
	w := newWorld(t, "mynetworks = 127.0.0.0/8\nsmtpd_client_connection_count_limit = 0\nrelayhost = [127.0.0.1]:{port2}\n")
	must(t, os.Mkdir(w.path("sunk"), 0o777))
	must(t, os.Chmod(w.path("sunk"), 0o777))
	sinkPort := freePort(t)
	args := []string{"-d", w.path("sunk/m."), "127.0.0.1:" + sinkPort, "100"}
	if os.Getuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	background(t, w.path("sink.log"), sink, args...)
	w.eventually("smtp-sink", func() bool { return greets("127.0.0.1:" + sinkPort) })
	pipelined := w.watch(sinkPort)
	w.start()
	w.source("someone@remote.example")
	w.eventually("all messages sent", func() bool { return strings.Count(w.log(), ": removed\n") == bulk })
	entries, err := os.ReadDir(w.path("sunk"))
	must(t, err)
	var texts []string
	for _, e := range entries {
		texts = append(texts, w.read("sunk/"+e.Name()))
	}
	if len(texts) != bulk {
		t.Errorf("smtp-sink has %d messages, want %d", len(texts), bulk)
	}
	sameBodies(t, texts)
	if n := strings.Count(w.log(), "status=sent (250"); n != bulk {
		t.Errorf("%d recipients are logged as sent, want %d", n, bulk)
	}
	if pipelined.Load() == 0 {
		t.Error("MAIL and RCPT never came together")
	}
	w.logged(`relay=127\.0\.0\.1\[127\.0\.0\.1\]:` + w.port2 + `, conn_use=\d+, `)
}

// watch passes connections to port2 on to port, and counts how often MAIL and
// RCPT came in one piece.
func (w *world) watch(port string) *atomic.Int64 {
	l, err := net.Listen("tcp", "127.0.0.1:"+w.port2)
	must(w.t, err)
	w.t.Cleanup(func() { l.Close() })
	var count atomic.Int64
	copyTo := func(to, from net.Conn) {
		defer to.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if bytes.Contains(buf[:n], []byte("MAIL FROM:")) && bytes.Contains(buf[:n], []byte("RCPT TO:")) {
				count.Add(1)
			}
			if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				in.Close()
				continue
			}
			go copyTo(out, in)
			go copyTo(in, out)
		}
	}()
	return &count
}
