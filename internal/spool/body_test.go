package spool

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestBody(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	defer s.Close()
	text := bytes.Repeat([]byte("0123456789"), 1000)
	for _, n := range []int{0, 10, 8 << 10, 8<<10 + 1, 10_000} {
		m := mustPut(t, s, testEnvelope(n, "a@x.test"), text[:n])
		mustCommit(t, s, Change{Defer: []Postponement{{Message: m}}}) // no longer from memory
		if !bytes.Equal(textOf(t, m), text[:n]) {
			t.Errorf("text of %d bytes differs", n)
		}
		b, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 7)
		if k, err := b.ReadAt(p, int64(n)-3); n >= 3 && (k != 3 || err != io.EOF) {
			t.Errorf("ReadAt at the end of %d = %d, %v", n, k, err)
		}
		b.Close()
	}
	small := mustPut(t, s, testEnvelope(1, "a@x.test"), text[:100])
	big := mustPut(t, s, testEnvelope(1, "a@x.test"), text)
	mustCommit(t, s, Change{Defer: []Postponement{{Message: small}}})
	at := s.index.table.find(small.Number).text
	d.mu.Lock()
	d.files["/spool/bodies/"+big.ID].data[7] ^= 1
	d.files[s.j.segmentName(uint64(at.gen))].data[at.off] ^= 1
	d.mu.Unlock()
	if _, err := small.Open(); !errors.Is(err, ErrDamaged) {
		t.Errorf("Open of a damaged text = %v", err)
	}
	b, err := big.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteTo(io.Discard); !errors.Is(err, ErrDamaged) {
		t.Errorf("WriteTo of a damaged text = %v", err)
	}
	b.Close()
	mustCommit(t, s, settleOf(small, 0, nil))
	if _, err := small.Open(); !errors.Is(err, ErrGone) {
		t.Errorf("Open of a finished message = %v", err)
	}
	if got := textOf(t, Detached("X", Envelope{}, []byte("x"))); string(got) != "x" {
		t.Errorf("detached text %q", got)
	}
	if _, err := new(Message).Open(); !errors.Is(err, ErrGone) {
		t.Errorf("Open of the zero message = %v", err)
	}
}
