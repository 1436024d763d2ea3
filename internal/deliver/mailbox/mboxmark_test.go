package mailbox

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// mark puts the attribute of an interrupted delivery on john's mbox.
func mark(t testing.TB, base, value string) {
	t.Helper()
	if err := unix.Setxattr(filepath.Join(base, "john"), appendMark, []byte(value), 0); err != nil {
		t.Skipf("no extended attributes here: %v", err)
	}
}

// deliverMarked delivers into an mbox with that content and mark.
func deliverMarked(t testing.TB, s *Store, base, content, value string) string {
	t.Helper()
	put(t, filepath.Join(base, "john"), content)
	mark(t, base, value)
	after, _ := deliverTo(t, s, base, content, attempt(0, received))
	return after
}

// TestPartOfAnother ends the server's work at every octet of an append; then another
// message is delivered. The part is gone, unless it might be whole.
func TestPartOfAnother(t *testing.T) {
	base := newBase(t)
	s := newStore(t, nil)
	next, _ := deliverTo(t, s, base, "", attempt(0, received))
	if _, err := unix.Getxattr(filepath.Join(base, "john"), appendMark, nil); err != unix.ENODATA {
		t.Errorf("mark of a delivery that is done: %v, want none", err)
	}
	died := FromLine("x@client.example", time.Unix(1e9, 0))
	part := string(died) + "Received: x\n\n>From me\n\nthe end\n\n"
	for _, front := range []string{"", other, strings.TrimSuffix(other, "\n")} {
		value := strconv.Itoa(len(front)) + " " + string(died)
		gap := ""
		if front != "" && !strings.HasSuffix(front, "\n\n") {
			gap = "\n"
		}
		for n := range len(part) + 1 {
			content := front + gap + part[:n]
			want := front + gap + next
			switch {
			case n == 0:
				want = content + next
			case strings.HasSuffix(content, "\n\n"): // perhaps whole
				want = content + next
			}
			if got := deliverMarked(t, s, base, content, value); got != want {
				t.Fatalf("killed after %d octets behind %d: got\n%q\nwant\n%q", n, len(front), got, want)
			}
		}
	}
}

// TestMarkOfOthers: a mark never costs anybody his mail, whatever has become of the
// file since.
func TestMarkOfOthers(t *testing.T) {
	base := newBase(t)
	s := newStore(t, nil)
	died := string(FromLine("x@client.example", time.Unix(1e9, 0)))
	size := strconv.Itoa(len(other))
	for _, test := range []struct{ name, content, mark string }{
		{"appended behind the part", other + died + "Received: x\n" + other, size + " " + died},
		{"appended within a line of the part", other + died + "Received: x" + strings.TrimSuffix(other, "\n"), size + " " + died},
		{"appended in the place of the part", other + strings.TrimSuffix(other, "\n"), size + " " + died},
		{"appended behind a quote of the part", other + died + "Received: x\n>" + strings.TrimSuffix(other, "\n"), size + " " + died},
		{"another second", other + strings.Replace(died, ":40 ", ":41 ", 1) + "Received", size + " " + died},
		{"within a message", other, "10 " + died},
		{"shorter", other, "100000 " + died},
		{"no number", other + died + "Rec", "x " + died},
		{"negative", other + died + "Rec", "-1 " + died},
		{"no From line", other + died + "Rec", size},
		{"empty", other + died + "Rec", ""},
	} {
		if got := deliverMarked(t, s, base, test.content, test.mark); !strings.HasPrefix(got, test.content) {
			t.Errorf("%s: got\n%q\nwant it to begin with\n%q", test.name, got, test.content)
		}
	}
}

// TestIsPartInPieces: a "From " is found wherever pieces end.
func TestIsPartInPieces(t *testing.T) {
	base := newBase(t)
	died := FromLine("x@client.example", time.Unix(1e9, 0))
	name := filepath.Join(base, "john")
	rapid.Check(t, func(rt *rapid.T) {
		at := searchPiece - rapid.IntRange(-8, 60).Draw(rt, "at")
		word := rapid.SampledFrom([]string{"\nFrom ", "\n>From ", "xFrom ", "\n>From now on we ", "\n>From x@y Mon Jan"}).Draw(rt, "word")
		text := string(died) + strings.Repeat("a", at-len(died)) + word + strings.Repeat("b", rapid.IntRange(1, 40).Draw(rt, "rest"))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			rt.Fatal(err)
		}
		fd, err := unix.Open(name, unix.O_RDONLY, 0)
		if err != nil {
			rt.Fatal(err)
		}
		defer unix.Close(fd)
		f := &mboxFile{fd: fd}
		part, err := f.isPart(0, int64(len(text)), died)
		if want := word == "\n>From " || word == "\n>From now on we "; err != nil || part != want {
			rt.Errorf("%q at %d: part %v, %v, want %v", word, at, part, err, want)
		}
	})
}
