package sevenbit

import (
	"bytes"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var conversions = []struct {
	name, in, want string
}{
	{"text",
		"Subject: ü\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n\nGrüße = gut \nend\t\n",
		"Subject: ü\nContent-Type: text/plain; charset=utf-8\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe =3D gut=20\nend=09\n"},
	{"binary, folded, in any case",
		"content-transfer-encoding :\n (really) BINARY\nTo: x\n\n\x00\xff\r\n",
		"To: x\nContent-Transfer-Encoding: quoted-printable\n\n=00=FF=0D\n"},
	{"not labelled", "Subject: x\n\nü\n", "Subject: x\n\nü\n"},
	{"7bit", "Content-Transfer-Encoding: 7bit\n\nü\n", "Content-Transfer-Encoding: 7bit\n\nü\n"},
	{"base64", "Content-Transfer-Encoding: base64\n\nw7w=\n", "Content-Transfer-Encoding: base64\n\nw7w=\n"},
	{"the last label counts", "Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 8bit\n\nü\n", "Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"},
	{"no end of line", "Content-Transfer-Encoding: 8bit\n\nü", "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC"},
	{"header only", "Content-Transfer-Encoding: 8bit\n", "Content-Transfer-Encoding: quoted-printable\n"},
	{"header without end", "Content-Transfer-Encoding: 8bit", "Content-Transfer-Encoding: quoted-printable\n"},
	{"empty", "", ""},
	{"no header", "\nü\n", "\nü\n"},
	{"text at once", "Content-Transfer-Encoding: 8bit\nhello ü\n", "Content-Transfer-Encoding: quoted-printable\n\nhello =C3=BC\n"},
	{"text at once that quoted is like a field", "Content-Transfer-Encoding: 8bit\n\x12Subject: in\nC", "Content-Transfer-Encoding: quoted-printable\n\n=12Subject: in\nC"},
	{"text at once that stays as it is", "Content-Transfer-Encoding: 7bit\nhello you\n", "Content-Transfer-Encoding: 7bit\nhello you\n"},
	{"mbox line", "From x\nContent-Transfer-Encoding: 8bit\n\nü\n", "From x\nContent-Transfer-Encoding: 8bit\n\nü\n"},
	{"soft breaks",
		"Content-Transfer-Encoding: 8bit\n\n" + strings.Repeat("x", 76) + "\n" + strings.Repeat("ü", 13) + "\n",
		"Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("x", 73) + "=\nxxx\n" + strings.Repeat("=C3=BC", 12) + "=C3=\n=BC\n"},
	{"multipart",
		"Content-Type: multipart/mixed (a \"comment\"); foo=bar; boundary=\"a b\\\"c\"\nContent-Transfer-Encoding: 8bit\n\npreamble ü\n--a b\"c\nContent-Transfer-Encoding: 8bit\n\nü\n--a b\"c\n\nü\n--a b\"c\nContent-Transfer-Encoding: 8bit\n\nö\n--a b\"c--\nepilogue ü\n",
		"Content-Type: multipart/mixed (a \"comment\"); foo=bar; boundary=\"a b\\\"c\"\nContent-Transfer-Encoding: 7bit\n\npreamble ü\n--a b\"c\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--a b\"c\n\nü\n--a b\"c\nContent-Transfer-Encoding: quoted-printable\n\n=C3=B6\n--a b\"c--\nepilogue ü\n"},
	{"nested, closed by the outer boundary",
		"Content-Type: Multipart/Mixed;\n boundary=out\n\n--out\nContent-Type: multipart/alternative; boundary=in\n\n--in\nContent-Transfer-Encoding: 8bit\n\nü\n--out\nContent-Transfer-Encoding: 8bit\n\nü\n--in\nü\n--out--\n",
		"Content-Type: Multipart/Mixed;\n boundary=out\n\n--out\nContent-Type: multipart/alternative; boundary=in\n\n--in\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--out\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--in\n=C3=BC\n--out--\n"},
	{"attached message",
		"Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: in\nContent-Transfer-Encoding: 8bit\n\nü\n",
		"Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: in\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"},
	{"encoded message", "Content-Type: message/global\nContent-Transfer-Encoding: base64\n\nContent-Transfer-Encoding: 8bit\n\nü\n", "Content-Type: message/global\nContent-Transfer-Encoding: base64\n\nContent-Transfer-Encoding: 8bit\n\nü\n"},
	{"partial message", "Content-Type: message/partial; id=x\nContent-Transfer-Encoding: 8bit\n\nü\n", "Content-Type: message/partial; id=x\nContent-Transfer-Encoding: 7bit\n\nü\n"},
	{"digest",
		"Content-Type: multipart/digest; boundary=b\n\n--b\n\nContent-Transfer-Encoding: 8bit\n\nü\n--b\nContent-Type: text/plain\n\nContent-Transfer-Encoding: 8bit\n\nü\n--b--\n",
		"Content-Type: multipart/digest; boundary=b\n\n--b\n\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--b\nContent-Type: text/plain\n\nContent-Transfer-Encoding: 8bit\n\nü\n--b--\n"},
	{"boundary in a header", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: 8bit\n--b--\n", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: quoted-printable\n--b--\n"},
	{"comments and escapes",
		"Content-Type: (a (b\\) c) d) multipart (e)/(f)mixed; boundary = \"b\\c\n \" (g\nContent-Transfer-Encoding\t: \"8bit\"\n\n--bc \nContent-Transfer-Encoding: 8bit\n\nü\n",
		"Content-Type: (a (b\\) c) d) multipart (e)/(f)mixed; boundary = \"b\\c\n \" (g\nContent-Transfer-Encoding: 7bit\n\n--bc \nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"},
	{"no type", "Content-Type: ; boundary=b\nContent-Transfer-Encoding: x-own\n\n--b\nContent-Transfer-Encoding: 8bit\n\nü\n", "Content-Type: ; boundary=b\nContent-Transfer-Encoding: x-own\n\n--b\nContent-Transfer-Encoding: 8bit\n\nü\n"},
	{"quote without end", "Content-Type: multipart/mixed; boundary=\"b\n\n--b\nContent-Transfer-Encoding: 8bit\n\nü\n", "Content-Type: multipart/mixed; boundary=\"b\n\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"},
	{"no boundary", "Content-Type: multipart/mixed\nContent-Transfer-Encoding: 8bit\n\nü\n", "Content-Type: multipart/mixed\nContent-Transfer-Encoding: 7bit\n\nü\n"},
	{"boundary too long",
		"Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", maxBoundary+1) + "\n\n--" + strings.Repeat("b", maxBoundary+1) + "\nContent-Transfer-Encoding: 8bit\n\nü\n",
		"Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", maxBoundary+1) + "\n\n--" + strings.Repeat("b", maxBoundary+1) + "\nContent-Transfer-Encoding: 8bit\n\nü\n"},
	{"a field without end", "Content-Type: x\n" + strings.Repeat(" y\n", maxLine/3+1) + "Content-Transfer-Encoding: 8bit\n\nü\n",
		"Content-Type: x\n" + strings.Repeat(" y\n", maxLine/3+1) + "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"},
	{"a long field behind one that matters", "Content-Transfer-Encoding: 8bit\nSubject: " + strings.Repeat("y", 2*maxLine) + "\n\nü\n", "Subject: " + strings.Repeat("y", 2*maxLine) + "\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"},
	{"a long line that is no field", "Content-Transfer-Encoding: 7bit\n<" + strings.Repeat("y", 2*maxLine) + "\nContent-Transfer-Encoding: 8bit\n\nü\n", "Content-Transfer-Encoding: 7bit\n<" + strings.Repeat("y", 2*maxLine) + "\nContent-Transfer-Encoding: 8bit\n\nü\n"},
	{"a soft break in front of what looks like a boundary",
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: 8bit\n\n" + strings.Repeat("x", 73) + "--b ü\n--b--\n",
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("x", 73) + "=\n=2D-b =C3=BC\n--b--\n"},
	{"a boundary without end", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: 8bit\n\nü\n--b--", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--b--"},
	{"a line without end", "Subject: " + strings.Repeat("y", 3*maxLine) + "\nContent-Transfer-Encoding: 8bit\n\n", "Subject: " + strings.Repeat("y", 3*maxLine) + "\nContent-Transfer-Encoding: quoted-printable\n\n"},
}

// convert writes a message in pieces of n octets.
func convert(t testing.TB, in string, n int) string {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out)
	for rest := in; rest != ""; {
		piece := rest[:min(n, len(rest))]
		if got, err := w.Write([]byte(piece)); got != len(piece) || err != nil {
			t.Fatalf("Write(%.20q) = %d, %v", piece, got, err)
		}
		rest = rest[len(piece):]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWriter(t *testing.T) {
	for _, test := range conversions {
		for _, n := range []int{1, 7, 1 << 20} {
			if diff := cmp.Diff(test.want, convert(t, test.in, n)); diff != "" {
				t.Errorf("%s, in pieces of %d: %s", test.name, n, diff)
			}
		}
	}
}

func TestLongLineOfText(t *testing.T) {
	text := strings.Repeat("grüßen ", 30000)
	out := convert(t, "Content-Transfer-Encoding: 8bit\n\n"+text+"\n", 10000)
	_, body, _ := strings.Cut(out, "\n\n")
	for line := range strings.Lines(body) {
		if len(line) > maxQuoted+1 {
			t.Fatalf("a line of %d octets", len(line))
		}
	}
	back, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
	if err != nil || string(back) != text+"\n" {
		t.Errorf("%d octets came back as %d, %v", len(text)+1, len(back), err)
	}
}

func TestDepth(t *testing.T) {
	var in strings.Builder
	for i := range maxDepth + 1 {
		if i > 0 {
			in.WriteString("--" + strings.Repeat("b", i) + "c\n")
		}
		in.WriteString("Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", i+1) + "c\n\n")
	}
	in.WriteString("--" + strings.Repeat("b", maxDepth+1) + "c\nContent-Transfer-Encoding: 8bit\n\nü\n")
	if got := convert(t, in.String(), 1000); got != in.String() {
		t.Error("a part beyond the limit is touched")
	}
}

type failing struct{}

var errFull = errors.New("full")

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestErrors(t *testing.T) {
	w := NewWriter(failing{})
	if _, err := w.Write([]byte(strings.Repeat("x: y\n", 10000))); !errors.Is(err, errFull) {
		t.Errorf("Write: %v", err)
	}
	w = NewWriter(failing{})
	if _, err := w.Write([]byte("x: y\n")); err != nil {
		t.Errorf("Write: %v", err)
	}
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close: %v", err)
	}
}

// FuzzWriter checks that the way a message is cut into pieces does not matter,
// that a second conversion changes nothing, and that a text of one part comes
// back when it is decoded.
func FuzzWriter(f *testing.F) {
	for _, test := range conversions {
		f.Add(test.in, 5)
	}
	f.Fuzz(func(t *testing.T, in string, n int) {
		once := convert(t, in, 1<<20)
		if got := convert(t, in, max(n, 1)); got != once {
			t.Errorf("in pieces of %d: %q, want %q", n, got, once)
		}
		if again := convert(t, once, 1<<20); again != once {
			t.Errorf("a second conversion: %q, want %q", again, once)
		}
		if strings.ContainsAny(in, "\r") {
			return
		}
		_, body, _ := strings.Cut(convert(t, "Content-Transfer-Encoding: 8bit\n\n"+in, 1<<20), "\n\n")
		back, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
		if err != nil || string(back) != in {
			t.Errorf("%q came back as %q, %v", in, back, err)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	text := []byte("Content-Transfer-Encoding: 8bit\n\n" + strings.Repeat("grüße an alle, die das hier lesen können\n", 1000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		w := NewWriter(io.Discard)
		_, _ = w.Write(text)
		_ = w.Close()
	}
}
