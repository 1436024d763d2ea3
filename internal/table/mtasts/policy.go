package mtasts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// mode is what a policy wants of senders (RFC 8461, 5).
type mode string

const (
	modeEnforce mode = "enforce"
	modeTesting mode = "testing"
	modeNone    mode = "none"
)

const (
	maxPolicy   = 64 << 10 // octets of a policy (RFC 8461, 3.3)
	maxPatterns = 1000
	maxMaxAge   = 31557600 // seconds (RFC 8461, 3.2)
)

// policy is the text of a policy file, read.
type policy struct {
	mode   mode
	mx     []string // host names, or "*." and a domain; in lower case
	maxAge time.Duration
}

// parsePolicy reads a policy (RFC 8461, 3.2): "name: value" lines that end with LF
// or CR LF. Of a field that comes twice the first counts, mx excepted. Fields
// that are not known are passed over.
func parsePolicy(text string) (policy, error) {
	p := policy{maxAge: -1}
	seen := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.Trim(strings.TrimSuffix(line, "\r"), " \t")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimRight(name, " \t"), strings.TrimLeft(value, " \t")
		if !ok || name == "" {
			return policy{}, fmt.Errorf("line %.80q is not \"name: value\"", line)
		}
		if seen[name] && name != "mx" {
			continue
		}
		seen[name] = true
		if err := p.field(name, value); err != nil {
			return policy{}, err
		}
	}
	switch {
	case !seen["version"]:
		return policy{}, errors.New("no version")
	case p.mode == "":
		return policy{}, errors.New("no mode")
	case p.maxAge < 0:
		return policy{}, errors.New("no max_age")
	case len(p.mx) == 0 && p.mode != modeNone:
		return policy{}, errors.New("no mx")
	}
	return p, nil
}

// field takes one field.
func (p *policy) field(name, value string) error {
	switch name {
	case "version":
		if value != "STSv1" {
			return fmt.Errorf("unknown version %.80q", value)
		}
	case "mode":
		p.mode = mode(value)
		if p.mode != modeEnforce && p.mode != modeTesting && p.mode != modeNone {
			return fmt.Errorf("unknown mode %.80q", value)
		}
	case "max_age":
		n, err := strconv.ParseUint(value, 10, 40)
		if err != nil || len(value) > 10 {
			return fmt.Errorf("max_age %.80q is not a number of seconds", value)
		}
		p.maxAge = time.Duration(min(n, maxMaxAge)) * time.Second
	case "mx":
		pattern := strings.ToLower(strings.TrimSuffix(value, "."))
		if !validDomain(strings.TrimPrefix(pattern, "*.")) {
			return fmt.Errorf("mx %.80q is neither a host name nor a wildcard", value)
		}
		if len(p.mx) == maxPatterns {
			return fmt.Errorf("more than %d mx", maxPatterns)
		}
		p.mx = append(p.mx, pattern)
	}
	return nil
}

// value is the policy as an entry of a TLS policy table.
func (p policy) value() string {
	names := make([]string, len(p.mx))
	for i, pattern := range p.mx {
		names[i] = strings.TrimPrefix(pattern, "*")
	}
	return "secure match=" + strings.Join(names, ":") + " servername=hostname policy_type=sts"
}

// parseRecords finds the id of the policy in the TXT records of _mta-sts.DOMAIN
// (RFC 8461, 3.1). There must be exactly one record of that version. ok is false
// when the domain has no policy.
func parseRecords(records []string) (id string, ok bool) {
	var found []string
	for _, r := range records {
		version, rest, more := strings.Cut(r, ";")
		if more && strings.TrimRight(version, " \t") == "v=STSv1" {
			found = append(found, rest)
		}
	}
	if len(found) != 1 {
		return "", false
	}
	for field := range strings.SplitSeq(found[0], ";") {
		name, value, _ := strings.Cut(strings.Trim(field, " \t"), "=")
		if name == "id" && id == "" {
			id = value
		}
	}
	return id, validID(id)
}

// validID: 1 to 32 letters and digits.
func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return id != "" && len(id) <= 32
}

// validDomain reports whether a text in lower case is a host name of two labels
// or more, and so one that may be a file name too. Addresses are none.
func validDomain(name string) bool {
	if len(name) > 253 || !strings.Contains(name, ".") {
		return false
	}
	label := ""
	for label = range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return strings.Trim(label, "0123456789") != "" // the last label of an address is a number
}
