package header

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func names(text string) (list []string) {
	for f := range Fields([]byte(text)) {
		list = append(list, string(f.Name)+"="+f.Unfold())
	}
	return list
}

var scanned = []struct {
	name, text string
	want       []string
	length     int // of the header section
}{
	{"empty", "", nil, 0},
	{"only a body", "\nSubject: no\n", nil, 0},
	{"plain", "A: 1\nB: 2\n\nC: 3\n", []string{"A=1", "B=2"}, 10},
	{"folded", "Subject: a\n b\n\tc\nTo: x\n\n", []string{"Subject=a b\tc", "To=x"}, 23},
	{"CRLF", "A: 1\r\n 2\r\nB: 3\r\n\r\nC: 4\r\n", []string{"A=1 2", "B=3"}, 16},
	{"no end of line", "A: 1", []string{"A=1"}, 4},
	{"no body", "A: 1\n", []string{"A=1"}, 5},
	{"blanks before the colon", "A \t: 1\nB: 2\n", []string{"A=1", "B=2"}, 12},
	{"empty values", "A:\nB: \n \n\n", []string{"A=", "B="}, 9},
	{"no field ends it", "A: 1\nhello world\nB: 2\n", []string{"A=1"}, 5},
	{"mbox line is no field", "From me Mon Jan  1\nA: 1\n", nil, 0},
	{"blank first", " A: 1\n", nil, 0},
	{"colon alone", ": x\n", nil, 0},
	{"colon on the next line", "A\n: x\n", nil, 0},
	{"binary", "A: \x00\xff\nB\x80: 1\n", []string{"A=\x00\xff"}, 6},
	{"carriage return inside", "A: 1\rB: 2\n", []string{"A=1\rB: 2"}, 10},
}

func TestFields(t *testing.T) {
	for _, test := range scanned {
		if got := names(test.text); !slices.Equal(got, test.want) {
			t.Errorf("%s: Fields(%q) = %q, want %q", test.name, test.text, got, test.want)
		}
		if got := Len([]byte(test.text)); got != test.length {
			t.Errorf("%s: Len(%q) = %d, want %d", test.name, test.text, got, test.length)
		}
	}
}

func TestFieldsStop(t *testing.T) {
	for range Fields([]byte("A: 1\nB: 2\n")) {
		break // a panic here would be a yield after the end
	}
}

func TestSearch(t *testing.T) {
	text := []byte("received: 1\nReceived: 2\nMESSAGE-ID:\n <a@b.example>\nDelivered-To: x@y.example\ndelivered-to: z@y.example\n\nReceived: no\n")
	if got := Count(text, "Received"); got != 2 {
		t.Errorf("Count = %d, want 2", got)
	}
	if got := MessageID(text); got != "<a@b.example>" {
		t.Errorf("MessageID = %q", got)
	}
	if got, want := Values(text, "Delivered-To"), []string{"x@y.example", "z@y.example"}; !slices.Equal(got, want) {
		t.Errorf("Values = %q, want %q", got, want)
	}
	f, ok := First(text, "RECEIVED")
	if !ok || string(f.Raw) != "received: 1\n" || f.Offset != 0 {
		t.Errorf("First = %+v, %v", f, ok)
	}
	if _, ok := First(text, "Subject"); ok || MessageID(nil) != "" || Values(text, "Subject") != nil {
		t.Error("a field is found that is not there")
	}
}

func TestRead(t *testing.T) {
	long := "A: " + strings.Repeat("x", 3*chunk) + "\nB: 2\n"
	for _, test := range []struct {
		name, text string
		limit      int
		want       string
	}{
		{"whole", "A: 1\nB: 2\n\nbody\n", 1000, "A: 1\nB: 2\n"},
		{"no body", "A: 1\nB: 2\n", 1000, "A: 1\nB: 2\n"},
		{"no header", "\nbody: x\n", 1000, ""},
		{"empty", "", 1000, ""},
		{"several chunks", long + "\nbody: x\n", 10 * chunk, long},
		{"end between chunks", "A: " + strings.Repeat("x", chunk-4) + "\n\nB: 2\n", 10 * chunk, "A: " + strings.Repeat("x", chunk-4) + "\n"},
		{"cut at a line", "A: 1\nB: 2\nC: 3\n\n", 12, "A: 1\nB: 2\n"},
		{"cut in the first line", "A: 12345678\n", 8, "A: 12345"},
		{"body is no field", "A: 1\nnot a field\n\nC: 1\n", 1000, "A: 1\n"},
		{"limit 0", "A: 1\n", 0, ""},
	} {
		got, err := Read(strings.NewReader(test.text), test.limit)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: Read(%.40q, %d) = %.40q (%d octets), %v, want %.40q (%d octets)",
				test.name, test.text, test.limit, got, len(got), err, test.want, len(test.want))
		}
	}
}

// broken gives some text and then an error.
type broken string

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	return copy(p, b[off:]), errBroken
}

var errBroken = errors.New("input/output error")

func TestReadError(t *testing.T) {
	if got, err := Read(broken("A: 1\nB: "), 1000); !errors.Is(err, errBroken) || string(got) != "A: 1\nB: " {
		t.Errorf("Read = %q, %v, want what was read and the error", got, err)
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("CET", 3600))

func TestReceived(t *testing.T) {
	for _, test := range []struct {
		name string
		r    Received
		want string
	}{
		{"SMTP", Received{Helo: "mx.example.org", Client: "unknown", Address: "192.0.2.1", Hostname: "mail.example.com", Software: "Postern",
			Protocol: "ESMTP", ID: "4F1C0A", For: "john@example.com", Date: noon},
			"Received: from mx.example.org (unknown [192.0.2.1])\n\tby mail.example.com (Postern) with ESMTP id 4F1C0A\n\tfor <john@example.com>; Sun, 1 Mar 2026 12:00:00 +0100 (CET)\n"},
		{"several recipients, TLS, login, IPv6", Received{Helo: "[IPv6:2001:db8::1]", Client: "c.example.org", Address: "2001:db8::1",
			Comments: []string{"using TLSv1.3"}, Login: "jo)hn", Hostname: "mail.example.com", Software: "Postern", Protocol: "ESMTPSA", ID: "4F1C0A", Date: noon.UTC()},
			"Received: from [IPv6:2001:db8::1] (c.example.org [IPv6:2001:db8::1])\n\t(using TLSv1.3)\n\t(Authenticated sender: jo?hn)\n" +
				"\tby mail.example.com (Postern) with ESMTPSA id 4F1C0A; Sun, 1 Mar 2026 11:00:00 +0000 (UTC)\n"},
		{"command line", Received{Local: true, UserID: 1000, Hostname: "mail.example.com", Software: "Postern", ID: "4F1C0A", Date: noon},
			"Received: by mail.example.com (Postern, from userid 1000)\n\tid 4F1C0A; Sun, 1 Mar 2026 12:00:00 +0100 (CET)\n"},
		{"made here", Received{Hostname: "mail.example.com", Software: "Postern", ID: "4F1C0A", Date: noon.In(time.FixedZone("", -5400))},
			"Received: by mail.example.com (Postern)\n\tid 4F1C0A; Sun, 1 Mar 2026 09:30:00 -0130\n"},
		{"hostile", Received{Helo: "a\nX: b", Client: "c)(\\", Address: "1", Hostname: "m.example", Software: "Postern", Protocol: "SMTP", ID: "1", For: "\"a\rb\"@c", Date: noon},
			"Received: from a?X: b (c??? [1])\n\tby m.example (Postern) with SMTP id 1\n\tfor <\"a?b\"@c>; Sun, 1 Mar 2026 12:00:00 +0100 (CET)\n"},
	} {
		got := string(test.r.AppendTo([]byte("x")))
		if got != "x"+test.want {
			t.Errorf("%s: AppendTo = %q, want %q", test.name, got[1:], test.want)
		}
		if n := Count([]byte(got[1:]), "Received"); n != 1 || Len([]byte(got[1:])) != len(got)-1 {
			t.Errorf("%s: %q is not one field", test.name, got[1:])
		}
	}
}

func TestMessageID(t *testing.T) {
	if got, want := string(AppendMessageID(nil, "4F1C0A", "mail.example.com", noon)), "<20260301110000.4F1C0A@mail.example.com>"; got != want {
		t.Errorf("AppendMessageID = %q, want %q", got, want)
	}
}

// FuzzFields checks that fields are the text they are cut from, in order, and
// that Read finds the same section.
func FuzzFields(f *testing.F) {
	for _, test := range scanned {
		f.Add([]byte(test.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		at := 0
		for field := range Fields(text) {
			if field.Offset != at || !bytes.Equal(field.Raw, text[at:at+len(field.Raw)]) || len(field.Raw) == 0 {
				t.Fatalf("field at %d is not the text at %d", field.Offset, at)
			}
			if len(field.Name) == 0 || !bytes.HasPrefix(field.Raw, field.Name) || bytes.ContainsAny(field.Name, ": \t\r\n") {
				t.Fatalf("name %q of field %q", field.Name, field.Raw)
			}
			if !bytes.Contains(field.Raw, field.Value) || strings.Contains(field.Unfold(), "\n") {
				t.Fatalf("value %q of field %q", field.Value, field.Raw)
			}
			at += len(field.Raw)
		}
		if at != Len(text) {
			t.Fatalf("Len = %d, fields end at %d", Len(text), at)
		}
		section, err := Read(bytes.NewReader(text), len(text)+1)
		if err != nil || !bytes.Equal(section, text[:at]) {
			t.Fatalf("Read = %q, %v, want %q", section, err, text[:at])
		}
	})
}

func FuzzReceived(f *testing.F) {
	f.Add("mx.example.org", "unknown", "192.0.2.1", "john", "j@example.com", "TLS")
	f.Add("a\n\nb", "(", "\\", "\x00)", "\r\n>", "(")
	f.Fuzz(func(t *testing.T, helo, client, addr, login, rcpt, comment string) {
		r := Received{Helo: helo, Client: client, Address: addr, Login: login, For: rcpt, Comments: []string{comment},
			Hostname: "m.example", Software: "Postern", Protocol: "SMTP", ID: "1", Date: noon}
		text := r.AppendTo(nil)
		if Count(text, "Received") != 1 || Len(text) != len(text) || bytes.IndexByte(text, '\r') >= 0 {
			t.Errorf("%q is not one field", text)
		}
	})
}

func BenchmarkCount(b *testing.B) {
	text := []byte(strings.Repeat("Received: from a.example (b.example [192.0.2.1])\n\tby c.example with ESMTP id 1;\n\tSun, 1 Mar 2026 12:00:00 +0100\n", 5) +
		"From: a@example.org\nTo: b@example.org\nSubject: hello\nMessage-Id: <1@example.org>\n\nbody\n")
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if Count(text, "Received") != 5 {
			b.Fatal("wrong count")
		}
	}
}
