package route

import (
	"strings"

	"postern/internal/smtp"
)

// Rejection is the refusal of a name, "<NAME>: CLASS rejected: TEXT", as
// smtpd(8) words it. class says what the name is: RecipientClass, SenderClass,
// or another ("Client host"). The enhanced code is made to fit the reply code
// and what is refused.
func Rejection(name, class string, code int, dsn, text string) smtp.Reply {
	return smtp.R(code, fitDSN(code, dsn, class), "<"+name+">: "+class+" rejected: "+text)
}

// What each detail from 0 to 8 of an address status x.1.y (RFC 3463, 3.2)
// becomes when it is about that side of the envelope.
const (
	senderDetails    = "078770778"
	recipientDetails = "012345632"
)

// fitDSN gives an enhanced code the first digit of the reply code (RFC 3463,
// 2), and makes an address status one about the side that is refused; about
// anything but an address it says nothing.
func fitDSN(code int, dsn, class string) string {
	first := string(rune('0' + code/100))
	detail, ok := strings.CutPrefix(dsn[1:], ".1.")
	if !ok {
		return first + dsn[1:]
	}
	details := ""
	switch class {
	case SenderClass:
		details = senderDetails
	case RecipientClass:
		details = recipientDetails
	default:
		return first + ".0.0"
	}
	if len(detail) != 1 || detail[0] > '8' {
		return first + ".1.0"
	}
	return first + ".1." + string(details[detail[0]-'0'])
}
