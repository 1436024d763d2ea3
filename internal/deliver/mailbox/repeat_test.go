package mailbox

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"postern/internal/route"
	"postern/internal/spool"
)

// TestRepeatAsksForItsDevice: whether an earlier delivery that is found has to
// be synced is a matter of the file system that it is on.
func TestRepeatAsksForItsDevice(t *testing.T) {
	base := newBase(t)
	put(t, filepath.Join(base, "john/cur", stem+".mx.example:2,S"), whole)
	store := newStore(t, func(o *Options) { o.Mode = func(string) spool.Mode { return spool.Each } })
	m := newMessage()
	m.Attempt = 1
	receipt, err := store.Deliver(t.Context(), newBox(base, "john", route.Maildir), m)
	if err != nil || !receipt.Repeated || receipt.Applied != nil {
		t.Fatalf("Deliver = %+v, %v; want a durable repeat", receipt, err)
	}
	if got, want := slices.Collect(maps.Keys(store.modes)), []uint64{device(t, base)}; !slices.Equal(got, want) {
		t.Errorf("modes were asked of devices %v, want %v", got, want)
	}
}

// TestLowerLimit: a message that is there already is not refused for a limit
// that was set since.
func TestLowerLimit(t *testing.T) {
	base := newBase(t)
	put(t, base+"/john/new/"+stem+".mx.example", whole)
	mkdir(t, base+"/john/tmp")
	m := newMessage()
	m.Attempt = 1
	store := newStore(t, func(o *Options) { o.Limit = 10 })
	receipt, err := store.Deliver(t.Context(), newBox(base, "john", route.Maildir), m)
	if err != nil || !receipt.Repeated {
		t.Errorf("Deliver = %+v, %v, want a repeat", receipt, err)
	}
}

// TestModeOfAnotherDevice: what is true of the file system of a Maildir is not
// believed of another that is found below it.
func TestModeOfAnotherDevice(t *testing.T) {
	base := newBase(t)
	store := newStore(t, func(o *Options) { o.Mode = func(string) spool.Mode { return spool.Shared } })
	dev := device(t, base)
	if got := store.mode(dev+1, base); got != spool.Each {
		t.Errorf("mode of another device = %v, want Each", got)
	}
	if got := store.mode(dev, base); got != spool.Shared {
		t.Errorf("mode of the device = %v, want Shared", got)
	}
}
