package smtpc

import (
	"crypto/tls"
	"strings"
)

// TLS says whether and how a connection is to be encrypted.
type TLS struct {
	// Config is used for the handshake as it is: its VerifyConnection decides
	// between the levels encrypt, fingerprint, dane, verify and secure. nil: no
	// TLS (level none). Errors of VerifyConnection that are no
	// *tls.CertificateVerificationError count as a handshake that failed.
	Config *tls.Config
	// Required ends the conversation when there can be no TLS; else (level may)
	// it goes on in clear when the server does not offer STARTTLS or refuses it.
	// A handshake that fails ends it in any case.
	Required bool
	// Wrapper starts the handshake before the greeting (smtp_tls_wrappermode).
	Wrapper bool
	// Level is the name of the level, "may" or "dane", for logs.
	Level string
	// Trust says how far the server of a finished handshake is known, for logs
	// and for Server.Trust. nil: Untrusted.
	Trust func(tls.ConnectionState) Trust
}

// Trust is how far a server is known by its certificate.
type Trust uint8

// Degrees of trust.
const (
	Anonymous Trust = iota // it has no certificate, or nobody looked at it
	Untrusted              // the certificate leads to no authority that is trusted
	Trusted                // it does, but the name was not compared
	Verified               // the certificate is that of the server that was meant
)

// String is the word in the log: "Verified".
func (t Trust) String() string {
	return [...]string{"Anonymous", "Untrusted", "Trusted", "Verified"}[t]
}

// trust is how far the server is known.
func (c *Client) trust() Trust {
	switch {
	case c.tls == nil || len(c.tls.PeerCertificates) == 0:
		return Anonymous
	case c.o.TLS.Trust == nil:
		return Untrusted
	}
	return c.o.TLS.Trust(*c.tls)
}

// TLSSummary is the encryption of the connection in the words of the log
// (smtp_tls_loglevel); "" when there is none:
//
//	trust   "Verified"
//	session "TLSv1.3 with cipher TLS_AES_128_GCM_SHA256"
func (c *Client) TLSSummary() (trust Trust, session string) {
	if c.tls == nil {
		return Anonymous, ""
	}
	version := strings.Replace(tls.VersionName(c.tls.Version), "TLS 1.", "TLSv1.", 1)
	if version == "TLSv1.0" {
		version = "TLSv1"
	}
	return c.trust(), version + " with cipher " + tls.CipherSuiteName(c.tls.CipherSuite)
}
