package command

import (
	"bytes"
	"strings"
	"testing"
)

// slow is the plain rule for what a program reads, a line at a time.
func slow(in Input, body string) string {
	eol := in.EOL
	if eol == "" {
		eol = "\n"
	}
	var out strings.Builder
	out.WriteString(strings.ReplaceAll(string(in.Head), "\n", eol))
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if in.Dot && strings.HasPrefix(line, ".") {
			out.WriteByte('.')
		} else if in.Quote && strings.HasPrefix(line, "From ") {
			out.WriteByte('>')
		}
		out.WriteString(line + eol)
	}
	if in.Blank {
		out.WriteString(eol)
	}
	return out.String()
}

func fast(in Input, body string) string {
	var out bytes.Buffer
	in.writeTo(&out, &textReader{body: text(body)})
	return out.String()
}

func TestInput(t *testing.T) {
	for _, in := range inputs {
		for _, body := range bodies {
			if got, want := fast(in, body), slow(in, body); got != want {
				t.Errorf("%+v of %.80q: got %.200q, want %.200q", in, body, got, want)
			}
		}
	}
}

var inputs = []Input{
	{}, {Head: []byte("From x\nA: b\n")}, {EOL: "\r\n", Head: []byte("A: b\n.\n")}, {Dot: true}, {Quote: true}, {Blank: true},
	{Dot: true, Quote: true, Blank: true, EOL: "\r\n", Head: []byte("H: x\n")}, {EOL: "<>"},
}

var bodies = []string{
	"", "\n", "a", "a\n", ".\n..\n", "From a\nFrom\nFrom \n>From \n", "x\n\nFrom y", "Fro", "\n.",
	strings.Repeat("a", inputPiece-1) + "\n.b\n", strings.Repeat("a", inputPiece-2) + "\nFrom b\n",
	strings.Repeat("a", 3*inputPiece) + "\n.\n", strings.Repeat(".\n", inputPiece), strings.Repeat("From \n", inputPiece/2),
	strings.Repeat("a", inputPiece), strings.Repeat("a", inputPiece) + ".\nFrom ",
}

// FuzzInput compares the pieces with the plain rule.
func FuzzInput(f *testing.F) {
	for i := range inputs {
		for _, body := range bodies[:9] {
			f.Add(byte(i), body)
		}
	}
	f.Fuzz(func(t *testing.T, choice byte, body string) {
		in := inputs[int(choice)%len(inputs)]
		if got, want := fast(in, body), slow(in, body); got != want {
			t.Errorf("%+v of %q: got %q, want %q", in, body, got, want)
		}
	})
}
