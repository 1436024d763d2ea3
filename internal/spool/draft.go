package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Draft is a message that is being received. It is not safe for concurrent
// use. Nothing of it survives the process before Commit has returned.
type Draft struct {
	spool *Spool
	id    uint64
	size  int64
	crc   uint32
	buf   []byte // the text, or what of it is not in file yet
	file  File   // where a large text goes; nil while it is small
	err   error  // of an earlier Write
	done  bool   // committed or aborted
}

// fileChunk is how much of a large text is gathered before it is written.
const fileChunk = 128 << 10

// Create begins a message. sizeHint is what the client said with SIZE, or 0.
// ErrFull: there is less space than queue_minfree, less than one and a half
// times the hint, no free inode, or no space for another segment of the log.
// While there is plenty, the file system is asked once a second.
func (s *Spool) Create(sizeHint int64) (*Draft, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	if s.j.starved() {
		return nil, fmt.Errorf("spool: %w", ErrFull)
	}
	if !s.room.plenty(s.opt.Now(), sizeHint) {
		if err := s.enough(sizeHint); err != nil {
			return nil, err
		}
	}
	id, err := s.nextID()
	if err != nil {
		return nil, err
	}
	d := &Draft{spool: s, id: id}
	if sizeHint > 0 && sizeHint <= s.opt.InlineLimit {
		d.buf = make([]byte, 0, sizeHint+512) // room for trace headers
	}
	return d, nil
}

// nextID gives out the next id. Every block of ids is reserved in the log
// first, so that a crash cannot make one come up again.
func (s *Spool) nextID() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastID >= s.maxID {
		s.maxID = s.lastID + idBlock
		tick, err := s.putMark()
		if err == nil {
			err = s.j.waitSynced(tick)
		}
		if err != nil {
			s.maxID = s.lastID
			return 0, err
		}
	}
	s.lastID++
	return s.lastID, nil
}

// ID is the queue id of the message: 12 or more of [0-9A-F]. Ids rise
// strictly, over restarts and whatever the clock does, and none is used twice.
func (d *Draft) ID() string { return formatID(d.id) }

// Size is how much was written.
func (d *Draft) Size() int64 { return d.size }

// Write adds to the text, which has LF line ends. Above the inline limit the
// text goes to a file of its own. ErrFull: there is no room for that. After an
// error, and after Commit or Abort, every Write fails.
func (d *Draft) Write(p []byte) (int, error) {
	if d.err == nil && d.done {
		d.err = ErrClosed
	}
	if d.err != nil {
		return 0, d.err
	}
	d.crc = crc32.Update(d.crc, castagnoli, p)
	d.size += int64(len(p))
	d.buf = append(d.buf, p...)
	if d.file == nil && d.size <= d.spool.opt.InlineLimit {
		return len(p), nil
	}
	if d.file == nil || len(d.buf) >= fileChunk {
		if err := d.drain(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// drain moves what is buffered to the draft's file, which it makes if need be.
func (d *Draft) drain() error {
	if d.file == nil {
		d.file, d.err = d.spool.fs.Open(d.spool.bodyName(d.id), os.O_CREATE|os.O_EXCL|os.O_RDWR)
	}
	if d.err == nil {
		_, d.err = d.file.WriteAt(d.buf, d.size-int64(len(d.buf)))
	}
	if noSpace(d.err) {
		d.err = fmt.Errorf("spool: %w: %w", ErrFull, d.err)
	}
	d.buf = d.buf[:0]
	return d.err
}

// Abort forgets the message. After Commit it does nothing, so that it can be
// deferred.
func (d *Draft) Abort() {
	if d.done {
		return
	}
	d.done = true
	d.buf = nil
	if d.file == nil {
		return
	}
	err := d.file.Close()
	err = errors.Join(err, d.spool.fs.Remove(d.spool.bodyName(d.id)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.spool.log.Warningf("%s: remove the text of an aborted message: %v", d.ID(), err)
	}
}

// secure makes the text durable if it has a file of its own.
func (d *Draft) secure() error {
	if d.err == nil && d.done {
		d.err = ErrClosed
	}
	if d.err == nil && d.file != nil && len(d.buf) > 0 {
		d.err = d.drain()
	}
	if d.err == nil && d.file != nil {
		d.err = d.file.Datasync()
	}
	if noSpace(d.err) && !errors.Is(d.err, ErrFull) {
		d.err = fmt.Errorf("spool: %w: %w", ErrFull, d.err)
	}
	return d.err
}

// secureDrafts makes all texts durable that the log only refers to, the files
// of one change at the same time.
func (s *Spool) secureDrafts(news []New) error {
	errs := make([]error, len(news))
	var large sync.WaitGroup
	files := 0
	for i, n := range news {
		if n.Draft.file == nil {
			errs[i] = n.Draft.secure()
			continue
		}
		files++
		large.Go(func() { errs[i] = n.Draft.secure() })
	}
	large.Wait()
	err := errors.Join(errs...)
	if err == nil && files > 0 {
		err = s.fs.SyncDir(filepath.Join(s.dir, bodiesDir))
	}
	if noSpace(err) && !errors.Is(err, ErrFull) {
		err = fmt.Errorf("spool: %w: %w", ErrFull, err)
	}
	return err
}
