package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/internal/queue"
	"postern/internal/spool"
)

// spoolPatience is how long a server or command waits for a command that holds
// the spool.
const spoolPatience = 10 * time.Second

// openPatiently opens a spool. While a command holds it, it waits, and says so
// once; a server is not waited for.
func openPatiently(ctx context.Context, dir string, o spool.Options, patience time.Duration, log queue.Logger) (*spool.Spool, error) {
	end := time.NewTimer(patience)
	defer end.Stop()
	for said := false; ; said = true {
		sp, err := spool.Open(dir, o)
		var held *spool.LockedError
		if !errors.As(err, &held) || !held.Brief() {
			return sp, err
		}
		if !said {
			log.Infof("%v: waiting for it", held)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-end.C:
			return nil, fmt.Errorf("%w: it is still there after %v", err, patience)
		case <-time.After(lockPause):
		}
	}
}
