package sasl

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"postern/internal/smtpc"
)

var (
	errChallenge = errors.New("the server asks for more than the mechanism has to say")
	errNUL       = errors.New("user name or password with a NUL octet")
)

// script is a mechanism that says the same whatever it is asked: an initial
// response, if it has one, and a response to each challenge.
type script struct {
	name    string
	initial []byte
	answers [][]byte
	err     error // why it cannot be used
}

var _ smtpc.Mechanism = (*script)(nil)

func (m *script) Start() (string, []byte, error) { return m.name, m.initial, m.err }

func (m *script) Next([]byte) ([]byte, error) {
	if len(m.answers) == 0 {
		return nil, fmt.Errorf("%s: %w", m.name, errChallenge)
	}
	answer := m.answers[0]
	m.answers = m.answers[1:]
	return answer, nil
}

func (m *script) Done() error { return nil }

// newPlain: RFC 4616, 2.
func newPlain(user, password string, _ smtpc.Server, _ string) smtpc.Mechanism {
	m := &script{name: "PLAIN", initial: []byte("\x00" + user + "\x00" + password)}
	if strings.IndexByte(user+password, 0) >= 0 {
		m.err = fmt.Errorf("PLAIN: %w", errNUL)
	}
	return m
}

// newLogin: what the server calls its questions varies, their order does not.
func newLogin(user, password string, _ smtpc.Server, _ string) smtpc.Mechanism {
	return &script{name: "LOGIN", answers: [][]byte{[]byte(user), []byte(password)}}
}

// newExternal: RFC 4422, appendix A. The user is whom we want to be; "" is what
// the certificate says.
func newExternal(user, _ string, _ smtpc.Server, _ string) smtpc.Mechanism {
	return &script{name: "EXTERNAL", initial: []byte(user)}
}

// newOAuthBearer: RFC 7628, 3.1. The reason of a refusal comes as a challenge,
// which is answered with one octet (RFC 7628, 3.2.3).
func newOAuthBearer(user, token string, _ smtpc.Server, _ string) smtpc.Mechanism {
	m := &script{name: "OAUTHBEARER", answers: [][]byte{{1}}}
	m.initial = []byte("n,a=" + scramName(user) + ",\x01auth=Bearer " + token + "\x01\x01")
	m.err = badToken(m.name, user, token)
	return m
}

// newXOAuth2 is what servers had before RFC 7628; a refusal is answered with
// nothing.
func newXOAuth2(user, token string, _ smtpc.Server, _ string) smtpc.Mechanism {
	m := &script{name: "XOAUTH2", answers: [][]byte{{}}}
	m.initial = []byte("user=" + user + "\x01auth=Bearer " + token + "\x01\x01")
	m.err = badToken(m.name, user, token)
	return m
}

// badToken is the error of what would be taken apart in the wrong places.
func badToken(name, user, token string) error {
	if strings.IndexByte(user+token, 1) >= 0 {
		return fmt.Errorf("%s: user name or token with a control character", name)
	}
	return nil
}

// cramMD5 is CRAM-MD5 (RFC 2195).
type cramMD5 struct {
	user, password string
	answered       bool
}

func newCramMD5(user, password string, _ smtpc.Server, _ string) smtpc.Mechanism {
	return &cramMD5{user: user, password: password}
}

func (m *cramMD5) Start() (string, []byte, error) { return "CRAM-MD5", nil, nil }

func (m *cramMD5) Next(challenge []byte) ([]byte, error) {
	if m.answered || len(challenge) == 0 {
		return nil, fmt.Errorf("CRAM-MD5: %w", errChallenge)
	}
	m.answered = true
	h := hmac.New(md5.New, []byte(m.password))
	h.Write(challenge)
	return []byte(m.user + " " + hex.EncodeToString(h.Sum(nil))), nil
}

// Done fails when the server is satisfied without having asked.
func (m *cramMD5) Done() error {
	if !m.answered {
		return errors.New("CRAM-MD5: the server did not ask for the password")
	}
	return nil
}
