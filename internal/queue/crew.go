package queue

import (
	"context"
	"time"
)

// crew has work done by goroutines that stay for a while: routing and delivering
// go deep, and a goroutine that has been there before has the stack for it.
type crew struct{ work chan func() }

// linger is how long a goroutine of a crew waits for more to do.
const linger = time.Second

func newCrew() crew { return crew{make(chan func())} }

// begin has f done, at once. The goroutine that does it ends with ctx.
func (c crew) begin(ctx context.Context, f func()) {
	select {
	case c.work <- f:
	default:
		go c.stay(ctx, f)
	}
}

// stay does f, and what comes until nothing came for a while.
func (c crew) stay(ctx context.Context, f func()) {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for {
		f()
		timer.Reset(linger)
		select {
		case f = <-c.work:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
