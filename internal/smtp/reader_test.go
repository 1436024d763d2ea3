package smtp

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadLine(t *testing.T) {
	long := strings.Repeat("x", 4*minBuffer)
	tests := []struct {
		name, in string
		limit    int
		want     string
		bare     bool
		cut      bool
	}{
		{"CRLF", "NOOP\r\n", 100, "NOOP", false, false},
		{"LF", "NOOP\n", 100, "NOOP", true, false},
		{"CRCRLF", "NOOP\r\r\n", 100, "NOOP", false, false},
		{"empty", "\r\n", 100, "", false, false},
		{"bare CR", "NO\rOP\r\n", 100, "NO\rOP", false, false},
		{"cut", "NOOP x\r\n", 4, "NOOP", false, true},
		{"exact", "NOOP\r\n", 4, "NOOP", false, false},
		{"beyond the buffer", long + "\r\n", 1000, long, false, false},
		{"beyond the buffer, LF", long + "\n", 1000, long, true, false},
		{"beyond the buffer, cut", long + "\r\n", 10, long[:10], false, true},
		{"fills the buffer", long[:minBuffer] + "\r\n", 1000, long[:minBuffer], false, false},
	}
	for _, tt := range tests {
		for name, rd := range map[string]io.Reader{
			"at once":   strings.NewReader(tt.in + "NEXT\r\n"),
			"octetwise": iotest.OneByteReader(strings.NewReader(tt.in + "NEXT\r\n")),
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				r := NewReader(rd, make([]byte, minBuffer))
				got, err := r.ReadLine(tt.limit)
				if err != nil || string(got.Text) != tt.want || got.BareLF != tt.bare || got.Cut != tt.cut {
					t.Errorf("ReadLine(%q, %d) = %q, %+v, %v, want %q", tt.in, tt.limit, got.Text, got, err, tt.want)
				}
				if next, err := r.ReadLine(100); err != nil || string(next.Text) != "NEXT" {
					t.Errorf("after %q: %q, %v, want NEXT", tt.in, next.Text, err)
				}
			})
		}
	}
}

func TestReadLineCutConnection(t *testing.T) {
	for _, in := range []string{"", "NOOP", "NOOP\r", strings.Repeat("x", 500)} {
		if line, err := NewReader(strings.NewReader(in), nil).ReadLine(10); err != io.EOF {
			t.Errorf("ReadLine(%.10q) = %q, %v, want %v", in, line.Text, err, io.EOF)
		}
	}
}

func TestReaderSwap(t *testing.T) {
	r := NewReader(strings.NewReader("one\r\n"+strings.Repeat("y", 200)+"\r\n"), make([]byte, 300))
	if r.HasLine() {
		t.Error("HasLine before the first read")
	}
	if _, err := r.ReadLine(100); err != nil {
		t.Fatal(err)
	}
	if !r.HasLine() || len(r.Buffered()) != 202 {
		t.Fatalf("%d octets are buffered, HasLine %v, want 202, true", len(r.Buffered()), r.HasLine())
	}
	if _, ok := r.Swap(make([]byte, 100)); ok {
		t.Error("Swap to a buffer that is too small succeeds")
	}
	if _, ok := r.Swap(make([]byte, 1)); ok {
		t.Error("Swap to a buffer of one octet succeeds")
	}
	old, ok := r.Swap(make([]byte, 202))
	if !ok || len(old) != 300 {
		t.Errorf("Swap = %d octets, %v, want 300, true", len(old), ok)
	}
	if line, err := r.ReadLine(300); err != nil || len(line.Text) != 200 {
		t.Errorf("after Swap ReadLine has %d octets, %v, want 200", len(line.Text), err)
	}
}

func TestReaderSkip(t *testing.T) {
	r := NewReader(strings.NewReader(strings.Repeat("x", 1000)+"NOOP\r\n"), nil)
	if err := r.Skip(1000); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadLine(10); err != nil || string(line.Text) != "NOOP" {
		t.Errorf("after Skip: %q, %v, want NOOP", line.Text, err)
	}
	if err := r.Skip(1); err != io.EOF {
		t.Errorf("Skip at the end = %v, want %v", err, io.EOF)
	}
}
