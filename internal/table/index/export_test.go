package index

import "context"

// Acquire and Release are for tests that play another process.
func (l Lock) Acquire(ctx context.Context, fd int, exclusive bool) error {
	return l.acquire(ctx, fd, exclusive)
}

func (l Lock) Release(fd int) { l.release(fd) }

func (b *Builder) Overwrite(ctx context.Context, path string, fd int, records *Records) error {
	return b.overwrite(ctx, path, fd, records)
}
