package helper

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/spool"
)

// samples are requests as a client sends them.
func samples() map[kind][]byte {
	d := mailbox.Delivery{Box: route.Mailbox{Path: "/mail/john", Base: "/mail", Format: route.Mbox, UID: 5000, GID: 5001, User: "john"},
		Message: message("")}
	o := options()
	deliver := appendUint(appendDelivery(appendUint(appendBytes(nil, o.append(nil)), 1), &d), 5)
	spec := command.Spec{As: privsep.Identity{UID: 1, GID: 2, Groups: []int{3}}, Argv: []string{"/bin/true", ""}, Env: []string{"A=b"},
		Dir: "/", Limit: time.Second, Output: 10}
	return map[kind][]byte{
		askDeliver: appendString(deliver, "text\n"),
		askRun:     appendSpec(nil, &spec),
		askRead:    appendInt(appendString(appendIdentity(nil, spec.As), "/home/john/.forward"), 100),
		askOpen:    appendString(nil, "/etc/passwd"),
		askLog:     appendString(nil, "/var/log/mail.log"),
		askListen:  appendString(nil, "tcp 127.0.0.1:25"),
		askRefresh: appendUint(nil, refreshPrepare),
		askPresent: nil,
		askMaildir: appendString(nil, "/mail/john"),
		askDevice:  appendString(nil, "/mail"),
		askSync:    appendUint(nil, 7),
		askMail:    appendApplied(appendUint(appendUint(nil, mailSecure), 1), &spool.Applied{Path: "/mail/john/new/1", Dev: 7, Length: 5, CRC: 9}),
	}
}

// nobody is a Runner that becomes nobody.
type nobody struct{}

func (nobody) Do(privsep.Identity, func() error) error { return unix.EPERM }

// FuzzRequest throws bytes at a worker: whatever they are, it answers or ends the
// connection, and does nothing that the empty policy does not allow.
func FuzzRequest(f *testing.F) {
	for k, payload := range samples() {
		f.Add(byte(k), payload)
	}
	h := &Helper{o: Options{As: nobody{}, Policy: func() (*Policy, error) { return &Policy{}, nil }},
		stores: map[string]*mailbox.Store{}}
	h.policy.Store(&Policy{})
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	unix.Close(pair[1]) // answers go nowhere
	w := worker{helper: h, link: newLink(pair[0])}
	f.Fuzz(func(t *testing.T, k byte, payload []byte) {
		err := w.carryOut(context.Background(), kind(k), &fields{b: payload})
		if err == nil {
			t.Errorf("request %d %q was answered", k, payload)
		}
	})
}

// FuzzAnswer decodes bytes as the answers of a helper.
func FuzzAnswer(f *testing.F) {
	r := mailbox.Receipt{Applied: &spool.Applied{Path: "/mail/john/new/1", Dev: 7, Length: 5, CRC: 9}}
	f.Add(appendReceipt(nil, &r, nil))
	f.Add(appendReceipt(nil, nil, &mailbox.Error{DSN: "4.2.0", Reason: "reason", Temporary: true, Err: unix.EACCES}))
	f.Add(appendFailure(nil, privsep.ErrRoot))
	f.Add(appendResult(nil, &command.Result{Status: -1, Signal: 9, Output: []byte("output")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := fields{b: b}
		if receipt, err := in.receipt(); in.end() == nil {
			out := fields{b: appendReceipt(nil, &receipt, err)}
			again, errAgain := out.receipt()
			if out.end() != nil || !reflect.DeepEqual(receipt, again) || (err == nil) != (errAgain == nil) {
				t.Errorf("%q: %+v, %v became %+v, %v", b, receipt, err, again, errAgain)
			}
		}
		in = fields{b: b}
		if result := in.result(); in.end() == nil {
			out := fields{b: appendResult(nil, &result)}
			if again := out.result(); out.end() != nil || !cmp.Equal(result, again) {
				t.Errorf("%q: %+v became %+v", b, result, again)
			}
		}
	})
}

// TestRoundTrip: what is sent is what arrives.
func TestRoundTrip(t *testing.T) {
	d := mailbox.Delivery{Box: route.Mailbox{Path: "/mail/john", Base: "/mail", Format: route.Mbox, UID: 5000, GID: 5001, User: "john"},
		Message: message("")}
	d.Message.Body, d.Message.Attempt, d.Message.Durable = nil, 4, true
	f := fields{b: appendDelivery(nil, &d)}
	if diff := cmp.Diff(d, f.delivery()); diff != "" || f.end() != nil {
		t.Errorf("delivery (-sent +received):\n%s", diff)
	}
	d.Message.Arrival, d.Box.UID = time.Time{}, -5
	f = fields{b: appendDelivery(nil, &d)}
	d.Box.UID = 0 // none
	if diff := cmp.Diff(d, f.delivery()); diff != "" || f.end() != nil {
		t.Errorf("delivery (-sent +received):\n%s", diff)
	}
	o := options()
	o.StrictOwner, o.SyncEach, o.Limit = true, true, 51200000
	f = fields{b: o.append(nil)}
	if diff := cmp.Diff(o, f.storeOptions()); diff != "" || f.end() != nil {
		t.Errorf("options (-sent +received):\n%s", diff)
	}
	s := command.Spec{As: privsep.Identity{UID: 1, GID: 2, Groups: []int{3, 4}}, Argv: []string{"a", ""}, Env: []string{"A=b"}, Dir: "/",
		Limit: time.Second, Output: 10}
	f = fields{b: appendSpec(nil, &s)}
	if diff := cmp.Diff(s, f.spec()); diff != "" || f.end() != nil {
		t.Errorf("spec (-sent +received):\n%s", diff)
	}
}

// TestMalformed cuts and lengthens every request: none of that is a request.
func TestMalformed(t *testing.T) {
	h := &Helper{o: Options{As: nobody{}}, stores: map[string]*mailbox.Store{}}
	h.policy.Store(&Policy{})
	w := worker{helper: h, link: &link{}}
	for k, payload := range samples() {
		for cut := range payload {
			if err := w.carryOut(t.Context(), k, &fields{b: payload[:cut]}); !errors.Is(err, errFrame) {
				t.Errorf("request %d cut to %d of %d bytes = %v", k, cut, len(payload), err)
			}
		}
		if err := w.carryOut(t.Context(), k, &fields{b: append(payload, 0)}); !errors.Is(err, errFrame) {
			t.Errorf("request %d with a byte more = %v", k, err)
		}
	}
	if err := w.carryOut(t.Context(), answer, &fields{}); !errors.Is(err, errFrame) {
		t.Errorf("an answer as a request = %v", err)
	}
}

// TestFrames: frames that lie about their length end the connection.
func TestFrames(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"too long":   {0, 0, 0, 0x7f, 1},
		"two frames": {0, 0, 0, 0, 1, 0, 0, 0, 0, 1},
		"short":      {9, 0, 0, 0, 1, 2},
	} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		other, l := newLink(pair[1]), newLink(pair[0])
		if err := other.write(bytes); err != nil {
			t.Fatal(err)
		}
		other.close()
		if _, _, err := l.receive(); err == nil {
			t.Errorf("%s: no error", name)
		}
		l.close()
	}
	l := link{}
	if err := l.send(make([]byte, maxFrame+headLength+1)); !errors.Is(err, errFrame) {
		t.Errorf("send of a frame that is too long = %v", err)
	}
}
