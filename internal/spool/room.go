package spool

import (
	"fmt"
	"sync"
	"time"
)

// roomAge is how long an answer of Room stands.
const roomAge = time.Second

// room is the newest answer of Room.
type room struct {
	mu    sync.Mutex
	asked time.Time
	err   error
}

// Room is nil when a message of ordinary size would be taken now. ErrFull:
// there is less space than queue_minfree, no free inode, or no space for
// another segment of the log. With Err not nil it is that error. The file
// system is asked at most once a second, so that Room may be asked at every
// MAIL command.
func (s *Spool) Room() error {
	if err := s.Err(); err != nil {
		return err
	}
	if s.j.starved() {
		return fmt.Errorf("spool: %w", ErrFull)
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	now := s.opt.Now()
	if age := now.Sub(s.room.asked); age < 0 || age >= roomAge {
		s.room.asked, s.room.err = now, s.enough(0)
	}
	return s.room.err
}

// enough asks whether the file system has space for a text of that size.
func (s *Spool) enough(size int64) error {
	v, err := s.fs.Volume(s.dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if v.Free < s.opt.QueueMinFree || size > 0 && v.Free/3*2 < size {
		return fmt.Errorf("spool: %w: %d bytes free", ErrFull, v.Free)
	}
	if v.NoInodes {
		return fmt.Errorf("spool: %w: no free inodes", ErrFull)
	}
	return nil
}
