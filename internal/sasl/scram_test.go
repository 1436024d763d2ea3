package sasl

import (
	"crypto/sha256"
	"strings"
	"testing"

	"postern/internal/smtpc"
)

// The examples of RFC 5802, 5 and RFC 7677, 3.
const (
	nonce1   = "fyko+d2lbbFgONRv9qkxdawL"
	nonce256 = "rOprNGfwEbeRWgbNEkqO"
	server1  = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
	server2  = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	final1   = "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="
	final2   = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func TestScramVectors(t *testing.T) {
	for _, test := range []struct {
		m             smtpc.Mechanism
		first, second string // of the server
		want          string
	}{
		{newScram1("user", "pencil", smtpc.Server{}, nonce1), server1, final1,
			"SCRAM-SHA-1|n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL|" +
				"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=|"},
		{newScram256("user", "pencil", smtpc.Server{}, nonce256), server2, final2,
			"SCRAM-SHA-256|n,,n=user,r=rOprNGfwEbeRWgbNEkqO|" +
				"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=|"},
	} {
		said, err := steps(test.m, test.first, test.second)
		if got := strings.Join(said, "|"); got != test.want || err != nil {
			t.Errorf("said %q, %v; want %q", got, err, test.want)
		}
	}
}

func TestScramRefuses(t *testing.T) {
	for _, test := range []struct {
		name       string
		challenges []string
		want       string // part of the error
	}{
		{"no challenge", nil, "did not prove"},
		{"success before the proof", []string{server2}, "did not prove"},
		{"wrong signature", []string{server2, final1}, "does not know the password"},
		{"no signature", []string{server2, "x"}, "malformed"},
		{"an error of the server", []string{server2, "e=invalid-proof"}, `the server says "invalid-proof"`},
		{"one challenge too many", []string{server2, final2, "x"}, "asks for more"},
		{"another nonce", []string{server1}, "does not extend ours"},
		{"our nonce again", []string{"r=" + nonce256 + ",s=QQ==,i=4096"}, "does not extend ours"},
		{"mandatory extension", []string{"m=x," + server2}, "malformed"},
		{"empty", []string{""}, "malformed"},
		{"two parts", []string{"r=a,s=QQ=="}, "malformed"},
		{"no salt", []string{"r=" + nonce256 + "x,s=,i=4096"}, "malformed"},
		{"bad salt", []string{"r=" + nonce256 + "x,s=!,i=4096"}, "malformed"},
		{"bad nonce", []string{"r=" + nonce256 + "\x01,s=QQ==,i=4096"}, "malformed"},
		{"no number", []string{"r=" + nonce256 + "x,s=QQ==,i=many"}, "malformed"},
		{"few iterations", []string{"r=" + nonce256 + "x,s=QQ==,i=1"}, "iteration count of 1"},
		{"endless", []string{"r=" + nonce256 + "x,s=QQ==,i=2000000000"}, "iteration count of 2000000000"},
		{"negative", []string{"r=" + nonce256 + "x,s=QQ==,i=-4096"}, "iteration count of -4096"},
		{"long", []string{"r=" + nonce256 + strings.Repeat("x", 9<<10) + ",s=QQ==,i=4096"}, "malformed"},
	} {
		m := newScram256("user", "pencil", smtpc.Server{}, nonce256)
		_, err := steps(m, test.challenges...)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "SCRAM-SHA-256: ") {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if m.Done() == nil {
			t.Errorf("%s: Done is satisfied", test.name)
		}
	}
}

func TestScramNames(t *testing.T) {
	m := newScram256("a,b=c", "p", smtpc.Server{}, "n")
	if _, initial, err := m.Start(); string(initial) != "n,,n=a=2Cb=3Dc,r=n" || err != nil {
		t.Errorf("initial response %q, %v", initial, err)
	}
	if _, _, err := newScram256("u", "p\x01", smtpc.Server{}, "n").Start(); err == nil {
		t.Error("a password with a control character is taken")
	}
	a, b := (&Chooser{}).nonce(), (&Chooser{}).nonce()
	if a == b || len(a) < 20 || !printable(a) || strings.Contains(a, ",") {
		t.Errorf("nonces %q, %q", a, b)
	}
}

// RFC 4013, 3.
func TestPrepare(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"I\u00adX", "IX"}, {"user", "user"}, {"USER", "USER"}, {"\u00aa", "a"}, {"\u2168", "IX"}, {"a\u00a0b", "a b"}, {"", ""},
	} {
		if got, err := prepare(test.in); got != test.want || err != nil {
			t.Errorf("prepare(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
	for _, bad := range []string{"\u0007", "\xff", "\ue000", "\ufffd"} {
		if got, err := prepare(bad); err == nil {
			t.Errorf("prepare(%q) = %q, want an error", bad, got)
		}
	}
}

// FuzzScram plays any server: it is never believed, unless it says what only one
// that knows the password can say.
func FuzzScram(f *testing.F) {
	f.Add(server2, final2)
	f.Add(server1, final1)
	f.Add("r="+nonce256+"x,s=QQ==,i=4096,x=y", "e=other-error")
	f.Add("m=,r=,s=,i=", "v=")
	f.Fuzz(func(t *testing.T, first, second string) {
		if nonce, salt, i, err := parseServerFirst(first); err == nil && (nonce == "" || len(salt) == 0 || i < minIterations || i > maxIterations) {
			t.Fatalf("parseServerFirst(%q) = %q, %q, %d", first, nonce, salt, i)
		}
		m := newScram("SCRAM-SHA-256", sha256.New, "user", "pencil", nonce256)
		if _, _, i, err := parseServerFirst(first); err == nil && i > minIterations {
			return // too much work for a test
		}
		if _, err := steps(m, first, second); err == nil && (first != server2 || !strings.HasPrefix(second, final2)) {
			t.Errorf("believed %q, %q", first, second)
		}
	})
}
