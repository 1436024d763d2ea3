package failures

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"postern/internal/dns/dnstest"
)

// makeDatabase makes an SQLite database.
func makeDatabase(t *testing.T, name, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", name)
	must(t, err)
	_, err = db.Exec(text)
	must(t, err)
	must(t, db.Close())
}

// makeCertificates makes self-signed certificates, one for each line "CERT KEY NAME
// DAYS".
func makeCertificates(t *testing.T, dir, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		var cert, key, name string
		var days int
		_, err := fmt.Sscan(line, &cert, &key, &name, &days)
		must(t, err)
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		now := time.Now()
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(0, 0, days)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
		must(t, err)
		writePEM(t, filepath.Join(dir, cert), "CERTIFICATE", der)
		secret, err := x509.MarshalPKCS8PrivateKey(private)
		must(t, err)
		writePEM(t, filepath.Join(dir, key), "PRIVATE KEY", secret)
	}
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	must(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// dns starts the name server of a case and returns its address.
func (c *testCase) dns(t *testing.T) string {
	f := c.file("dns")
	if f == nil {
		return ""
	}
	return dnstest.Start(t, "$TTL 300\n"+f.text).Addr
}

// lmtp starts the LMTP server of a case, on a socket and on a port, and returns the
// address of the port.
func (c *testCase) lmtp(t *testing.T, socket string) string {
	f := c.file("lmtp")
	if f == nil {
		return ""
	}
	replies := map[string]string{}
	for line := range strings.Lines(f.text) {
		address, reply, _ := strings.Cut(strings.TrimSpace(line), " ")
		replies[address] = reply
	}
	unix, err := net.Listen("unix", socket)
	must(t, err)
	must(t, os.Chmod(socket, 0o666))
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	for _, l := range []net.Listener{unix, tcp} {
		t.Cleanup(func() { l.Close() })
		go answerLMTP(t, l, replies)
	}
	return tcp.Addr().String()
}

func answerLMTP(t *testing.T, l net.Listener, replies map[string]string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			speakLMTP(t, c, replies)
		}()
	}
}

// speakLMTP answers one client. Nobody may send a message: these are probes.
func speakLMTP(t *testing.T, c net.Conn, replies map[string]string) {
	fmt.Fprint(c, "220 lmtp.host.test LMTP\r\n")
	for in := bufio.NewScanner(c); in.Scan(); {
		verb, rest, _ := strings.Cut(in.Text(), " ")
		switch reply := "250 2.0.0 OK"; strings.ToUpper(verb) {
		case "LHLO":
			fmt.Fprint(c, "250-lmtp.host.test\r\n250 ENHANCEDSTATUSCODES\r\n")
		case "RCPT":
			_, address, _ := strings.Cut(rest, "<")
			address, _, _ = strings.Cut(address, ">")
			if known, ok := replies[address]; ok {
				reply = known
			} else {
				reply = replies["*"]
			}
			fmt.Fprintf(c, "%s\r\n", reply)
		case "DATA", "BDAT":
			t.Errorf("a probe began to send a message: %s", in.Text())
			return
		case "QUIT":
			fmt.Fprint(c, "221 2.0.0 Bye\r\n")
			return
		default:
			fmt.Fprintf(c, "%s\r\n", reply)
		}
	}
}
