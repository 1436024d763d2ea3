package tlsconf

import (
	"crypto"
	_ "crypto/md5"    // smtp_tls_fingerprint_digest = md5
	_ "crypto/sha1"   // sha1
	_ "crypto/sha256" // sha224, sha256
	_ "crypto/sha512" // sha384, sha512
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// hashes are the values of smtp_tls_fingerprint_digest.
var hashes = map[string]crypto.Hash{
	"md5": crypto.MD5, "sha1": crypto.SHA1, "sha224": crypto.SHA224, "sha256": crypto.SHA256,
	"sha384": crypto.SHA384, "sha512": crypto.SHA512,
}

// Fingerprints are digests of certificates, or of public keys, that are known.
type Fingerprints struct {
	hash  crypto.Hash
	known map[string]bool // digests, as octets
}

// ParseFingerprints reads fingerprints as smtp_tls_fingerprint_cert_match has
// them, hexadecimal digits in pairs with colons in between or without, in any
// case. digest is the value of smtp_tls_fingerprint_digest.
func ParseFingerprints(digest string, list []string) (*Fingerprints, error) {
	hash, ok := hashes[strings.ToLower(digest)]
	if !ok {
		return nil, fmt.Errorf("unknown digest %q", digest)
	}
	f := &Fingerprints{hash, make(map[string]bool)}
	for _, text := range list {
		sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
		if err != nil || len(sum) != hash.Size() {
			return nil, fmt.Errorf("%q is not a %s fingerprint: %d pairs of hexadecimal digits", text, strings.ToLower(digest), hash.Size())
		}
		f.known[string(sum)] = true
	}
	return f, nil
}

// Verify is for Client.Check: the server's certificate, or its public key, must
// be a known one. Names, dates and authorities do not count. An error is a
// *tls.CertificateVerificationError.
func (f *Fingerprints) Verify(state tls.ConnectionState) error {
	err := errors.New("no certificate")
	if len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		cert, key := f.sum(leaf.Raw), f.sum(leaf.RawSubjectPublicKeyInfo)
		if f.known[cert] || f.known[key] {
			return nil
		}
		err = fmt.Errorf("the fingerprint of the certificate, %X, and that of its key, %X, are not known", cert, key)
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
}

func (f *Fingerprints) sum(octets []byte) string {
	h := f.hash.New()
	h.Write(octets)
	return string(h.Sum(nil))
}
