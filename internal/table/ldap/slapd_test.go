package ldap_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

const (
	suffix  = "dc=example,dc=test"
	rootDN  = "cn=admin," + suffix
	rootPW  = "secret"
	slapdCf = `
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
attributetype ( 1.3.6.1.4.1.4203.666.9901.1 NAME 'postKey' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
attributetype ( 1.3.6.1.4.1.4203.666.9901.2 NAME 'postValue' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
attributetype ( 1.3.6.1.4.1.4203.666.9901.3 NAME 'maildrop' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.4203.666.9901.4 NAME 'postDN' EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.3.6.1.4.1.4203.666.9901.5 NAME 'postURL' EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.4203.666.9902.1 NAME 'post' SUP top STRUCTURAL MUST cn MAY ( postKey $ postValue $ maildrop $ postDN $ postURL $ mail $ description ) )
TLSCACertificateFile {dir}/cert.pem
TLSCertificateFile {dir}/cert.pem
TLSCertificateKeyFile {dir}/key.pem
authz-regexp "gidNumber=.*,cn=peercred,cn=external,cn=auth" "cn=admin,dc=example,dc=test"
database mdb
suffix "dc=example,dc=test"
rootdn "cn=admin,dc=example,dc=test"
rootpw secret
directory {dir}/db
dbnosync
maxsize 67108864
access to dn.subtree="ou=hidden,dc=example,dc=test" by users read by anonymous auth
access to * by * read
`
	slapdLDIF = `
dn: dc=example,dc=test
objectClass: dcObject
objectClass: organization
dc: example
o: test

`
)

// slapd is a directory server with a directory of its own.
type slapd struct {
	dir, address, socket string
	tlsAddress           string
	cmd                  *exec.Cmd
	output               bytes.Buffer
	admin                *goldap.Conn
	mu                   sync.Mutex // guards next
	next                 int
}

var shared struct {
	once   sync.Once
	server *slapd
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if s := shared.server; s != nil {
		s.stop()
		os.RemoveAll(s.dir)
	}
	os.Exit(code)
}

// directory is the server that most tests share. Without slapd the test is
// skipped, but fails where CI is true.
func directory(t testing.TB) *slapd {
	t.Helper()
	program := find(t, "slapd")
	shared.once.Do(func() {
		dir, err := os.MkdirTemp("", "slapd")
		if err != nil {
			shared.err = err
			return
		}
		shared.server, shared.err = newSlapd(program, dir)
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

func find(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// newSlapd prepares dir and starts a server in it.
func newSlapd(program, dir string) (*slapd, error) {
	s := &slapd{dir: dir, address: freePort(), tlsAddress: freePort(), socket: dir + "/ldapi"}
	if err := os.Mkdir(dir+"/db", 0o700); err != nil {
		return nil, err
	}
	if err := certificate(dir); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"slapd.conf": slapdCf, "base.ldif": slapdLDIF} {
		text = strings.ReplaceAll(text, "{dir}", dir)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	add := exec.Command(program, "-T", "add", "-f", dir+"/slapd.conf", "-l", dir+"/base.ldif")
	if out, err := add.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("slapadd: %w\n%s", err, out)
	}
	return s, s.start(program)
}

func freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs the server until stop.
func (s *slapd) start(program string) error {
	urls := fmt.Sprintf("ldap://%s ldaps://%s ldapi://%s", s.address, s.tlsAddress, url.QueryEscape(s.socket))
	s.cmd = exec.Command(program, "-d", "0", "-f", s.dir+"/slapd.conf", "-h", urls)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	var err error
	for range 200 {
		if s.admin, err = goldap.DialURL("ldap://" + s.address); err == nil {
			return s.admin.Bind(rootDN, rootPW)
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.stop()
	return fmt.Errorf("slapd does not start: %w\n%s", err, &s.output)
}

func (s *slapd) stop() {
	if s.admin != nil {
		s.admin.Close()
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// branch makes a new node for the entries of a test, and returns its name.
func (s *slapd) branch(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	s.next++
	dn := fmt.Sprintf("ou=b%d,%s", s.next, suffix)
	s.mu.Unlock()
	s.add(t, dn, "objectClass", "organizationalUnit")
	return dn
}

// add makes an entry of pairs of a name and a value.
func (s *slapd) add(t testing.TB, dn string, pairs ...string) {
	t.Helper()
	request := goldap.NewAddRequest(dn, nil)
	for i := 0; i < len(pairs); i += 2 {
		n := len(request.Attributes)
		if n > 0 && request.Attributes[n-1].Type == pairs[i] {
			request.Attributes[n-1].Vals = append(request.Attributes[n-1].Vals, pairs[i+1])
			continue
		}
		request.Attribute(pairs[i], []string{pairs[i+1]})
	}
	if err := s.admin.Add(request); err != nil {
		t.Fatalf("add %s: %v", dn, err)
	}
}

// certificate writes a certificate for localhost, signed by itself.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
