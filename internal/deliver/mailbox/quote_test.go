package mailbox

import (
	"bytes"
	"strings"
	"testing"
)

// quoted is what fromQuoter has to make, written the slow way.
func quoted(text string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	var b strings.Builder
	for line := range strings.SplitAfterSeq(text, "\n") {
		if strings.HasPrefix(line, "From ") {
			b.WriteByte('>')
		}
		b.WriteString(line)
	}
	return b.String() + "\n"
}

// quoteInPieces runs the text through a fromQuoter in pieces of a size.
func quoteInPieces(t *testing.T, text []byte, size int) string {
	t.Helper()
	var out bytes.Buffer
	q := fromQuoter{w: &out}
	for len(text) > 0 {
		piece := text[:min(size, len(text))]
		n, err := q.Write(piece)
		if err != nil || n != len(piece) {
			t.Fatalf("Write of %d = %d, %v", len(piece), n, err)
		}
		text = text[n:]
	}
	if err := q.finish(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func FuzzFromQuoter(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "From ", "From", "From \n", "x\nFrom y\nFrom z", ">From \n", "FFrom \nFrFrom \n\nFrom From ", "a\nFro\nFrom \n",
	} {
		f.Add([]byte(seed), 1)
		f.Add([]byte(seed), 3)
		f.Add([]byte(seed), 100)
	}
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		if size < 1 || size > 1<<20 {
			return
		}
		want := quoted(string(text))
		if got := quoteInPieces(t, text, size); got != want {
			t.Errorf("in pieces of %d, %q becomes %q, want %q", size, text, got, want)
		}
	})
}

// FuzzHeader: whatever the addresses hold, each makes one line.
func FuzzHeader(f *testing.F) {
	f.Add("s@client.example", "info@example.org", "john@example.org")
	f.Add("a\nb", "\r\n\r\n", "x\x00@\x7f")
	f.Fuzz(func(t *testing.T, sender, original, to string) {
		got := string(Header(sender, original, to))
		want := 3
		if original == "" {
			want = 2
		}
		if strings.Count(got, "\n") != want || strings.ContainsAny(got, "\r\x00") {
			t.Errorf("Header(%q, %q, %q) = %q, want %d lines", sender, original, to, got, want)
		}
	})
}
