package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"postern/internal/smtpc"
)

// Bounds for the iteration count that a server asks for: fewer make the password
// easy to guess for whoever plays the server (RFC 7677, 4), more would keep us busy.
const (
	minIterations = 4096
	maxIterations = 1_000_000
)

// scram is SCRAM without channel binding (RFC 5802).
type scram struct {
	name           string
	hash           func() hash.Hash
	user, password string
	nonce          string
	first          string // client-first-message-bare
	step           int    // challenges answered
	verifier       []byte // ServerSignature that is expected
	err            error
}

var _ smtpc.Mechanism = (*scram)(nil)

func newScram256(user, password string, _ smtpc.Server, nonce string) smtpc.Mechanism {
	return newScram("SCRAM-SHA-256", sha256.New, user, password, nonce)
}

func newScram1(user, password string, _ smtpc.Server, nonce string) smtpc.Mechanism {
	return newScram("SCRAM-SHA-1", sha1.New, user, password, nonce)
}

func newScram(name string, h func() hash.Hash, user, password, nonce string) *scram {
	m := &scram{name: name, hash: h, nonce: nonce}
	var bad1, bad2 error
	m.user, bad1 = prepare(user)
	m.password, bad2 = prepare(password)
	m.err = errors.Join(bad1, bad2)
	m.first = "n=" + scramName(m.user) + ",r=" + nonce
	return m
}

// nonce is a new random text.
func (c *Chooser) nonce() string {
	if c.Nonce != nil {
		return c.Nonce()
	}
	return rand.Text()
}

// scramName writes a user name as a saslname (RFC 5802, 5.1).
func scramName(user string) string {
	return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user)
}

const gs2Header = "n,," // no channel binding, no authorization identity

func (m *scram) Start() (string, []byte, error) {
	return m.name, []byte(gs2Header + m.first), m.fail(m.err)
}

func (m *scram) Next(challenge []byte) ([]byte, error) {
	m.step++
	switch m.step {
	case 1:
		response, err := m.prove(string(challenge))
		return response, m.fail(err)
	case 2:
		return []byte{}, m.fail(m.check(string(challenge)))
	}
	return nil, m.fail(errChallenge)
}

// Done fails unless the server has shown that it knows the password.
func (m *scram) Done() error {
	if m.step < 2 {
		return m.fail(errors.New("the server did not prove that it knows the password"))
	}
	return m.err
}

// fail names the mechanism, and remembers that the exchange failed.
func (m *scram) fail(err error) error {
	if err != nil {
		m.err = fmt.Errorf("%s: %w", m.name, err)
		return m.err
	}
	return nil
}

// prove answers the server's first message with the proof that we know the
// password (RFC 5802, 3).
func (m *scram) prove(challenge string) ([]byte, error) {
	nonce, salt, iterations, err := parseServerFirst(challenge)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(nonce, m.nonce) || len(nonce) == len(m.nonce) {
		return nil, errors.New("the nonce of the server does not extend ours")
	}
	salted, err := pbkdf2.Key(m.hash, m.password, salt, iterations, m.hash().Size())
	if err != nil {
		return nil, err
	}
	clientKey := m.mac(salted, "Client Key")
	stored := m.hash()
	stored.Write(clientKey)
	final := "c=" + base64.StdEncoding.EncodeToString([]byte(gs2Header)) + ",r=" + nonce
	message := m.first + "," + challenge + "," + final
	proof := m.mac(stored.Sum(nil), message)
	subtle.XORBytes(proof, proof, clientKey)
	m.verifier = m.mac(m.mac(salted, "Server Key"), message)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

func (m *scram) mac(key []byte, text string) []byte {
	h := hmac.New(m.hash, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// check looks at the server's last message: its signature, or an error.
func (m *scram) check(challenge string) error {
	first, _, _ := strings.Cut(challenge, ",")
	if reason, ok := strings.CutPrefix(first, "e="); ok {
		return fmt.Errorf("the server says %q", reason)
	}
	text, ok := strings.CutPrefix(first, "v=")
	signature, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil {
		return errors.New("malformed message of the server")
	}
	if !hmac.Equal(signature, m.verifier) {
		return errors.New("the server does not know the password: its signature is wrong")
	}
	return nil
}

// parseServerFirst reads r=nonce,s=salt,i=iterations and extensions behind them
// (RFC 5802, 7). One in front, "m=", is one that must be understood.
func parseServerFirst(text string) (nonce string, salt []byte, iterations int, err error) {
	bad := errors.New("malformed message of the server")
	parts := strings.Split(text, ",")
	if len(parts) < 3 || len(text) > 8<<10 {
		return "", nil, 0, bad
	}
	values := [3]string{}
	for i, name := range []string{"r=", "s=", "i="} {
		value, ok := strings.CutPrefix(parts[i], name)
		if !ok || value == "" {
			return "", nil, 0, bad
		}
		values[i] = value
	}
	salt, err = base64.StdEncoding.Strict().DecodeString(values[1])
	if err != nil || len(salt) == 0 || !printable(values[0]) {
		return "", nil, 0, bad
	}
	iterations, err = strconv.Atoi(values[2])
	if err != nil || values[2][0] == '+' {
		return "", nil, 0, bad
	}
	if iterations < minIterations || iterations > maxIterations {
		return "", nil, 0, fmt.Errorf("an iteration count of %d is not between %d and %d", iterations, minIterations, maxIterations)
	}
	return values[0], salt, iterations, nil
}

// printable reports whether a nonce has visible ASCII characters only.
func printable(nonce string) bool {
	for i := range len(nonce) {
		if nonce[i] <= ' ' || nonce[i] > '~' {
			return false
		}
	}
	return true
}
