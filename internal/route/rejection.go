package route

import "postern/internal/smtp"

// Rejection is the refusal of a name, "<NAME>: CLASS rejected: TEXT", as
// smtpd(8) words it. class says what the name is: RecipientClass, SenderClass,
// or another ("Client host"). The enhanced code is made to fit the reply code
// and what is refused.
func Rejection(name, class string, code int, dsn, text string) smtp.Reply {
	return smtp.R(code, fitDSN(code, dsn, class), "<"+name+">: "+class+" rejected: "+text)
}

// Detail digits of the address status x.1.y (RFC 3463, 3.2) that say the same
// of the other side of an envelope. Those that are not here become 0.
var (
	ofSender    = map[string]string{"1": "7", "2": "8", "3": "7", "4": "7", "6": "7", "7": "7", "8": "8"}
	ofRecipient = map[string]string{"1": "1", "2": "2", "3": "3", "4": "4", "5": "5", "6": "6", "7": "3", "8": "2"}
)

// fitDSN gives an enhanced code the first digit of the reply code (RFC 3463,
// 2), and makes an address status one about the side that is refused; about
// anything but an address it says nothing.
func fitDSN(code int, dsn, class string) string {
	b := []byte(dsn)
	b[0] = byte('0' + code/100)
	if len(b) < 5 || b[2] != '1' || b[3] != '.' {
		return string(b)
	}
	var detail string
	switch class {
	case SenderClass:
		detail = ofSender[string(b[4:])]
	case RecipientClass:
		detail = ofRecipient[string(b[4:])]
	default:
		return string(b[:1]) + ".0.0"
	}
	if detail == "" {
		detail = "0"
	}
	return string(b[:4]) + detail
}
