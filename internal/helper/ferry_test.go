package helper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"postern/internal/deliver/mailbox"
	"postern/internal/route"
	"postern/internal/spool"
)

// parcelOf is a delivery of a small text.
func parcelOf(base, name, text string) *parcel {
	p := &parcel{list: []mailbox.Delivery{{Box: box(base, name, route.Maildir), Message: message(text)}}, out: make([]mailbox.Outcome, 1)}
	p.size = sizeOf(&p.list[0]) + len(text)
	return p
}

// occupy takes all berths of a ferry, until free is called.
func occupy(f *ferry) (free func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abroad += berths()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.abroad -= berths()
		f.board()
	}
}

// await returns when so many parcels wait.
func await(f *ferry, n int) {
	for {
		f.mu.Lock()
		waiting := len(f.waiting)
		f.mu.Unlock()
		if waiting == n {
			return
		}
		runtime.Gosched()
	}
}

// TestFerry: what comes while all berths are taken goes together, as far as it
// fits in one request, in the order in which it came.
func TestFerry(t *testing.T) {
	tests := []struct {
		name  string
		sizes []int
		want  []int // parcels of each load
	}{
		{"one", []int{100}, []int{1}},
		{"some", []int{100, 5000, 100}, []int{3}},
		{"more octets than a load", []int{maxLoad, maxLoad - 1, 1, 1}, []int{1, 2, 1}},
		{"more deliveries than a load", make([]int, maxShared+2), []int{maxShared, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var order []int
			loads := map[int]int{} // by the first parcel
			f := &ferry{cross: func(load []*parcel) {
				mu.Lock()
				defer mu.Unlock()
				loads[load[0].list[0].Message.Index] = len(load)
				for _, p := range load {
					order = append(order, p.list[0].Message.Index)
					p.out[0].Receipt.Applied = &spool.Applied{}
				}
			}}
			free := occupy(f)
			var all sync.WaitGroup
			for i, size := range tt.sizes {
				p := parcelOf("/mail", "box", "")
				p.size, p.list[0].Message.Index = size, i
				all.Go(func() {
					f.carry(p)
					if p.out[0].Receipt.Applied == nil {
						t.Errorf("parcel %d came back without its outcome", i)
					}
				})
				await(f, i+1)
			}
			free()
			all.Wait()
			first := 0
			for _, n := range tt.want {
				if loads[first] != n {
					t.Errorf("the load of parcel %d has %d, want %d; all: %v", first, loads[first], n, loads)
				}
				first += n
			}
			if len(order) != len(tt.sizes) || f.abroad != 0 || len(f.waiting) != 0 || f.alone.Load() {
				t.Errorf("%d of %d were taken across, %d requests are under way, %d wait, alone: %t",
					len(order), len(tt.sizes), f.abroad, len(f.waiting), f.alone.Load())
			}
		})
	}
}

// TestFerryLate: nobody waits for long for a request that is not answered, and
// while there is one, nobody gets into a load with another such.
func TestFerryLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		longest := 0 // load while something hangs
		var mu sync.Mutex
		f := &ferry{cross: func(load []*parcel) {
			if load[0].list[0].Box.Path == "/mail/hangs" {
				<-hang
				return
			}
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, len(load))
		}}
		var all, hanging sync.WaitGroup
		for range berths() {
			hanging.Go(func() { f.carry(parcelOf("/mail", "hangs", "")) })
		}
		synctest.Wait()
		for range 10 {
			all.Go(func() { f.carry(parcelOf("/mail", "box", "")) })
		}
		synctest.Wait()
		if n := len(f.waiting); n != 10 {
			t.Errorf("%d wait for a request that is not late yet, want 10", n)
		}
		all.Wait()
		f.carry(parcelOf("/mail", "box", ""))
		if longest != 1 {
			t.Errorf("%d went together while a request was late", longest)
		}
		close(hang)
		hanging.Wait()
		if f.abroad != 0 || f.late != 0 {
			t.Errorf("%d requests are under way, %d late", f.abroad, f.late)
		}
		free := occupy(f)
		for range 10 {
			all.Go(func() { f.carry(parcelOf("/mail", "box", "")) })
		}
		synctest.Wait()
		free()
		all.Wait()
		if longest != 10 {
			t.Errorf("%d went together after the late request had ended, want 10", longest)
		}
	})
}

// TestShares: what waits for a lock or for the disk, and what is large, goes by
// itself.
func TestShares(t *testing.T) {
	tests := []struct {
		name   string
		each   bool
		change func(*mailbox.Delivery)
		want   bool
	}{
		{"small", false, func(*mailbox.Delivery) {}, true},
		{"mailbox_sync = each", true, func(*mailbox.Delivery) {}, false},
		{"mbox", false, func(d *mailbox.Delivery) { d.Box.Format = route.Mbox }, false},
		{"durable", false, func(d *mailbox.Delivery) { d.Message.Durable = true }, false},
		{"large text", false, func(d *mailbox.Delivery) { d.Message.Body = strings.NewReader(strings.Repeat("x", maxParcel)) }, false},
		{"large header", false, func(d *mailbox.Delivery) { d.Message.Header = make([]byte, maxParcel) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options()
			o.SyncEach = tt.each
			p := parcelOf("/mail", "box", "text\n")
			tt.change(&p.list[0])
			if got := (&Client{}).Store(o).shares(p); got != tt.want {
				t.Errorf("shares = %t, want %t", got, tt.want)
			}
		})
	}
}

// TestFerryFindsSync: where deliveries turn out to be synced one by one, each
// goes by itself from then on.
func TestFerryFindsSync(t *testing.T) {
	s := (&Client{}).Store(options())
	f := s.ferry("/mail")
	f.cross = func(load []*parcel) { load[0].out[0].Err = io.EOF }
	f.carry(parcelOf("/mail", "box", ""))
	if s.ferry("/mail") != f {
		t.Error("a delivery that failed ended the ferry")
	}
	f.cross = func([]*parcel) {}
	f.carry(parcelOf("/mail", "box", ""))
	if s.ferry("/mail") != nil || s.ferry("/home") == nil {
		t.Error("a delivery that was durable at once did not end the ferry of its base, or ended another")
	}
	for i := range maxFerries {
		s.ferry(fmt.Sprint("/home/", i))
	}
	if n := len(s.ferries); n != maxFerries {
		t.Errorf("%d ferries are kept, want %d", n, maxFerries)
	}
}

// broken is a text that cannot be read.
type broken struct{}

func (broken) Size() int64                       { return 5 }
func (broken) ReadAt([]byte, int64) (int, error) { return 0, os.ErrInvalid }

// TestDeliverTogether: deliveries of many callers in one request have their own
// text, mailbox and outcome each.
func TestDeliverTogether(t *testing.T) {
	base := home(t)
	store := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}}).Store(options())
	f := store.ferry(base)
	free := occupy(f)
	const n = 30
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		b, m := box(base, fmt.Sprint("box", i), route.Maildir), message(fmt.Sprintf("text %d\n", i))
		switch {
		case i == 0 || i == 11:
			m.Body = broken{}
		case i == 12:
			b.Path = "/elsewhere"
		}
		all.Go(func() {
			var r mailbox.Receipt
			if r, errs[i] = store.Deliver(t.Context(), b, m); errs[i] == nil && !strings.HasPrefix(r.Applied.Path, b.Path+"/new/") {
				t.Errorf("mailbox %s has the receipt of %s", b.Path, r.Applied.Path)
			}
		})
		await(f, i+1)
	}
	free()
	all.Wait()
	for i, err := range errs {
		var known *mailbox.Error
		switch {
		case i == 0 || i == 11:
			if !errors.As(err, &known) || !known.Temporary || !errors.Is(err, os.ErrInvalid) {
				t.Errorf("a text that cannot be read: %v", err)
			}
		case i == 12:
			if !errors.As(err, &known) || !errors.Is(err, ErrRefused) {
				t.Errorf("a mailbox elsewhere: %v, want %v", err, ErrRefused)
			}
		case err != nil:
			t.Errorf("delivery %d: %v", i, err)
		default:
			want := fmt.Sprintf("Delivered-To: john@example.org\ntext %d\n", i)
			if got := readNew(t, fmt.Sprint(base, "/box", i)); got != want {
				t.Errorf("mailbox %d has %q, want %q", i, got, want)
			}
		}
	}
	if store.ferry(base) == nil {
		t.Error("the ferry has ended")
	}
}

// TestNothingReadable: when no text of a request can be read, nothing is asked.
func TestNothingReadable(t *testing.T) {
	base := home(t)
	store := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}}).Store(options())
	m := message("")
	m.Body = broken{}
	for range 2 {
		if _, err := store.Deliver(t.Context(), box(base, "box", route.Maildir), m); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("Deliver = %v, want %v", err, os.ErrInvalid)
		}
	}
}

// TestBadDeliveries: what is no request ends the connection.
func TestBadDeliveries(t *testing.T) {
	one := appendUint(nil, 1)
	d := mailbox.Delivery{Box: route.Mailbox{Path: "/mail/john", Base: "/mail", UID: 5000, GID: 5000}, Message: message("")}
	one = appendDelivery(one, &d)
	inline := appendString(appendUint(one[:len(one):len(one)], 5), "text\n")
	asked := appendUint(appendUint(one[:len(one):len(one)], maxInline+1), 0)
	join := func(parts ...[]byte) []byte {
		o := options()
		b := appendBytes(nil, o.append(nil))
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	tests := []struct {
		name    string
		payload []byte
		texts   int // 0: refused
	}{
		{"one", join(inline), 1},
		{"two", join(inline, inline), 2},
		{"one in pieces", join(asked), 1},
		{"none", join(), 0},
		{"in pieces, then another", join(asked, inline), 0},
		{"one, then in pieces", join(inline, asked), 0},
		{"a part of the text", join(appendString(appendUint(one[:len(one):len(one)], 6), "text\n")), 0},
		{"more than the text", join(appendString(appendUint(one[:len(one):len(one)], 4), "text\n")), 0},
		{"more deliveries than octets", join(appendUint(nil, 100)), 0},
		{"too many", join(appendUint(nil, maxList+1), make([]byte, 2*maxList)), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fields{b: tt.payload}
			f.bytes(4 << 10)
			_, texts := (&worker{}).deliveries(&f)
			if got := len(texts); f.end() != nil && tt.texts > 0 || f.end() == nil && got != tt.texts {
				t.Errorf("%d texts, %v; want %d", got, f.end(), tt.texts)
			}
		})
	}
}
