package intake_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"postern/internal/intake"
)

// awkward are messages whose header is longer than header_size_limit, which is
// 60 octets in these tests, or hard to cut.
var awkward = []string{
	"Subject: " + strings.Repeat("s", 100) + "\nTo: b\n\nbody\n",
	"Subject: a\n" + strings.Repeat(" folded\n", 20) + "Bcc: x\n\nbody\n",
	"Bcc: " + strings.Repeat("x", 100) + "\n " + strings.Repeat("y", 100) + "\nTo: b\n\nbody\n",
	"To: b\nBcc: " + strings.Repeat("x", 100) + "\n",
	"To: b\nBcc: " + strings.Repeat("x", 100),
	"To: b\nSubject: " + strings.Repeat("x", 100),
	strings.Repeat("n", 100) + ": a long name\nBcc: x\n\nbody\n",
	"To: b\n" + strings.Repeat("n", 100) + ": a long name\nBcc: x\n\nbody\n",
	"To: b\n" + strings.Repeat("no field ", 20) + "\nBcc: x\n\nbody\n",
	"Bcc" + strings.Repeat(" ", 80) + ": x\nTo: b\n\nbody\n",
	"Received: " + strings.Repeat("r", 70) + "\n\tmore\nX: y\n\n",
	strings.Repeat("X-Field: value\n", 20) + "Bcc: x\nTo: b\n\nbody\n",
	"Subject: " + strings.Repeat("s", 60) + "\n\n\nbody\n",
	"Subject: " + strings.Repeat("s", 51) + "\n b\n\nbody\n",
	"From " + strings.Repeat("f", 100) + "\nBcc: x\nTo: b\n\nbody\n",
	"A:\n" + strings.Repeat("\t\n", 50) + "\nBcc: body\n",
}

// TestPieces: how a text is cut into pieces makes no difference.
func TestPieces(t *testing.T) {
	w := newWorld(t, "header_size_limit = 60\nundisclosed_recipients_header = To: nobody:;")
	messages := awkward
	for _, n := range network {
		messages = append(messages, n.in)
	}
	for _, src := range []intake.Source{fromNetwork(), fromHere()} {
		for _, message := range messages {
			want := w.taken(src, message)
			for at := range len(message) {
				w.take(src, envelope(), message[:at], message[at:])
			}
			w.take(src, envelope(), strings.Split(message, "")...)
			w.take(src, envelope(), "", message, "")
			for range 20 {
				w.take(src, envelope(), cut(message)...)
			}
			for i, m := range w.messages() {
				if got := text(t, m); got != want {
					t.Fatalf("%q, cut at %d:\n got %q\nwant %q", message, i, got, want)
				}
			}
		}
	}
}

// cut cuts a text into random pieces.
func cut(s string) []string {
	var pieces []string
	for s != "" {
		n := 1 + rand.IntN(min(len(s), 40))
		pieces = append(pieces, s[:n])
		s = s[n:]
	}
	return pieces
}

// TestLongFields: fields beyond header_size_limit are neither cut nor spared.
func TestLongFields(t *testing.T) {
	w := newWorld(t, "header_size_limit = 60")
	long := strings.Repeat("x", 500)
	for _, tt := range []struct{ in, want string }{
		{"Subject: " + long + "\nBcc: y\nTo: b\n\nbody\n", "Subject: " + long + "\nTo: b\n\nbody\n"},
		{"Bcc: " + long + "\n more\nTo: b\n\nbody\n", "To: b\n\nbody\n"},
		{long + ": no name\nBcc: y\n\nbody\n", "\n" + long + ": no name\nBcc: y\n\nbody\n"},
	} {
		if got := w.taken(fromNetwork(), tt.in); got != received+tt.want {
			t.Errorf("got %q, want %q", got, received+tt.want)
		}
	}
}

// TestHopsInPieces: fields are counted wherever the pieces end, also beyond
// header_size_limit.
func TestHopsInPieces(t *testing.T) {
	w := newWorld(t, "header_size_limit = 60\nhopcount_limit = 4")
	message := strings.Repeat("Received: "+strings.Repeat("r", 70)+"\n", 3) + "\n"
	for at := range len(message) {
		if reply := w.take(fromNetwork(), envelope(), message[:at], message[at:]); reply.Code != 554 {
			t.Fatalf("cut at %d: %s", at, reply)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, n := range network {
		f.Add(n.in, uint8(3))
	}
	for _, m := range awkward {
		f.Add(m, uint8(7))
	}
	w := newWorld(f, "header_size_limit = 60")
	f.Fuzz(func(t *testing.T, message string, size uint8) {
		w.t = t
		want := w.taken(fromHere(), message)
		var pieces []string
		for rest := message; rest != ""; {
			n := min(len(rest), int(size)+1)
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		w.take(fromHere(), envelope(), pieces...)
		m := w.messages()[0]
		if got := text(t, m); got != want {
			t.Errorf("%q in pieces of %d: %q, want %q", message, int(size)+1, got, want)
		}
		w.settle(m)
	})
}
