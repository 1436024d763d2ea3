package intake

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/spool"
)

type quiet struct{}

func (quiet) Infof(string, ...any)    {}
func (quiet) Warningf(string, ...any) {}

// fullStore has no room when a message is complete.
type fullStore struct{ *spool.Spool }

func (fullStore) Commit(context.Context, spool.Change) ([]*spool.Message, error) {
	return nil, spool.ErrFull
}

// TestRefusedAtTheEnd: nothing of a message stays that the spool did not take,
// in a file or elsewhere.
func TestRefusedAtTheEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s, err := spool.Open(dir, spool.Options{InlineLimit: 10, SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := &Intake{store: fullStore{s}, log: quiet{}}
	letter, reply := in.Begin(0)
	if !reply.IsZero() {
		t.Fatal(reply)
	}
	letter.put(make([]byte, 1<<20))
	if reply := letter.store(t.Context(), spool.Envelope{Recipients: []spool.Recipient{{Address: "john@example.org"}}}, false); reply.Code != 452 {
		t.Errorf("reply = %v, want 452", reply)
	}
	left, err := os.ReadDir(filepath.Join(dir, "bodies"))
	if err != nil || len(left) > 0 {
		t.Errorf("%d texts are left, %v", len(left), err)
	}
}
