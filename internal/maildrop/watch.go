package maildrop

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is how often the directory is looked at besides the watch, for
// file systems that tell nothing.
const pollInterval = 10 * time.Second

// Watch sends on its channel, once at once and then whenever messages may have
// arrived, until ctx ends; then the channel is closed. A signal that finds the
// last one unread is dropped.
func Watch(ctx context.Context, dir string) <-chan struct{} {
	signal := make(chan struct{}, 1)
	poke := func() {
		select {
		case signal <- struct{}{}:
		default:
		}
	}
	events := notify(ctx, dir)
	go func() {
		defer close(signal)
		tick := time.NewTicker(pollInterval)
		defer tick.Stop()
		poke()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			case _, ok := <-events:
				if !ok {
					events = nil
					continue
				}
			}
			poke()
		}
	}()
	return signal
}

// notify reports files that were renamed into dir, as long as inotify(7) works.
func notify(ctx context.Context, dir string) <-chan struct{} {
	events := make(chan struct{}, 1)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		close(events)
		return events
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO); err != nil {
		f.Close()
		close(events)
		return events
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	go func() {
		defer stop()
		defer close(events)
		buf := make([]byte, 4096)
		for {
			if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.EINTR) {
				f.Close()
				return
			}
			select {
			case events <- struct{}{}:
			default:
			}
		}
	}()
	return events
}
