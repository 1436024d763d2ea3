package smtp

import (
	"math"
	"strings"
	"testing"
)

var everything = Allowed{Size: true, EightBit: true, DSN: true, SMTPUTF8: true, Auth: true}

func TestParseMailParams(t *testing.T) {
	tests := []struct {
		text string
		want MailParams
		bad  Reply
	}{
		{"", MailParams{}, Reply{}},
		{"size=100 body=8bitmime", MailParams{Size: 100, Body: "8BITMIME"}, Reply{}},
		{"SIZE=10 \t SIZE=20", MailParams{Size: 20}, Reply{}},
		{"SIZE=99999999999999999999999", MailParams{Size: math.MaxInt64}, Reply{}},
		{"SIZE=", MailParams{}, badSize},
		{"SIZE=x", MailParams{}, badSize},
		{"SIZE=-1", MailParams{}, badSize},
		{"SIZE", MailParams{}, unsupported("SIZE")},
		{"BODY=7BIT BODY=8BITMIME", MailParams{Body: "8BITMIME"}, Reply{}},
		{"BODY=BINARYMIME", MailParams{}, unsupported("BODY=BINARYMIME")},
		{"body=foo", MailParams{}, unsupported("body=foo")},
		{"BODY", MailParams{}, unsupported("BODY")},
		{"SMTPUTF8", MailParams{SMTPUTF8: true}, Reply{}},
		{"SMTPUTF8=x", MailParams{}, unsupported("SMTPUTF8=x")},
		{"RET=full ENVID=abc", MailParams{Ret: "FULL", EnvID: "abc"}, Reply{}},
		{"RET=HDRS", MailParams{Ret: "HDRS"}, Reply{}},
		{"RET=FULL RET=HDRS", MailParams{Ret: "FULL"}, badRet},
		{"RET=foo", MailParams{}, badRet},
		{"ENVID=", MailParams{}, badEnvID},
		{"ENVID=a+20b", MailParams{EnvID: "a b"}, Reply{}},
		{"ENVID=a+2", MailParams{}, badEnvID},
		{"ENVID=a+zz", MailParams{}, badEnvID},
		{"ENVID=a+0Ab", MailParams{}, badEnvID},
		{"ENVID=a ENVID=b", MailParams{EnvID: "a"}, badEnvID},
		{"AUTH=<>", MailParams{Auth: "<>"}, Reply{}},
		{"AUTH=a+40b.example", MailParams{Auth: "a@b.example"}, Reply{}},
		{"AUTH=", MailParams{}, badAuth},
		{"AUTH=a AUTH=b", MailParams{Auth: "a"}, R(503, "5.5.4", "Error: multiple AUTH= options")},
		{"NOTIFY=NEVER", MailParams{}, unsupported("NOTIFY=NEVER")},
		{"FOO=BAR BAZ", MailParams{}, unsupported("FOO=BAR")},
	}
	for _, tt := range tests {
		got, bad := ParseMailParams(tt.text, everything)
		if bad != tt.bad || bad.IsZero() && got != tt.want {
			t.Errorf("ParseMailParams(%q) = %+v, %v, want %+v, %v", tt.text, got, bad, tt.want, tt.bad)
		}
	}
}

func TestParamsNotAllowed(t *testing.T) {
	for _, text := range []string{"SIZE=1", "BODY=7BIT", "SMTPUTF8", "RET=FULL", "ENVID=a", "AUTH=<>"} {
		if _, bad := ParseMailParams(text, Allowed{}); bad != unsupported(text) {
			t.Errorf("ParseMailParams(%q) of no extension = %v, want %v", text, bad, unsupported(text))
		}
	}
	for _, text := range []string{"NOTIFY=NEVER", "ORCPT=rfc822;a@b.example"} {
		if _, bad := ParseRcptParams(text, Allowed{}); bad != unsupported(text) {
			t.Errorf("ParseRcptParams(%q) of no extension = %v, want %v", text, bad, unsupported(text))
		}
	}
}

func TestParseRcptParams(t *testing.T) {
	tests := []struct {
		text string
		want RcptParams
		bad  Reply
	}{
		{"", RcptParams{}, Reply{}},
		{"NOTIFY=NEVER", RcptParams{Notify: NotifyNever}, Reply{}},
		{"notify=Success,FAILURE,delay", RcptParams{Notify: NotifySuccess | NotifyFailure | NotifyDelay}, Reply{}},
		{"NOTIFY=success,success", RcptParams{Notify: NotifySuccess}, Reply{}},
		{"NOTIFY=,SUCCESS", RcptParams{Notify: NotifySuccess}, Reply{}},
		{"NOTIFY=NEVER,FAILURE", RcptParams{}, badNotify},
		{"NOTIFY=", RcptParams{}, badNotify},
		{"NOTIFY=foo", RcptParams{}, badNotify},
		{"NOTIFY=SUCCESS NOTIFY=FAILURE", RcptParams{}, badNotify},
		{"ORCPT=rfc822;x@a.example", RcptParams{ORCPT: "rfc822;x@a.example"}, Reply{}},
		{"ORCPT=rfc822;x+40a.example", RcptParams{ORCPT: "rfc822;x@a.example"}, Reply{}},
		{"ORCPT=rfc822;", RcptParams{ORCPT: "rfc822;"}, Reply{}},
		{"ORCPT=rfc822", RcptParams{}, badORCPT},
		{"ORCPT=;x", RcptParams{}, badORCPT},
		{"ORCPT=rfc822;x+4", RcptParams{}, badORCPT},
		{"ORCPT=rfc822;x+0D", RcptParams{}, badORCPT},
		{"ORCPT=", RcptParams{}, badORCPT},
		{"ORCPT=rfc822;a ORCPT=rfc822;b", RcptParams{}, badORCPT},
		{"SIZE=1", RcptParams{}, unsupported("SIZE=1")},
		{"Name <d@a.example>", RcptParams{}, unsupported("Name")},
		{"(c)", RcptParams{}, unsupported("(c)")},
	}
	for _, tt := range tests {
		got, bad := ParseRcptParams(tt.text, everything)
		if bad != tt.bad || bad.IsZero() && got != tt.want {
			t.Errorf("ParseRcptParams(%q) = %+v, %v, want %+v, %v", tt.text, got, bad, tt.want, tt.bad)
		}
	}
}

func TestNotifyString(t *testing.T) {
	for n, want := range map[Notify]string{0: "", NotifyNever: "NEVER", NotifySuccess | NotifyDelay: "SUCCESS,DELAY"} {
		if got := n.String(); got != want {
			t.Errorf("Notify(%d).String() = %q, want %q", n, got, want)
		}
	}
}

func FuzzParams(f *testing.F) {
	f.Add("SIZE=1 BODY=7BIT RET=FULL ENVID=a+2Bb AUTH=<> SMTPUTF8")
	f.Add("NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b")
	f.Fuzz(func(t *testing.T, text string) {
		mail, bad := ParseMailParams(text, everything)
		if !bad.IsZero() && !bad.Permanent() {
			t.Errorf("ParseMailParams(%q) replies %v", text, bad)
		}
		if strings.ContainsAny(mail.EnvID+mail.Auth, "\r\n\x00\x7f") || mail.Size < 0 {
			t.Errorf("ParseMailParams(%q) = %+v", text, mail)
		}
		rcpt, bad := ParseRcptParams(text, everything)
		if bad.IsZero() {
			if again, ok := ParseNotify(rcpt.Notify.String()); again != rcpt.Notify || ok == (rcpt.Notify == 0) {
				t.Errorf("ParseNotify(%q) = %v, %v, want %v", rcpt.Notify, again, ok, rcpt.Notify)
			}
		}
	})
}

func FuzzXtext(f *testing.F) {
	f.Add("a b+c=d\xff")
	f.Add("+2B+zz")
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := DecodeXtext(text); ok && strings.ContainsAny(got, "\r\n\x00\x7f") {
			t.Errorf("DecodeXtext(%q) = %q", text, got)
		}
		got, ok := DecodeXtext(EncodeXtext(text))
		control := strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
		if ok == control || ok && got != text {
			t.Errorf("DecodeXtext(EncodeXtext(%q)) = %q, %v", text, got, ok)
		}
	})
}
