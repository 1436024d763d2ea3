package smtp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestDotWriter(t *testing.T) {
	tests := []struct {
		name  string
		limit int
		parts []string
		want  string
	}{
		{"empty", 0, nil, ".\r\n"},
		{"line", 0, []string{"a\n"}, "a\r\n.\r\n"},
		{"no end", 0, []string{"a"}, "a\r\n.\r\n"},
		{"empty lines", 0, []string{"\n\n"}, "\r\n\r\n.\r\n"},
		{"dots", 0, []string{".\n..\n.a\na.\n"}, "..\r\n...\r\n..a\r\na.\r\n.\r\n"},
		{"dot in pieces", 0, []string{"a\n", ".", "\n", "", "."}, "a\r\n..\r\n..\r\n.\r\n"},
		{"dot inside a line, in pieces", 0, []string{"a", ".b\n"}, "a.b\r\n.\r\n"},
		{"CR is text", 0, []string{"a\r\nb\r.\r\n"}, "a\r\r\nb\r.\r\r\n.\r\n"},
		{"limit not reached", 5, []string{"12345\n"}, "12345\r\n.\r\n"},
		{"limit", 5, []string{"1234567890\n"}, "12345\r\n 6789\r\n 0\r\n.\r\n"},
		{"limit, in pieces", 5, []string{"123", "456\n78"}, "12345\r\n 6\r\n78\r\n.\r\n"},
		{"limit too small", 1, []string{"123\n"}, "123\r\n.\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			d := NewDotWriter(&b)
			d.LineLimit = tt.limit
			for _, part := range tt.parts {
				if n, err := d.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatalf("Write(%q) = %d, %v", part, n, err)
				}
			}
			if err := d.Close(); err != nil || b.String() != tt.want {
				t.Errorf("wrote %q, Close() = %v, want %q", b.String(), err, tt.want)
			}
		})
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestDotWriterError(t *testing.T) {
	broken := errors.New("broken")
	for _, text := range []string{strings.Repeat("abc\n", 20<<10), strings.Repeat(".\n", 40<<10), strings.Repeat("x", 99<<10)} {
		d := NewDotWriter(failingWriter{broken})
		d.LineLimit = 10
		if n, err := d.Write([]byte(text)); !errors.Is(err, broken) || n >= len(text) {
			t.Errorf("Write(%.10q...) = %d, %v, want %v", text, n, err, broken)
		}
		if err := d.Close(); !errors.Is(err, broken) {
			t.Errorf("Close() = %v, want %v", err, broken)
		}
	}
}

// FuzzDotWriter checks that the reader of the server side is its inverse.
func FuzzDotWriter(f *testing.F) {
	f.Add([]byte("a\n.\n..b\r\n\nx"), 3)
	f.Add([]byte(".\r\n.\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		var wire, back bytes.Buffer
		d := NewDotWriter(&wire)
		for rest := text; len(rest) > 0; {
			n := min(max(piece, 1), len(rest))
			_, _ = d.Write(rest[:n])
			rest = rest[n:]
		}
		_ = d.Close()
		want := string(text)
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		r := NewReader(&wire, make([]byte, minBuffer))
		if _, err := r.ReadData(&back, DataPolicy{}); err != nil || back.String() != want {
			t.Errorf("text %q came back as %q, %v", text, back.String(), err)
		}
		if len(r.Buffered()) > 0 {
			t.Errorf("text %q: the end was found before %q", text, r.Buffered())
		}
	})
}

func BenchmarkDotWriter(b *testing.B) {
	text := []byte(strings.Repeat(strings.Repeat("x", 75)+"\n", 1000))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	d := NewDotWriter(io.Discard)
	for b.Loop() {
		_, _ = d.Write(text)
	}
}
