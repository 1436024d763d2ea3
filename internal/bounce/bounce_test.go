package bounce

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/spool"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// original is a message that was not delivered.
const original = "Received: from a.example\nFrom: john@example.org\nSubject: hello\n\nthe body\n"

var now = time.Date(2026, 11, 22, 20, 51, 57, 0, time.UTC)

func failure(change func(*Report)) *Report {
	r := &Report{
		Hostname: "mail.example.com", Origin: "example.com", To: "john@example.org", ID: "4F1C0A0012",
		Original: spool.Envelope{Sender: "john@example.org", Arrival: now.Add(-time.Hour)},
		Recipients: []Recipient{{
			Address: "lost@example.com", Original: "lost@example.com", Status: "5.1.1", Reason: `unknown user: "lost@example.com"`,
		}},
		SizeLimit: 50000, RetryUntil: now.Add(5 * 24 * time.Hour), Now: now,
	}
	change(r)
	return r
}

// remote is a failure that another server caused.
var remote = Recipient{
	Address: "jane@remote.example", Original: "all@example.com", ORCPT: "rfc822;All@Example.com", Status: "5.7.1",
	Reason:    "host mx.remote.example[192.0.2.7] said: 550 5.7.1 <jane@remote.example>: this mailbox takes no mail from you, see https://remote.example/why (in reply to RCPT TO command)",
	RemoteMTA: "mx.remote.example", Diagnostic: "550 5.7.1 <jane@remote.example>: this mailbox takes no mail from you, see https://remote.example/why",
}

var golden = []struct {
	name     string
	original string
	report   *Report
	eightBit bool
}{
	{"failure", original, failure(func(*Report) {}), false},
	{"remote", original, failure(func(r *Report) {
		r.Recipients = append(r.Recipients, remote)
		r.Original.EnvID = "order 66"
	}), false},
	{"command", original, failure(func(r *Report) {
		r.Recipients[0].Status, r.Recipients[0].Output = "5.3.0", "some output"
		r.Recipients[0].Reason = "service unavailable. Command output: some output"
	}), false},
	{"expanded", original, failure(func(r *Report) { r.Recipients[0].Original = "two words@example.com" }), false},
	{"headers-asked", original, failure(func(r *Report) { r.Original.Ret = "HDRS" }), false},
	{"headers-large", original, failure(func(r *Report) { r.SizeLimit = int64(len(original)) - 1 }), false},
	{"eight-bit", original + "caf\xe9\n", failure(func(*Report) {}), true},
	{"eight-bit-reason", original, failure(func(r *Report) { r.Recipients[0].Reason = "gibt es nicht: \xfcber" }), true},
	{"eight-bit-left-out", original + "caf\xe9\n", failure(func(r *Report) { r.Original.Ret = "HDRS" }), false},
	{"smtputf8", original, failure(func(r *Report) {
		r.Original.SMTPUTF8, r.Original.Sender, r.To = true, "jürgen@example.org", "jürgen@example.org"
		r.Recipients[0].Address, r.Recipients[0].ORCPT = "用户@example.com", "rfc822;用户@example.com"
	}), true},
	{"smtputf8-headers", original, failure(func(r *Report) { r.Original.SMTPUTF8, r.SizeLimit = true, 0 }), false},
	{"delay", original, failure(func(r *Report) {
		r.Kind = Delay
		r.Recipients[0].Status, r.Recipients[0].Reason = "4.4.1", "connect to mx.example.com[192.0.2.7]:25: Connection refused"
	}), false},
	{"postmaster", original, failure(func(r *Report) { r.Postmaster, r.To = true, "postmaster" }), false},
	{"postmaster-delay", original, failure(func(r *Report) { r.Postmaster, r.Kind, r.To = true, Delay, "postmaster" }), false},
	{"postmaster-double", original, failure(func(r *Report) { r.Postmaster, r.To, r.Original.Sender = true, "postmaster", "" }), false},
	{"success", original, failure(func(r *Report) {
		r.Kind = Success
		r.Recipients = []Recipient{
			{Address: "all@example.com", Action: "expanded", Status: "2.0.0", Reason: "alias expanded"},
			{Address: "john@example.com", Original: "all@example.com", ORCPT: "rfc822;All@example.com", Status: "2.0.0",
				Reason: "delivered to maildir", Relay: "virtual"},
			{Address: "jane@remote.example", Action: "relayed", Status: "2.0.0", Reason: "250 2.0.0 Ok: queued as 1",
				Relay: "mx.remote.example[192.0.2.7]:25", RemoteMTA: "mx.remote.example", Diagnostic: "250 2.0.0 Ok: queued as 1"},
		}
	}), false},
	{"verify", original, failure(func(r *Report) {
		r.Kind, r.Original.Ret = Verify, "FULL"
		r.Recipients[0].Action, r.Recipients[0].Relay = "undeliverable", "none"
		r.Recipients = append(r.Recipients, Recipient{Address: "john@example.com", Status: "2.0.0", Reason: "delivers to maildir", Relay: "virtual"})
	}), false},
	{"threaded", original, failure(func(r *Report) { r.Threaded, r.Original.MessageID = true, "<one@example.org>" }), false},
	{"threaded-forged", original, failure(func(r *Report) { r.Threaded, r.Original.MessageID = true, "<one@example.org>\nBcc: b@c.example\nX: >" }), false},
	{"template", original, failure(func(r *Report) {
		r.Templates, _ = ParseTemplates(strings.NewReader("failure_template = <<E\nCharset: iso-8859-1\nFrom: Post <post>\n"+
			"Subject: Zurueck\n\nZur\xfcck\nE\n"), "t.cf")
	}), true},
	{"no-text", "", failure(func(*Report) {}), false},
	{"hostile", "Subject: x\n\nno end of line", failure(func(r *Report) {
		r.Original.Sender, r.To = "a\nBcc: b@c.example", "a\nBcc: b@c.example"
		r.Original.EnvID = "x\r\nFinal-Recipient: rfc822; forged"
		r.Recipients[0].Reason = "line\nAction: delivered\x00\x1b[2J"
		r.Recipients[0].ORCPT = "rfc822;x\nStatus: 2.0.0"
		r.Recipients[0].Address = "q\" \n@example.com"
	}), false},
}

func compose(t *testing.T, r *Report, original string) (*Notification, string) {
	t.Helper()
	n, err := r.Compose(strings.NewReader(original))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	size, err := n.WriteTo(&b)
	if err != nil || size != int64(b.Len()) || size != n.Size() {
		t.Errorf("WriteTo = %d, %v; wrote %d octets, Size() = %d", size, err, b.Len(), n.Size())
	}
	return n, b.String()
}

func TestGolden(t *testing.T) {
	for _, test := range golden {
		t.Run(test.name, func(t *testing.T) {
			n, got := compose(t, test.report, test.original)
			file := filepath.Join("testdata", test.name+".eml")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
			if n.EightBit != test.eightBit {
				t.Errorf("EightBit = %v, want %v", n.EightBit, test.eightBit)
			}
		})
	}
}

// TestReadable checks every golden case with a reader that is not ours.
func TestReadable(t *testing.T) {
	for _, test := range golden {
		t.Run(test.name, func(t *testing.T) {
			_, text := compose(t, test.report, test.original)
			types, parts := parse(t, text)
			status := []string{"message/delivery-status", "message/global-delivery-status"}
			if len(parts) != 3 || types[0] != "text/plain" || !slices.Contains(status, types[1]) {
				t.Fatalf("parts are %q", types)
			}
			blocks := strings.Split(strings.TrimSpace(parts[1]), "\n\n")
			if len(blocks) != 1+len(test.report.Recipients) {
				t.Errorf("%d blocks in the delivery status for %d recipients", len(blocks), len(test.report.Recipients))
			}
			for _, block := range blocks {
				if _, err := mail.ReadMessage(strings.NewReader(block + "\n\n")); err != nil {
					t.Errorf("block %q: %v", block, err)
				}
			}
			whole := strings.HasSuffix(strings.TrimSpace(parts[2]), strings.TrimSpace(test.original))
			if headers := strings.HasSuffix(types[2], "headers"); whole == headers && test.original != "" {
				t.Errorf("part of type %s is %q", types[2], parts[2])
			}
		})
	}
}

// parse takes a report apart.
func parse(t *testing.T, text string) (types, parts []string) {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if msg.Header.Get("Bcc") != "" || msg.Header.Get("To") == "" {
		t.Errorf("header %v", msg.Header)
	}
	kind, parameters, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" {
		t.Fatalf("type %q, %v", kind, err)
	}
	for r := multipart.NewReader(msg.Body, parameters["boundary"]); ; {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return types, parts
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		types, parts = append(types, kind), append(parts, string(content))
	}
}

func TestFolding(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "\n"},
		{"a  b", "a b\n"},
		{strings.Repeat("x", 100), strings.Repeat("x", 100) + "\n"},
		{strings.Repeat("x", 40) + " " + strings.Repeat("y", 38), strings.Repeat("x", 40) + " " + strings.Repeat("y", 38) + "\n"},
		{strings.Repeat("x", 40) + " " + strings.Repeat("y", 39), strings.Repeat("x", 40) + "\n    " + strings.Repeat("y", 39) + "\n"},
	} {
		var b bytes.Buffer
		writeFolded(&b, test.text)
		if b.String() != test.want {
			t.Errorf("writeFolded(%q) = %q, want %q", test.text, b.String(), test.want)
		}
	}
}

func TestAnEndlessHeaderIsCut(t *testing.T) {
	text := strings.Repeat("X-Filler: "+strings.Repeat("x", 100)+"\n", 10000) + "\nbody\n"
	n, got := compose(t, failure(func(*Report) {}), text)
	if n.Size() > headerLimit+10000 || !strings.Contains(got, "X-Filler") {
		t.Errorf("the notification of a %d octet header has %d octets", len(text), n.Size())
	}
}

// broken fails after some octets.
type broken struct{ good string }

var errBroken = errors.New("input/output error")

func (b broken) Size() int64 { return 1000 }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	return copy(p, b.good[min(off, int64(len(b.good))):]), errBroken
}

func TestReadErrors(t *testing.T) {
	for name, r := range map[string]*Report{
		"whole":   failure(func(*Report) {}),
		"headers": failure(func(r *Report) { r.SizeLimit = 0 }),
	} {
		if _, err := r.Compose(broken{"A: 1\n"}); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), r.ID) {
			t.Errorf("%s: Compose = %v, want the error of reading", name, err)
		}
	}
}

// full takes n octets.
type full struct{ n int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.n {
		return f.n, io.ErrShortWrite
	}
	f.n -= len(p)
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	n, text := compose(t, failure(func(*Report) {}), original)
	for room := range len(text) {
		if _, err := n.WriteTo(&full{room}); !errors.Is(err, io.ErrShortWrite) {
			t.Fatalf("WriteTo with room for %d octets of %d: %v", room, len(text), err)
		}
	}
}

// FuzzReport checks that no text of a sender or a remote server changes the
// shape of a report.
func FuzzReport(f *testing.F) {
	f.Add("john@example.org", "lost@example.com", "", "unknown user", "", "Subject: x\n\nbody\n", "", false)
	f.Add("a@b.example", "c@d.example", "", "delivered", "", "\n", "<id@b.example>", false)
	f.Add("a\nb", "c\rd", "e\x00f", "g\n\nh", "550 i\n--j", "\n\n", "k\n", true)
	f.Add("ü@x", "\xff@y", "\"@z", strings.Repeat("x ", 100), "\t", "", "\x7f", true)
	f.Fuzz(func(t *testing.T, sender, rcpt, orig, reason, diagnostic, text, envid string, utf8 bool) {
		r := failure(func(r *Report) {
			r.To, r.Original.Sender, r.Original.EnvID, r.Original.SMTPUTF8 = sender, sender, envid, utf8
			r.Kind, r.Threaded, r.Original.MessageID = Kind(len(reason)%len(kindNames)), true, envid
			r.Recipients = []Recipient{{Address: rcpt, Original: orig, Status: "5.1.1", Reason: reason, Diagnostic: diagnostic}}
		})
		n, err := r.Compose(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := n.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if n.EightBit == isASCII(b.Bytes()) {
			t.Errorf("EightBit = %v for %q", n.EightBit, b.Bytes())
		}
		head, _, _ := bytes.Cut(n.head, []byte("\n\nThis is a MIME-encapsulated message.\n"))
		want := 8
		if r.messageID() != "" {
			want += 2
		}
		if lines := bytes.Count(head, []byte("\n")) + 1; lines != want {
			t.Errorf("header has %d lines, want %d:\n%s", lines, want, head)
		}
		if n := bytes.Count(n.head, []byte("\n--"+r.boundary()+"\n")); n != 3 {
			t.Errorf("%d parts, want 3", n)
		}
		blocks := bytes.Split(bytes.TrimSpace(r.deliveryStatus()), []byte("\n\n"))
		if len(blocks) != 2 || bytes.Count(blocks[1], []byte("\nAction: ")) != 1 {
			t.Errorf("delivery status is %q", blocks)
		}
	})
}
