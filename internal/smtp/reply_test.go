package smtp

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReplyAppendTo(t *testing.T) {
	long := strings.Repeat("x", 600)
	tests := []struct {
		name  string
		reply Reply
		want  string
	}{
		{"plain", R(354, "", "End data with <CR><LF>.<CR><LF>"), "354 End data with <CR><LF>.<CR><LF>\r\n"},
		{"enhanced", R(250, "2.1.0", "Ok"), "250 2.1.0 Ok\r\n"},
		{"no text", R(250, "2.1.0", ""), "250 2.1.0\r\n"},
		{"no text, no code", R(250, "", ""), "250 \r\n"},
		{"lines", R(550, "5.1.1", "one\ntwo\n"), "550-5.1.1 one\r\n550-5.1.1 two\r\n550 5.1.1\r\n"},
		{"control characters", R(550, "5.1.1", "a\rb\x00c\x7fd\te"), "550 5.1.1 a b c d e\r\n"},
		{"not UTF-8", R(550, "5.1.1", "\xffé"), "550 5.1.1  é\r\n"},
		{"cut", R(550, "5.1.1", long), ("550 5.1.1 " + long)[:510] + "\r\n"},
		{"cut before a character", R(550, "5.1.1", strings.Repeat("x", 499)+"é"), "550 5.1.1 " + strings.Repeat("x", 499) + "\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.reply.AppendTo([]byte("+"))); got != "+"+tt.want {
				t.Errorf("%#v.AppendTo = %q, want %q", tt.reply, got, "+"+tt.want)
			}
		})
	}
}

func TestReplySoft(t *testing.T) {
	tests := []struct{ in, want Reply }{
		{R(550, "5.1.1", "x"), R(450, "4.1.1", "x")},
		{R(554, "", "x"), R(454, "", "x")},
		{R(450, "4.1.1", "x"), R(450, "4.1.1", "x")},
		{R(250, "2.0.0", "x"), R(250, "2.0.0", "x")},
		{Reply{Code: 550, Text: "x", Raw: "550 x"}, R(450, "", "x")},
	}
	for _, tt := range tests {
		if got := tt.in.Soft(); got != tt.want {
			t.Errorf("%v.Soft() = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestReadReply(t *testing.T) {
	tests := []struct {
		name, in string
		want     Reply
	}{
		{"one line", "250 2.1.0 Ok\r\n", R(250, "2.1.0", "Ok")},
		{"bare LF", "250 2.1.0 Ok\n", R(250, "2.1.0", "Ok")},
		{"code only", "250\r\n", R(250, "", "")},
		{"no enhanced code", "220 mx.example.org ESMTP\r\n", R(220, "", "mx.example.org ESMTP")},
		{"several lines", "550-5.1.1 one\r\n550-5.1.1 two\r\n550 5.1.1 three\r\n", R(550, "5.1.1", "one\ntwo\nthree")},
		{"code on the first line", "550-5.7.1 one\r\n550 two\r\n", R(550, "5.7.1", "one\ntwo")},
		{"codes differ", "550-5.7.1 one\r\n550 5.1.1 two\r\n", R(550, "5.7.1", "one\n5.1.1 two")},
		{"last code counts", "450-a\r\n550 b\r\n", R(550, "", "a\nb")},
		{"class differs", "550 4.1.1 x\r\n", R(550, "", "4.1.1 x")},
		{"version number", "220 2.10.0\r\n", R(220, "2.10.0", "")},
		{"no code but a number", "250 2.1.0.4 x\r\n", R(250, "", "2.1.0.4 x")},
		{"too long a number", "250 2.1.1234 x\r\n", R(250, "", "2.1.1234 x")},
		{"EHLO", "250-mx\r\n250-PIPELINING\r\n250 SIZE 100\r\n", R(250, "", "mx\nPIPELINING\nSIZE 100")},
		{"line longer than the buffer", "250 " + strings.Repeat("a", 9000) + "\r\n", R(250, "", strings.Repeat("a", 9000))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(tt.in + "rest"))
			got, err := ReadReply(r)
			tt.want.Raw = strings.TrimSuffix(strings.ReplaceAll(tt.in, "\r\n", "\n"), "\n")
			if err != nil || got != tt.want {
				t.Fatalf("ReadReply(%q) = %#v, %v, want %#v", tt.in, got, err, tt.want)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "rest" {
				t.Errorf("ReadReply(%q) left %q, want %q", tt.in, rest, "rest")
			}
		})
	}
}

func TestReadReplyErrors(t *testing.T) {
	tests := []struct {
		name, in string
		want     error
	}{
		{"nothing", "", io.EOF},
		{"cut line", "25", io.ErrUnexpectedEOF},
		{"cut reply", "250-x\r\n", io.ErrUnexpectedEOF},
		{"empty line", "\r\n", ErrMalformedReply},
		{"no digits", "abc\r\n", ErrMalformedReply},
		{"code too low", "199 x\r\n", ErrMalformedReply},
		{"code too high", "600 x\r\n", ErrMalformedReply},
		{"four digits", "2500 x\r\n", ErrMalformedReply},
		{"endless line", "250 " + strings.Repeat("x", 70<<10), ErrMalformedReply},
		{"endless reply", strings.Repeat("250-x\r\n", 20<<10), ErrMalformedReply},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ReadReply(bufio.NewReader(strings.NewReader(tt.in))); !errors.Is(err, tt.want) {
				t.Errorf("ReadReply(%.40q) = %v, %v, want error %v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestValidEnhanced(t *testing.T) {
	for code, want := range map[string]bool{
		"5.1.1": true, "2.0.0": true, "4.123.999": true,
		"": false, "5": false, "5.1": false, "5.1.": false, "5..1": false, "3.1.1": false,
		"5.1.1 ": false, "5.1.1111": false, "5.1111.1": false, "x.1.1": false, "5.1.1.1": false,
	} {
		if got := ValidEnhanced(code); got != want {
			t.Errorf("ValidEnhanced(%q) = %v, want %v", code, got, want)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("250-5.1.1 x\r\n250 ok\r\n"))
	f.Add([]byte("550 5.1.1 <a@b.example>: no\n"))
	f.Add([]byte("250-\r\n250"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := ReadReply(bufio.NewReader(strings.NewReader(string(in))))
		if err != nil {
			return
		}
		if got.Code < 200 || got.Code > 599 {
			t.Errorf("ReadReply(%q) has code %d", in, got.Code)
		}
		// What we print is read as the same again.
		wire := got.AppendTo(nil)
		again, err := ReadReply(bufio.NewReader(strings.NewReader(string(wire))))
		if err != nil || again.Code != got.Code {
			t.Errorf("ReadReply(%q) = %v, %v, want code %d", wire, again, err, got.Code)
		}
	})
}

func TestReplyClass(t *testing.T) {
	tests := []struct {
		reply                          Reply
		positive, temporary, permanent bool
		text                           string
	}{
		{R(250, "2.0.0", "Ok"), true, false, false, "250 2.0.0 Ok"},
		{R(354, "", "go"), true, false, false, "354 go"},
		{R(451, "4.3.0", "a\nb"), false, true, false, "451 4.3.0 a b"},
		{R(550, "5.1.1", "no"), false, false, true, "550 5.1.1 no"},
		{Reply{}, false, false, false, "0 "},
	}
	for _, tt := range tests {
		r := tt.reply
		if r.Positive() != tt.positive || r.Temporary() != tt.temporary || r.Permanent() != tt.permanent || r.String() != tt.text {
			t.Errorf("%q: positive %v, temporary %v, permanent %v, want %+v", r, r.Positive(), r.Temporary(), r.Permanent(), tt)
		}
	}
}

func TestSplitEnhanced(t *testing.T) {
	tests := []struct{ text, enhanced, rest string }{
		{"5.1.1 User unknown", "5.1.1", "User unknown"},
		{" 4.2.0  later", "4.2.0", "later"},
		{"User unknown", "5.0.0", "User unknown"},
	}
	for _, tt := range tests {
		if enhanced, rest := SplitEnhanced(tt.text, "5.0.0"); enhanced != tt.enhanced || rest != tt.rest {
			t.Errorf("SplitEnhanced(%q) = %q, %q, want %q, %q", tt.text, enhanced, rest, tt.enhanced, tt.rest)
		}
	}
}
