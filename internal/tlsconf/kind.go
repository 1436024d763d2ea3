package tlsconf

import (
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"
)

// UnknownKeyError is a pair whose key crypto/tls cannot use, of whatever form it is:
// OpenSSL knows more kinds.
type UnknownKeyError struct {
	Kind string // "Ed448", "ECDSA secp256k1"
}

// Error names the kinds that there are.
func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("keys of the kind %s cannot be used here (RSA, Ed25519 and ECDSA with P-256, P-384 or P-521 can)", e.Kind)
}

// algorithms are the kinds of keys by the identifiers in certificates and in PKCS #8
// (RFC 8017, A.1; RFC 5480, 2.1.1; RFC 8410, 3; RFC 3279, 2.3.2).
var algorithms = [...]struct {
	id, name string
	known    bool // to crypto/tls
}{
	{"1.2.840.113549.1.1.1", "RSA", true},
	{"1.2.840.113549.1.1.10", "RSA-PSS", false},
	{ecdsa, "ECDSA", true}, // with the curves that it has
	{"1.3.101.112", "Ed25519", true},
	{"1.3.101.113", "Ed448", false},
	{"1.2.840.10040.4.1", "DSA", false},
}

const ecdsa = "1.2.840.10045.2.1"

// curves are those of ECDSA (RFC 5480, 2.1.1.1; SEC 2, A.2; RFC 5639, 4.1).
var curves = [...]struct {
	id, name string
	known    bool
}{
	{"1.2.840.10045.3.1.7", "P-256", true},
	{"1.3.132.0.34", "P-384", true},
	{"1.3.132.0.35", "P-521", true},
	{"1.3.132.0.33", "P-224", true}, // crypto/x509 reads it; no client asks for it
	{"1.3.132.0.10", "secp256k1", false},
	{"1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1", false},
	{"1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1", false},
	{"1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1", false},
}

// kind is what sort of key there is.
type kind struct {
	name, curve string // "ECDSA", "P-256"; the curve is empty for others
	known       bool   // crypto/tls can use it
}

func (k kind) String() string { return strings.TrimSpace(k.name + " " + k.curve) }

// identified is the kind that an algorithm identifier names. One that has no name here
// is called by its number.
func identified(a algorithm) kind {
	id := a.ID.String()
	k := kind{name: id}
	for _, alg := range algorithms {
		if alg.id == id {
			k.name, k.known = alg.name, alg.known
		}
	}
	if id == ecdsa {
		k.curve, k.known = curveOf(a.Parameters)
	}
	return k
}

// curveOf is the name of a curve, and whether it is known. One that is written out and
// not named has no name.
func curveOf(parameters asn1.RawValue) (string, bool) {
	var id asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(parameters.FullBytes, &id); err != nil {
		return "", false
	}
	for _, c := range curves {
		if c.id == id.String() {
			return c.name, c.known
		}
	}
	return id.String(), false
}

// algorithm is an AlgorithmIdentifier (RFC 5280, 4.1.1.2).
type algorithm struct {
	ID         asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

// kindOfCert is the kind of the key that a certificate is for (RFC 5280, 4.1).
// crypto/x509 gives up at curves that it does not have, so it is not asked.
func kindOfCert(der []byte) (kind, bool) {
	var cert struct {
		Body struct {
			Version                   asn1.RawValue `asn1:"optional,explicit,tag:0"`
			Serial, Signature, Issuer asn1.RawValue
			Validity, Subject         asn1.RawValue
			Key                       struct {
				Algorithm algorithm
				Bits      asn1.BitString
			}
		}
		Algorithm, Signature asn1.RawValue
	}
	if _, err := asn1.Unmarshal(der, &cert); err != nil {
		return kind{}, false
	}
	return identified(cert.Body.Key.Algorithm), true
}

// kindOfKey is the kind of a private key. The forms that are older than PKCS #8 are
// named in their label, which does not tell a curve.
func kindOfKey(block *pem.Block) (kind, bool) {
	if name, ok := strings.CutSuffix(block.Type, " PRIVATE KEY"); ok {
		if name == "EC" {
			name = "ECDSA"
		}
		return kind{name: name}, true
	}
	var key struct { // PrivateKeyInfo (RFC 5208, 5)
		Version   int
		Algorithm algorithm
		Key       []byte
	}
	if _, err := asn1.Unmarshal(block.Bytes, &key); err != nil {
		return kind{}, false
	}
	return identified(key.Algorithm), true
}

// kindOf is the kind of a pair, both in PEM. It is unknown only when certificate and
// key are both of a kind that crypto/tls does not have; what else is wrong with them is
// for crypto/tls to say. The kind is empty when no certificate can be read.
func kindOf(cert, key []byte) (k kind, known bool) {
	c, p := first(cert, func(b *pem.Block) bool { return b.Type == "CERTIFICATE" }), first(key, isKey)
	if c == nil {
		return kind{}, true
	}
	k, ok := kindOfCert(c.Bytes)
	if !ok || k.known || p == nil {
		return k, true
	}
	private, ok := kindOfKey(p)
	return k, !ok || private.name != k.name || private.curve != k.curve && private.curve != ""
}

// first is the first block of a PEM text that is wanted; nil: there is none.
func first(text []byte, wanted func(*pem.Block) bool) *pem.Block {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if wanted(block) {
			return block
		}
	}
	return nil
}
