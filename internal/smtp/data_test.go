package smtp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadData(t *testing.T) {
	long := strings.Repeat("x", 3*minBuffer)
	tests := []struct {
		name   string
		policy DataPolicy
		in     string
		want   string
		rest   string
		bareLF bool
	}{
		{name: "empty", in: ".\r\n", want: ""},
		{name: "line", in: "a\r\n.\r\nQUIT", want: "a\n", rest: "QUIT"},
		{name: "dots", in: "..\r\n.a\r\n...\r\na.\r\n.\r\n", want: ".\na\n..\na.\n"},
		{name: "NUL", in: "a\x00b\r\n.\r\n", want: "a\x00b\n"},
		{name: "long line", in: long + "\r\n." + long + "\r\n" + long + ".\r\n.\r\n", want: long + "\n" + long + "\n" + long + ".\n"},
		{name: "CRs across a full buffer", in: strings.Repeat("\r", 200) + "\n.\r\n", want: strings.Repeat("\r", 199) + "\n"},

		// SMTP smuggling: none of these ends the message.
		{name: "LF.CRLF", in: "a\n.\r\nb\r\n.\r\n", want: "a\n\nb\n", bareLF: true},
		{name: "LF.LF", in: "a\n.\nb\r\n.\r\n", want: "a\n\nb\n", bareLF: true},
		{name: "CRLF.LF", in: "a\r\n.\nb\r\n.\r\n", want: "a\n\nb\n", bareLF: true},
		{name: "first line .LF", in: ".\nb\r\n.\r\n", want: "\nb\n", bareLF: true},
		{name: "CR.CRLF", in: "a\r.\r\nb\r\n.\r\n", want: "a\r.\nb\n"},
		{name: "CRLF.CR", in: "a\r\n.\rb\r\n.\r\n", want: "a\n\rb\n"},
		{name: "CR.CR", in: "a\r.\rb\r\n.\r\n", want: "a\r.\rb\n"},
		{name: "CRLF.CRCRLF", in: "a\r\n.\r\r\nb\r\n.\r\n", want: "a\n\r\nb\n"},
		{name: "CRLF then LF.CRLF", in: "a\r\n\n.\r\nb\r\n.\r\n", want: "a\n\n\nb\n", bareLF: true},
		{name: "NUL before the dot", in: "a\r\n\x00.\r\nb\r\n.\r\n", want: "a\n\x00.\nb\n"},

		{name: "blank for CR", policy: DataPolicy{ReplaceCR: true}, in: "a\r\r\nb\rc\r\n.\r\r\n.\r\n", want: "a \nb c\n \n"},
		{name: "blank for CR in a long line", policy: DataPolicy{ReplaceCR: true}, in: long + "\r" + long + "\r\n.\r\n", want: long + " " + long + "\n"},
		{name: "reject", policy: DataPolicy{BareNewline: BareNewlineReject}, in: "a\n.\r\nb\r\n.\r\n", want: "a\n\nb\n", bareLF: true},

		{name: "allow LF.LF", policy: DataPolicy{BareNewline: BareNewlineAllow}, in: "a\n.\nb", want: "a\n", rest: "b", bareLF: true},
		{name: "allow CRLF.CRCRLF", policy: DataPolicy{BareNewline: BareNewlineAllow}, in: "a\r\r\n.\r\r\nb", want: "a\n", rest: "b"},
		{name: "allow .LF at once", policy: DataPolicy{BareNewline: BareNewlineAllow}, in: ".\nb", want: "", rest: "b"},
	}
	for _, tt := range tests {
		for name, rd := range map[string]io.Reader{
			"at once":     strings.NewReader(tt.in),
			"octetwise":   iotest.OneByteReader(strings.NewReader(tt.in)),
			"in halves":   iotest.HalfReader(strings.NewReader(tt.in)),
			"with an EOF": iotest.DataErrReader(strings.NewReader(tt.in)),
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				r := NewReader(rd, make([]byte, minBuffer))
				var text bytes.Buffer
				d, err := r.ReadData(&text, tt.policy)
				if err != nil || text.String() != tt.want || d.BareLF != tt.bareLF || d.Size != int64(text.Len()) {
					t.Errorf("ReadData(%q) = %+v, %v, text %q, want %q, bare LF %v", tt.in, d, err, text.String(), tt.want, tt.bareLF)
				}
				if err := r.Skip(int64(len(tt.rest))); err != nil {
					t.Errorf("ReadData(%q) took too much: %v", tt.in, err)
				}
				if _, err := r.ReadLine(10); err != io.EOF {
					t.Errorf("after ReadData(%q): %v, want %v", tt.in, err, io.EOF)
				}
			})
		}
	}
}

func TestReadDataErrors(t *testing.T) {
	for _, in := range []string{"", "a", "a\r\n", "a\r\n.", "a\r\n.\r", "a\n.\r\n"} {
		r := NewReader(strings.NewReader(in), nil)
		if _, err := r.ReadData(io.Discard, DataPolicy{}); err != io.EOF {
			t.Errorf("ReadData(%q) = %v, want %v", in, err, io.EOF)
		}
	}
	if _, err := NewReader(nothing{}, nil).ReadData(io.Discard, DataPolicy{}); !errors.Is(err, errNoProgress) {
		t.Errorf("ReadData of a reader without progress = %v, want %v", err, errNoProgress)
	}
}

// nothing reads nothing and reports no error.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

func TestReadDataDrainsAfterWriteError(t *testing.T) {
	full := errors.New("disk full")
	r := NewReader(strings.NewReader(strings.Repeat("0123456789\r\n", 100)+".\r\nNOOP\r\n"), nil)
	d, err := r.ReadData(failingWriter{full}, DataPolicy{})
	if err != nil || d.WriteErr != full || d.Size != 1100 {
		t.Fatalf("ReadData = %+v, %v, want size 1100 and %v", d, err, full)
	}
	if line, err := r.ReadLine(100); err != nil || string(line.Text) != "NOOP" {
		t.Errorf("after it ReadLine = %q, %v, want NOOP", line.Text, err)
	}
}

func TestParseBareNewline(t *testing.T) {
	for value, want := range map[string]BareNewline{
		"normalize": BareNewlineNormalize, "Yes": BareNewlineNormalize, "reject": BareNewlineReject, "no": BareNewlineAllow,
	} {
		if got, err := ParseBareNewline(value); err != nil || got != want {
			t.Errorf("ParseBareNewline(%q) = %v, %v, want %v", value, got, err, want)
		}
	}
	if _, err := ParseBareNewline("maybe"); err == nil {
		t.Error("ParseBareNewline(maybe) has no error")
	}
}

// slowData is ReadData as its doc comment tells it, octet by octet.
func slowData(in string, p DataPolicy) (text, rest string, ended bool) {
	after := true
	for {
		i := strings.IndexByte(in, '\n')
		if i < 0 {
			return text, in, false
		}
		line := in[:i]
		in = in[i+1:]
		crlf := strings.HasSuffix(line, "\r")
		if p.BareNewline == BareNewlineAllow {
			line = strings.TrimRight(line, "\r")
		} else {
			line = strings.TrimSuffix(line, "\r")
		}
		if line == "." && (p.BareNewline == BareNewlineAllow || crlf && after) {
			return text, in, true
		}
		line = strings.TrimPrefix(line, ".")
		if p.ReplaceCR {
			line = strings.ReplaceAll(line, "\r", " ")
		}
		text += line + "\n"
		after = crlf
	}
}

func FuzzReadData(f *testing.F) {
	f.Add("a\r\n.\r\nrest", uint8(0), uint8(3))
	f.Add("a\n.\r\n..\r\n\r\r\n.\r\n", uint8(2), uint8(64))
	f.Add(strings.Repeat("x", 100)+"\r\r\n.\r\n", uint8(4), uint8(1))
	f.Fuzz(func(t *testing.T, in string, mode, piece uint8) {
		p := DataPolicy{BareNewline: BareNewline(mode % 3), ReplaceCR: mode&4 != 0}
		if p.BareNewline == BareNewlineAllow && strings.Contains(in, strings.Repeat("\r", minBuffer/2)) {
			t.Skip("of an endless run of CRs some are taken for text")
		}
		want, rest, ended := slowData(in, p)
		r := NewReader(&pieces{in, int(piece) + 1}, make([]byte, minBuffer))
		var text bytes.Buffer
		_, err := r.ReadData(&text, p)
		if (err == nil) != ended {
			t.Fatalf("ReadData(%q, %+v) = %v, want ended %v", in, p, err, ended)
		}
		if !ended {
			return
		}
		if text.String() != want {
			t.Errorf("ReadData(%q, %+v) wrote %q, want %q", in, p, text.String(), want)
		}
		if err := r.Skip(int64(len(rest))); err != nil {
			t.Errorf("ReadData(%q, %+v) took too much: %v", in, p, err)
		}
		if _, err := r.ReadLine(1); err != io.EOF {
			t.Errorf("ReadData(%q, %+v) took too little: %v", in, p, err)
		}
	})
}

// pieces is a reader that yields n octets at a time.
type pieces struct {
	text string
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b, p.text[:min(p.n, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

func BenchmarkReadData(b *testing.B) {
	for name, line := range map[string]string{"75": strings.Repeat("x", 75), "dots": "." + strings.Repeat("x", 30), "1000": strings.Repeat("x", 1000)} {
		b.Run(name, func(b *testing.B) {
			text := strings.Repeat(line+"\r\n", 1<<20/len(line)) + ".\r\n"
			buf := make([]byte, 64<<10)
			src := strings.NewReader(text)
			r := NewReader(src, buf)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				src.Reset(text)
				r.Reset(src)
				if _, err := r.ReadData(io.Discard, DataPolicy{ReplaceCR: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
