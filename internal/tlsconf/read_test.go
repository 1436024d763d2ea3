package tlsconf_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"postern/internal/tlsconf"
	"postern/internal/tlsconf/tlstest"
)

// labelled is a text with another label on its blocks.
func labelled(text []byte, from, to string) []byte {
	return bytes.ReplaceAll(text, []byte(from+"-----"), []byte(to+"-----"))
}

// A chain is read as Postfix 3.7 reads it, and the older parameters too.
func TestToleratedForms(t *testing.T) {
	cert, key := tlstest.New(t).Issue(t, "mail.test")
	mark := []byte("\ufeff")
	dh := pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: []byte("x")})
	old := labelled(cert, "CERTIFICATE", "X509 CERTIFICATE")
	path := files(t, map[string][]byte{
		"key": key, "cert": cert, "empty": nil, "dh": dh, "old": old, "marked": slices.Concat(mark, key, mark, cert), "dhmid": slices.Concat(key, dh, cert),
		"markedold": slices.Concat(mark, old), "trusted": labelled(cert, "CERTIFICATE", "TRUSTED CERTIFICATE"), "password": labelled(key, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
	})
	for _, test := range []struct{ chain, want string }{
		{"key cert empty", ""}, {"key empty cert", ""}, {"empty key cert", ""}, {"key cert dh", ""}, {"dh key cert", ""}, {"dhmid", ""},
		{"key old", ""}, {"marked", ""}, {"key markedold", ""},
		{"empty", "no key and certificate found"}, {"empty dh", "no key and certificate found"},
		{"dh cert", path("cert") + ": a certificate without a key in front of it"},
		{"key trusted", path("key") + ": a key without a certificate behind it"},
		{"password", path("password") + ": no key and certificate found"},
		{"password cert", path("cert") + ": a certificate without a key in front of it"},
	} {
		var list []string
		for _, name := range strings.Fields(test.chain) {
			list = append(list, path(name))
		}
		certs, err := tlsconf.Server{ChainFiles: list}.Certificates()
		if !hasError(err, test.want) || err == nil && (len(certs) != 1 || len(certs[0].Certificate) != 1) {
			t.Errorf("%s: %d certificates, %v; want %q", test.chain, len(certs), err, test.want)
		}
	}
	for _, name := range []string{"old", "markedold", "marked"} {
		p := tlsconf.Pair{Parameter: "smtpd_tls_cert_file", Cert: path(name), Key: path("key")}
		if certs, err := (tlsconf.Server{Pairs: []tlsconf.Pair{p}}).Certificates(); err != nil || len(certs) != 1 {
			t.Errorf("pair with %s: %v", name, err)
		}
	}
	if _, err := tlsconf.Roots(nil, "smtp_", path("markedold"), "", false); err != nil {
		t.Errorf("authorities: %v", err)
	}
	if _, err := tlsconf.ReadAnchors(nil, "tafile", path("markedold")); err != nil {
		t.Errorf("anchors: %v", err)
	}
}

// A key of a kind that crypto/tls does not have is left out while there is another.
func TestUnknownKeys(t *testing.T) {
	cert, key := tlstest.New(t).Issue(t, "mail.test")
	known := slices.Concat(key, cert)
	for _, test := range []struct{ name, kind, shown string }{
		{"ed448", "Ed448", "Ed448"}, {"rsa-pss", "RSA-PSS", "RSA-PSS"}, {"dsa", "DSA", "DSA"},
		{"brainpool", "ECDSA", "ECDSA brainpoolP256r1"}, {"brainpool-explicit", "ECDSA", "ECDSA"}, {"secp256k1", "ECDSA", "ECDSA secp256k1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			unknown := tlstest.Unknown(t, test.name)
			path := files(t, map[string][]byte{"known": known, "unknown": unknown,
				"mixed": slices.Concat(key, unknown[bytes.Index(unknown, []byte("-----BEGIN CERT")):])})
			for what, server := range map[string]tlsconf.Server{
				"chain, last":  {ChainFiles: []string{path("known"), path("unknown")}},
				"chain, first": {ChainFiles: []string{path("unknown"), path("known")}},
				"pairs":        {Pairs: []tlsconf.Pair{{Parameter: "smtpd_tls_cert_file", Cert: path("unknown")}, {Parameter: "smtpd_tls_eccert_file", Cert: path("known")}}},
			} {
				var log warnings
				server.Log = &log
				certs, err := server.Certificates()
				if err != nil || len(certs) != 1 || certs[0].PrivateKey == nil {
					t.Errorf("%s: %d certificates, %v", what, len(certs), err)
				}
				if want := path("unknown") + ": keys of the kind " + test.shown + " cannot be used here"; len(log) != 1 || !strings.Contains(log[0], want) || !strings.Contains(log[0], "left out") {
					t.Errorf("%s: warnings %q, want %q", what, log, want)
				}
				list, err := server.Read()
				if err != nil || len(list) != 2 {
					t.Fatalf("%s: %d read, %v", what, len(list), err)
				}
				for _, l := range list {
					e, out := errors.AsType[*tlsconf.UnknownKeyError](l.Err)
					if l.File == path("unknown") != out || out && (e.Kind != test.shown || l.Kind != test.kind) || !out && l.Kind != "ECDSA" {
						t.Errorf("%s: read %s of %s, %v", what, l.Kind, l.File, l.Err)
					}
				}
			}
			_, err := tlsconf.Server{ChainFiles: []string{path("unknown")}}.Config()
			if _, ok := errors.AsType[*tlsconf.UnknownKeyError](err); !ok || !hasError(err, "smtpd_tls_chain_files: "+path("unknown")) {
				t.Errorf("alone: %v", err)
			}
			if test.kind == "ECDSA" {
				return // a key of another curve
			}
			if _, err := (tlsconf.Server{ChainFiles: []string{path("known"), path("mixed")}}).Config(); err == nil {
				t.Error("a certificate with a key of another kind is left out, though Postfix would stop there")
			}
		})
	}
}

// Only kinds that are unknown are left out: what is broken is an error.
func TestBrokenIsNotUnknown(t *testing.T) {
	cert, key := tlstest.New(t).Issue(t, "mail.test")
	ed448 := tlstest.Unknown(t, "ed448")
	block := func(label, text string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: []byte(text)})
	}
	certificate := ed448[bytes.Index(ed448, []byte("-----BEGIN CERT")):]
	for what, text := range map[string][]byte{
		"key":         slices.Concat(block("PRIVATE KEY", "x"), certificate),
		"certificate": slices.Concat(key, block("CERTIFICATE", "x")),
		"label":       slices.Concat(block("RSA PRIVATE KEY", "x"), cert),
	} {
		path := files(t, map[string][]byte{"good": slices.Concat(key, cert), "bad": text})
		_, err := tlsconf.Server{ChainFiles: []string{path("good"), path("bad")}}.Config()
		if _, ok := errors.AsType[*tlsconf.UnknownKeyError](err); ok || !hasError(err, path("bad")) {
			t.Errorf("broken %s: %v", what, err)
		}
	}
}

// The kinds of usable keys are told, too.
func TestKinds(t *testing.T) {
	cert, key := tlstest.New(t).Issue(t, "mail.test")
	path := files(t, map[string][]byte{"all": slices.Concat(key, cert, key, cert)})("all")
	list, err := tlsconf.Server{ChainFiles: []string{path}}.Read()
	if err != nil || len(list) != 2 || list[0].Kind != "ECDSA" || list[1].Kind != "ECDSA" || list[1].File != path || list[1].Parameter != "smtpd_tls_chain_files" {
		t.Errorf("read %v, %v", list, err)
	}
}

func FuzzChain(f *testing.F) {
	for _, kind := range []string{"ed448", "brainpool", "brainpool-explicit", "secp256k1", "dsa"} {
		f.Add(tlstest.Unknown(f, kind))
	}
	cert, key := tlstest.New(f).Issue(f, "mail.test")
	f.Add(slices.Concat(key, cert))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		read := func(string) ([]byte, error) { return text, nil }
		list, err := tlsconf.Server{ChainFiles: []string{"chain"}, ReadFile: read}.Read()
		if (err == nil) != slices.ContainsFunc(list, func(l tlsconf.Loaded) bool { return l.Err == nil && l.PrivateKey != nil }) {
			t.Errorf("read %v, %v", list, err)
		}
	})
}
