package spool

import (
	"fmt"
	"sync"
	"time"
)

// roomAge is how long an answer of Room stands.
const roomAge = time.Second

// room is what is known of the space that is left.
type room struct {
	mu    sync.Mutex
	asked time.Time // the newest answer of Room
	err   error

	seen  time.Time // when the file system was asked last
	spare int64     // bytes free beyond queue_minfree; 0: there is no free inode
}

// ample is so much free space that it is not used up within roomAge.
const ample = 1 << 30

// plenty reports that there was ample space for a text of that size a moment ago.
func (r *room) plenty(now time.Time, size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	age := now.Sub(r.seen)
	return r.spare >= ample && r.spare/3*2 >= size && age >= 0 && age < roomAge
}

// saw notes what the file system says.
func (r *room) saw(now time.Time, v Volume, minimum int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.spare = now, v.Free-minimum
	if v.NoInodes {
		r.spare = 0
	}
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
	now := s.opt.Now()
	s.room.mu.Lock()
	age, err := now.Sub(s.room.asked), s.room.err
	s.room.mu.Unlock()
	if age >= 0 && age < roomAge {
		return err
	}
	err = s.enough(0)
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.room.asked, s.room.err = now, err
	return err
}

// enough asks whether the file system has space for a text of that size.
func (s *Spool) enough(size int64) error {
	v, err := s.fs.Volume(s.dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.room.saw(s.opt.Now(), v, s.opt.QueueMinFree)
	if v.Free < s.opt.QueueMinFree || size > 0 && v.Free/3*2 < size {
		return fmt.Errorf("spool: %w: %d bytes free", ErrFull, v.Free)
	}
	if v.NoInodes {
		return fmt.Errorf("spool: %w: no free inodes", ErrFull)
	}
	return nil
}
