package helper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/spool"
)

// spent is the processor time of this process, in which both sides run.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkExchange is the way to the helper and back with a message of 4 KiB
// that the policy refuses: what a delivery costs more than in one process.
func BenchmarkExchange(b *testing.B) {
	store := connect(b, &Policy{}).Store(options())
	text := strings.NewReader(strings.Repeat("x", 4<<10))
	bench(b, 1, func(list []mailbox.Delivery) { store.DeliverAll(b.Context(), list) }, text, "/nowhere")
}

// BenchmarkDeliver stores messages of 4 KiB in Maildirs, one or ten at a time,
// by way of the helper and without.
func BenchmarkDeliver(b *testing.B) {
	text := strings.NewReader(strings.Repeat("x", 4<<10))
	for _, batch := range []int{1, 10} {
		name := map[int]string{1: "One", 10: "Ten"}[batch]
		b.Run(name+"/Helper", func(b *testing.B) {
			base := home(b)
			store := connect(b, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}}).Store(options())
			bench(b, batch, func(list []mailbox.Delivery) { deliverAll(b, store, list) }, text, base)
		})
		b.Run(name+"/Direct", func(b *testing.B) {
			base := home(b)
			store := mailbox.New(mailbox.Options{As: privsep.New(), Hostname: "mx.example", Mode: func(string) spool.Mode { return spool.Shared }})
			bench(b, batch, func(list []mailbox.Delivery) { deliverAll(b, store, list) }, text, base)
		})
	}
}

func deliverAll(b *testing.B, d mailbox.Deliverer, list []mailbox.Delivery) {
	for _, o := range mailbox.DeliverAll(b.Context(), d, list) {
		if o.Err != nil {
			b.Fatal(o.Err)
		}
	}
}

// bench reports the processor time of a delivery.
func bench(b *testing.B, batch int, deliver func([]mailbox.Delivery), text mailbox.Body, base string) {
	list := make([]mailbox.Delivery, batch)
	index := 0
	b.ReportAllocs()
	before := spent(b)
	for b.Loop() {
		for i := range list {
			m := message("")
			m.Body, m.Index = text, index
			list[i] = mailbox.Delivery{Box: box(base, "box", route.Maildir), Message: m}
			index++
		}
		deliver(list)
	}
	b.ReportMetric(float64(spent(b)-before)/float64(index), "cpu-ns/delivery")
	_ = os.RemoveAll(filepath.Join(base, "box"))
}
