package server

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/maildrop"
	"postern/internal/queue"
	"postern/internal/spool"
)

// TestDrop: what was submitted is found by its id, and nothing else is.
func TestDrop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "maildrop")
	d := drop(dir)
	if ids, err := d.IDs(); len(ids) != 0 || err != nil {
		t.Errorf("IDs of no directory = %q, %v", ids, err)
	}
	if err := maildrop.Make(dir); err != nil {
		t.Fatal(err)
	}
	e := maildrop.Envelope{Sender: `"we ird"@one.test`, Recipients: []string{"x@far.test"}, FromHeader: true, Notify: "NEVER", EnvID: "e1"}
	const text = "To: y@far.test\n\nhello\n"
	if err := maildrop.Submit(dir, e, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"mail.short": "x", "mail.0123456789abcdefBAD": "x", "mail.0123456789abcdef bad": "x",
		"tmp.0123456789abcdef01": "x", "mail.ffffffffffffffffff": "no json\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ids, err := d.IDs()
	if err != nil || len(ids) != 2 {
		t.Fatalf("IDs = %q, %v, want two", ids, err)
	}
	id, bad := ids[0], "FFFFFFFFFFFFFFFFFF"
	if id == bad {
		id = ids[1]
	}
	m, err := d.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want := spool.Envelope{Sender: "we ird@one.test", Arrival: m.Envelope.Arrival, EnvID: "e1", Recipients: []spool.Recipient{
		{Address: "x@far.test", Notify: spool.NotifyNever}, {Address: "y@far.test", Notify: spool.NotifyNever}}}
	if diff := cmp.Diff(want, m.Envelope); diff != "" || m.Envelope.Arrival.IsZero() {
		t.Errorf("envelope (-want +got):\n%s", diff)
	}
	if got, err := io.ReadAll(m.Text); string(got) != text || err != nil {
		t.Errorf("text = %q, %v", got, err)
	}
	if _, err := d.Open(bad); !errors.Is(err, maildrop.ErrBad) {
		t.Errorf("Open(%s) = %v, want ErrBad", bad, err)
	}
	if err := errors.Join(d.Remove(id), d.Remove(bad)); err != nil {
		t.Error(err)
	}
	for _, id := range []string{id, "short", "../../etc/passwd0123456789", "0123456789ABCDEF BAD", ""} {
		if _, err := d.Open(id); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("Open(%q) = %v, want ErrNotFound", id, err)
		}
		if err := d.Remove(id); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("Remove(%q) = %v, want ErrNotFound", id, err)
		}
	}
	if ids, err := drop(filepath.Join(dir, "mail.short")).IDs(); err == nil {
		t.Errorf("IDs of a file = %q, want an error", ids)
	}
}
