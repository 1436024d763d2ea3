package smtp

import (
	"math"
	"strconv"
	"strings"
)

// MailParams are the ESMTP parameters of MAIL.
type MailParams struct {
	Size     int64  // RFC 1870; 0: not given. Too large for an int64: MaxInt64
	Body     string // RFC 6152: "7BIT", "8BITMIME" or ""
	SMTPUTF8 bool   // RFC 6531
	Ret      string // RFC 3461, 4.3: "FULL", "HDRS" or ""
	EnvID    string // RFC 3461, 4.4, decoded
	Auth     string // RFC 4954, 5, decoded; "<>" or an address; "" when not given
}

// RcptParams are the ESMTP parameters of RCPT.
type RcptParams struct {
	Notify Notify
	ORCPT  string // RFC 3461, 4.2: "rfc822;john@example.org", the address decoded
}

// Notify is the value of the NOTIFY parameter (RFC 3461, 4.1). Zero: not given.
type Notify uint8

// Bits of Notify. NotifyNever stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// String is the value as it stands in a command, "SUCCESS,FAILURE".
func (n Notify) String() string {
	var words []string
	for i, word := range notifyWords {
		if n&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, ",")
}

var notifyWords = [...]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}

// Allowed says which extensions are offered. A parameter of one that is not is
// an unsupported option.
type Allowed struct {
	Size, EightBit, DSN, SMTPUTF8, Auth bool
}

// Replies to bad parameters, in Postfix's words.
var (
	badSize   = R(501, "5.5.4", "Bad message size syntax")
	badRet    = R(501, "5.5.4", "Bad RET parameter syntax")
	badEnvID  = R(501, "5.5.4", "Bad ENVID parameter syntax")
	badAuth   = R(501, "5.5.4", "Bad AUTH parameter syntax")
	badNotify = R(501, "5.5.4", "Error: Bad NOTIFY parameter syntax")
	badORCPT  = R(501, "5.5.4", "Error: Bad ORCPT parameter syntax")
)

// ParseMailParams reads the parameters of MAIL, separated by blanks. The reply is
// zero when they are good, else what the client is to be told. Names have no
// case. SIZE, BODY and SMTPUTF8 may be repeated, the last one counts; RET, ENVID
// and AUTH may not. The lengths of values are bounded by that of the line.
func ParseMailParams(text string, allowed Allowed) (MailParams, Reply) {
	var p MailParams
	for word := range strings.FieldsSeq(text) {
		if bad := p.set(word, allowed); !bad.IsZero() {
			return p, bad
		}
	}
	return p, Reply{}
}

func (p *MailParams) set(word string, allowed Allowed) Reply {
	name, value, hasValue := strings.Cut(word, "=")
	ok := true
	switch name = upper(name); {
	case name == "SIZE" && hasValue && allowed.Size:
		if p.Size, ok = parseSize(value); !ok {
			return badSize
		}
	case name == "BODY" && allowed.EightBit && isBody(value):
		p.Body = upper(value)
	case name == "SMTPUTF8" && !hasValue && allowed.SMTPUTF8:
		p.SMTPUTF8 = true
	case name == "RET" && hasValue && allowed.DSN:
		value = upper(value)
		if p.Ret != "" || value != "FULL" && value != "HDRS" {
			return badRet
		}
		p.Ret = value
	case name == "ENVID" && hasValue && allowed.DSN:
		if p.EnvID != "" || value == "" {
			return badEnvID
		}
		if p.EnvID, ok = DecodeXtext(value); !ok {
			return badEnvID
		}
	case name == "AUTH" && hasValue && allowed.Auth:
		if p.Auth != "" {
			return R(503, "5.5.4", "Error: multiple AUTH= options")
		}
		if p.Auth, ok = DecodeXtext(value); !ok || value == "" {
			return badAuth
		}
	default:
		return unsupported(word)
	}
	return Reply{}
}

// ParseRcptParams reads the parameters of RCPT like ParseMailParams.
func ParseRcptParams(text string, allowed Allowed) (RcptParams, Reply) {
	var p RcptParams
	for word := range strings.FieldsSeq(text) {
		name, value, hasValue := strings.Cut(word, "=")
		ok := true
		switch name = upper(name); {
		case name == "NOTIFY" && hasValue && allowed.DSN:
			if p.Notify != 0 {
				return p, badNotify
			}
			if p.Notify, ok = ParseNotify(value); !ok {
				return p, badNotify
			}
		case name == "ORCPT" && hasValue && allowed.DSN:
			if p.ORCPT != "" {
				return p, badORCPT
			}
			if p.ORCPT, ok = parseORCPT(value); !ok {
				return p, badORCPT
			}
		default:
			return p, unsupported(word)
		}
	}
	return p, Reply{}
}

func unsupported(word string) Reply {
	return R(555, "5.5.4", "Unsupported option: "+word)
}

func isBody(value string) bool {
	return strings.EqualFold(value, "8BITMIME") || strings.EqualFold(value, "7BIT")
}

// parseSize reads a number of octets; one that no int64 holds is the largest.
func parseSize(value string) (int64, bool) {
	if value == "" {
		return 0, false
	}
	for i := 0; i < len(value); i++ {
		if !isDigit(value[i]) {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// ParseNotify reads the value of NOTIFY: words separated by commas, without
// regard to case; empty ones are skipped, but one there must be.
func ParseNotify(value string) (Notify, bool) {
	var n Notify
	for word := range strings.SplitSeq(value, ",") {
		if word == "" {
			continue
		}
		bit := Notify(0)
		for i, known := range notifyWords {
			if strings.EqualFold(word, known) {
				bit = 1 << i
			}
		}
		if bit == 0 {
			return 0, false
		}
		n |= bit
	}
	return n, n != 0 && (n&NotifyNever == 0 || n == NotifyNever)
}

// parseORCPT reads "addr-type;xtext". The address may be empty, the type not.
func parseORCPT(value string) (string, bool) {
	kind, text, found := strings.Cut(value, ";")
	if !found || kind == "" {
		return "", false
	}
	addr, ok := DecodeXtext(text)
	return kind + ";" + addr, ok
}
