package tlsconf_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/tlsconf"
	"postern/internal/tlsconf/tlstest"
)

func TestParseProtocols(t *testing.T) {
	for _, test := range []struct {
		list            string
		lowest, highest uint16
		err             string
	}{
		{"", tls.VersionTLS10, tls.VersionTLS13, ""},
		{">=TLSv1", tls.VersionTLS10, tls.VersionTLS13, ""},
		{">=TLSv1.2", tls.VersionTLS12, tls.VersionTLS13, ""},
		{">=tlsv1.2, <=TLSv1.2", tls.VersionTLS12, tls.VersionTLS12, ""},
		{"!SSLv2, !SSLv3", tls.VersionTLS10, tls.VersionTLS13, ""},
		{"!SSLv2,!SSLv3,!TLSv1,!TLSv1.1", tls.VersionTLS12, tls.VersionTLS13, ""},
		{"!TLSv1.3", tls.VersionTLS10, tls.VersionTLS12, ""},
		{"TLSv1.2 TLSv1.3", tls.VersionTLS12, tls.VersionTLS13, ""},
		{"TLSv1.2:TLSv1.3", tls.VersionTLS12, tls.VersionTLS13, ""},
		{"SSLv3, TLSv1", tls.VersionTLS10, tls.VersionTLS10, ""},
		{"!TLSv1.1", 0, 0, "leave a gap below TLSv1.2"},
		{"TLSv1 TLSv1.3", 0, 0, "leave a gap below TLSv1.3"},
		{"SSLv3", 0, 0, "leave none"},
		{">=TLSv1.3 <=TLSv1.2", 0, 0, "leave none"},
		{"TLSv1.4", 0, 0, `unknown protocol "TLSv1.4"`},
		{"!", 0, 0, `unknown protocol ""`},
	} {
		lowest, highest, err := tlsconf.ParseProtocols(test.list)
		if lowest != test.lowest || highest != test.highest || !hasError(err, test.err) {
			t.Errorf("ParseProtocols(%q) = %x, %x, %v; want %x, %x, %q", test.list, lowest, highest, err, test.lowest, test.highest, test.err)
		}
	}
}

func hasError(err error, text string) bool {
	if text == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), text)
}

func FuzzParseProtocols(f *testing.F) {
	for _, list := range []string{"", ">=TLSv1.2", "!SSLv2,!SSLv3", "TLSv1.2 TLSv1.3", "<=TLSv1.1"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		lowest, highest, err := tlsconf.ParseProtocols(list)
		if err == nil && (lowest < tls.VersionTLS10 || highest > tls.VersionTLS13 || lowest > highest) {
			t.Errorf("ParseProtocols(%q) = %x, %x", list, lowest, highest)
		}
	})
}

func TestSuites(t *testing.T) {
	const (
		gcm  = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
		kRSA = tls.TLS_RSA_WITH_AES_128_CBC_SHA
		des  = tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA
		rc4  = tls.TLS_RSA_WITH_RC4_128_SHA
		ec   = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
		cha  = tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
	)
	for _, test := range []struct {
		grade, exclude string
		in, out        []uint16
		err            string
	}{
		{"high", "", []uint16{gcm, ec, cha}, []uint16{kRSA, des, rc4}, ""},
		{"medium", "", []uint16{gcm, kRSA}, []uint16{des, rc4}, ""},
		{"LOW", "", []uint16{gcm, kRSA, des}, []uint16{rc4}, ""},
		{"export", "3DES", []uint16{gcm, kRSA}, []uint16{des, rc4}, ""},
		{"medium", "aNULL, kRSA", []uint16{gcm, ec}, []uint16{kRSA}, ""},
		{"medium", "aRSA", []uint16{ec}, []uint16{gcm, kRSA}, ""},
		{"medium", "aECDSA:CHACHA20", []uint16{gcm}, []uint16{ec, cha}, ""},
		{"medium", "AES128", []uint16{ec, cha}, []uint16{gcm, kRSA}, ""},
		{"medium", "SHA1", []uint16{gcm}, []uint16{kRSA}, ""},
		{"high", "kECDHE RSA", nil, nil, ""},
		{"null", "", nil, nil, `unknown cipher grade "null"`},
		{"", "", nil, nil, `unknown cipher grade ""`},
		{"high", "AES CHACHA20", nil, nil, "leaves no cipher"},
	} {
		ids, err := tlsconf.Suites(test.grade, test.exclude)
		if !hasError(err, test.err) {
			t.Errorf("Suites(%q, %q): error %v, want %q", test.grade, test.exclude, err, test.err)
		}
		for _, id := range test.in {
			if !slices.Contains(ids, id) {
				t.Errorf("Suites(%q, %q) lacks %s", test.grade, test.exclude, tls.CipherSuiteName(id))
			}
		}
		for _, id := range test.out {
			if slices.Contains(ids, id) {
				t.Errorf("Suites(%q, %q) has %s", test.grade, test.exclude, tls.CipherSuiteName(id))
			}
		}
	}
}

// talk makes a handshake over a loopback connection.
func talk(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			s := tls.Server(conn, server)
			if err = s.Handshake(); err == nil {
				_, err = io.WriteString(s, "x")
			}
		}
		served <- err
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		<-served
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("read: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("server: %v", err)
	}
	return conn.ConnectionState(), nil
}

// files writes files into a new folder and returns a function that gives their
// paths.
func files(t *testing.T, texts map[string][]byte) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) string { return filepath.Join(dir, name) }
}

func TestServerErrors(t *testing.T) {
	ca := tlstest.New(t)
	cert, key := ca.Issue(t, "mail.test")
	_, other := ca.Issue(t, "mail.test")
	path := files(t, map[string][]byte{
		"cert": cert, "key": key, "other": other, "text": []byte("hello"), "ca": ca.PEM,
		"chain": slices.Concat(key, cert, ca.PEM), "wrong": slices.Concat(other, cert), "keys": slices.Concat(key, other), "late": slices.Concat(cert, key),
	})
	pair := func(cert, key string) []tlsconf.Pair {
		p := tlsconf.Pair{Parameter: "smtpd_tls_cert_file", Cert: path(cert)}
		if key != "" {
			p.Key = path(key)
		}
		return []tlsconf.Pair{p}
	}
	for _, test := range []struct {
		name   string
		server tlsconf.Server
		want   string
	}{
		{"pair", tlsconf.Server{Pairs: pair("cert", "key")}, ""},
		{"one file", tlsconf.Server{Pairs: pair("chain", "")}, ""},
		{"chain", tlsconf.Server{ChainFiles: []string{path("chain")}}, ""},
		{"chain over files", tlsconf.Server{ChainFiles: []string{path("key"), path("cert"), path("ca"), path("chain")}}, ""},
		{"key at the end", tlsconf.Server{ChainFiles: []string{path("chain"), path("key")}}, path("key") + ": a key without a certificate behind it"},
		{"keys in files", tlsconf.Server{ChainFiles: []string{path("other"), path("key"), path("cert")}}, path("other") + ": a key without a certificate behind it"},
		{"other key in front", tlsconf.Server{ChainFiles: []string{path("other"), path("cert")}}, path("cert") + ": tls: private key does not match"},
		{"text between", tlsconf.Server{ChainFiles: []string{path("key"), path("text"), path("cert")}}, ""},
		{"two of text", tlsconf.Server{ChainFiles: []string{path("text"), path("text")}}, path("text") + ", " + path("text") + ": no key and certificate found"},
		{"none", tlsconf.Server{}, "no server certs available"},
		{"empty pair", tlsconf.Server{Pairs: []tlsconf.Pair{{}}}, "no server certs available"},
		{"missing cert", tlsconf.Server{Pairs: pair("gone", "key")}, "smtpd_tls_cert_file: " + path("gone") + ": no such file"},
		{"missing key", tlsconf.Server{Pairs: pair("cert", "gone")}, "key of smtpd_tls_cert_file: " + path("gone") + ": no such file"},
		{"other key", tlsconf.Server{Pairs: pair("cert", "other")}, "smtpd_tls_cert_file: " + path("cert") + ": tls: private key does not match"},
		{"no PEM", tlsconf.Server{Pairs: pair("text", "key")}, "smtpd_tls_cert_file: " + path("text")},
		{"missing chain", tlsconf.Server{ChainFiles: []string{path("gone")}}, "smtpd_tls_chain_files: " + path("gone") + ": no such file"},
		{"chain of text", tlsconf.Server{ChainFiles: []string{path("text")}}, path("text") + ": no key and certificate found"},
		{"chain of keys", tlsconf.Server{ChainFiles: []string{path("keys")}}, path("keys") + ": a key without a certificate behind it"},
		{"key behind", tlsconf.Server{ChainFiles: []string{path("late")}}, path("late") + ": a certificate without a key in front of it"},
		{"chain with other key", tlsconf.Server{ChainFiles: []string{path("wrong")}}, path("wrong") + ": tls: private key does not match"},
		{"protocols", tlsconf.Server{Pairs: pair("cert", "key"), Protocols: "SSLv3"}, "smtpd_tls_protocols: "},
		{"ciphers", tlsconf.Server{Pairs: pair("cert", "key"), Ciphers: "best"}, "smtpd_tls_ciphers: "},
	} {
		config, err := test.server.Config()
		if !hasError(err, test.want) || (config == nil) != (err != nil) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
	if _, err := (tlsconf.Server{}).Config(); !errors.Is(err, tlsconf.ErrNoCertificates) {
		t.Errorf("error %v does not wrap ErrNoCertificates", err)
	}
}

type warnings []string

func (w *warnings) Warningf(format string, args ...any) {
	*w = append(*w, fmt.Sprintf(format, args...))
}

func TestServerReadsChangedFiles(t *testing.T) {
	ca := tlstest.New(t)
	chain := func(name string) []byte {
		cert, key := ca.Issue(t, name)
		return slices.Concat(key, cert)
	}
	path := files(t, map[string][]byte{"chain": chain("one.test")})("chain")
	now := time.Unix(1e9, 0)
	var log warnings
	config, err := tlsconf.Server{ChainFiles: []string{path}, Now: func() time.Time { return now }, Log: &log}.Config()
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		state, err := talk(t, config, &tls.Config{RootCAs: ca.Pool, ServerName: want})
		if err != nil {
			t.Errorf("want a certificate for %s: %v", want, err)
		} else if got := state.PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("certificate for %s, want %s", got, want)
		}
	}
	change := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		// Whatever the clock of the file system can tell apart:
		later := now.Add(time.Hour)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
	}
	expect("one.test")
	change(chain("two.test"))
	expect("one.test") // within the same second
	now = now.Add(time.Second)
	expect("two.test")
	now = now.Add(time.Second)
	change([]byte("half a file"))
	expect("two.test")
	now = now.Add(time.Second)
	expect("two.test")
	expect("two.test")
	if len(log) != 1 || !strings.Contains(log[0], "smtpd_tls_chain_files: "+path+": no key and certificate found") {
		t.Errorf("warnings %q, want one that names the file", log)
	}
	now = now.Add(time.Second)
	change(chain("three.test"))
	now = now.Add(time.Second)
	expect("three.test")
}

func TestServerChoosesCertificate(t *testing.T) {
	ca := tlstest.New(t)
	var all []byte
	for _, name := range []string{"one.test", "two.test"} {
		cert, key := ca.Issue(t, name)
		all = slices.Concat(all, key, cert)
	}
	config, err := tlsconf.Server{ChainFiles: []string{files(t, map[string][]byte{"chain": all})("chain")}}.Config()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one.test", "two.test"} {
		if _, err := talk(t, config, &tls.Config{RootCAs: ca.Pool, ServerName: name}); err != nil {
			t.Errorf("client that wants %s: %v", name, err)
		}
	}
	// A name that no certificate has gets the first.
	state, err := talk(t, config, &tls.Config{ServerName: "other.test", InsecureSkipVerify: true})
	if err != nil || state.PeerCertificates[0].DNSNames[0] != "one.test" {
		t.Errorf("client that wants another name: %v", err)
	}
}

func TestClientLevels(t *testing.T) {
	ca, stranger := tlstest.New(t), tlstest.New(t)
	path := files(t, map[string][]byte{"ca": ca.PEM, "stranger": stranger.PEM, "text": []byte("x")})
	roots := func(file, directory string, system bool) *x509.CertPool {
		t.Helper()
		pool, err := tlsconf.Roots(nil, "smtp_", file, directory, system)
		if err != nil {
			t.Fatal(err)
		}
		return pool
	}
	good := roots(path("ca"), "", false)
	server := ca.Config(t, "mx.example.test", "127.0.0.1")
	for _, test := range []struct {
		name   string
		client tlsconf.Client
		want   string // of the handshake
	}{
		{"may", tlsconf.Client{Level: tlsconf.May, Host: "mx.example.test"}, ""},
		{"encrypt", tlsconf.Client{Level: tlsconf.Encrypt, Host: "127.0.0.1"}, ""},
		{"verify", tlsconf.Client{Level: tlsconf.Verify, Roots: good, Names: []string{"mx.example.test"}}, ""},
		{"verify address", tlsconf.Client{Level: tlsconf.Verify, Roots: good, Names: []string{"127.0.0.1"}}, ""},
		{"verify other name", tlsconf.Client{Level: tlsconf.Verify, Roots: good, Names: []string{"other.test"}}, "none of the names"},
		{"verify without names", tlsconf.Client{Level: tlsconf.Verify, Roots: good}, "none of the names"},
		{"verify other CA", tlsconf.Client{Level: tlsconf.Verify, Roots: roots(path("stranger"), "", false), Names: []string{"mx.example.test"}}, "unknown authority"},
		{"verify by nobody", tlsconf.Client{Level: tlsconf.Verify, Roots: roots("", "", false), Names: []string{"mx.example.test"}}, "unknown authority"},
		{"verify by system", tlsconf.Client{Level: tlsconf.Verify, Names: []string{"mx.example.test"}}, "unknown authority"},
		{"secure second name", tlsconf.Client{Level: tlsconf.Secure, Roots: good, Names: []string{"example.test", ".example.test"}}, ""},
		{"secure parent only", tlsconf.Client{Level: tlsconf.Secure, Roots: good, Names: []string{"example.test"}}, "none of the names"},
		{"secure dot only", tlsconf.Client{Level: tlsconf.Secure, Roots: good, Names: []string{".mx.example.test"}}, "none of the names"},
		{"CA path", tlsconf.Client{Level: tlsconf.Verify, Roots: roots("", filepath.Dir(path("ca")), false), Names: []string{"mx.example.test"}}, ""},
		{"with the system's", tlsconf.Client{Level: tlsconf.Verify, Roots: roots(path("ca"), "", true), Names: []string{"mx.example.test"}}, ""},
	} {
		config, err := test.client.Config()
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		_, err = talk(t, server, config)
		if !hasError(err, test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok != (test.want != "") {
			t.Errorf("%s: %T is of the wrong class", test.name, err)
		}
	}
}

func TestClientErrors(t *testing.T) {
	path := files(t, map[string][]byte{"text": []byte("x")})
	for _, test := range []struct {
		client tlsconf.Client
		want   string
	}{
		{tlsconf.Client{Level: tlsconf.May, Protocols: "x"}, "smtp_tls_protocols: "},
		{tlsconf.Client{Level: tlsconf.May, Ciphers: "x"}, "smtp_tls_ciphers: "},
	} {
		if _, err := test.client.Config(); !hasError(err, test.want) {
			t.Errorf("%+v: error %v, want %q", test.client, err, test.want)
		}
	}
	for _, test := range []struct{ file, directory, want string }{
		{path("gone"), "", "smtp_tls_CAfile: " + path("gone") + ": no such file"},
		{path("text"), "", "smtp_tls_CAfile: " + path("text") + ": no certificates found"},
		{"", path("gone"), "smtp_tls_CApath: " + path("gone") + ": no such file"},
	} {
		if _, err := tlsconf.Roots(nil, "smtp_", test.file, test.directory, false); !hasError(err, test.want) {
			t.Errorf("Roots(%q, %q): error %v, want %q", test.file, test.directory, err, test.want)
		}
	}
	if config, err := (tlsconf.Client{}).Config(); config != nil || err != nil {
		t.Errorf("level none: %v, %v", config, err)
	}
}

func TestParseLevel(t *testing.T) {
	for name, want := range map[string]tlsconf.Level{
		"": tlsconf.None, "none": tlsconf.None, "may": tlsconf.May, "Encrypt": tlsconf.Encrypt, "verify": tlsconf.Verify, "secure": tlsconf.Secure,
		"dane": tlsconf.Dane, "DANE-only": tlsconf.DaneOnly, "fingerprint": tlsconf.Fingerprint,
	} {
		if got, err := tlsconf.ParseLevel(name); got != want || err != nil {
			t.Errorf("ParseLevel(%q) = %v, %v; want %v", name, got, err, want)
		}
		if want.Required() != (want >= tlsconf.Encrypt) {
			t.Errorf("%v.Required() = %v", want, want.Required())
		}
	}
	if _, err := tlsconf.ParseLevel("danish"); !hasError(err, `unknown TLS security level "danish"`) {
		t.Errorf("error %v", err)
	}
}
