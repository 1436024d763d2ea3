package spool

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// Names in the spool directory.
const (
	lockName      = "lock"
	formatName    = "format"
	logDir        = "log"
	bodiesDir     = "bodies"
	quarantineDir = "quarantine"
	indexDir      = "index"
)

// formatLine begins the format file of every spool that this program reads.
const formatLine = "postern spool 1"

// maxSegment bounds spool_segment_size, and what of a file is read.
const maxSegment = 1 << 30

// Open takes the lock of the spool in dir, makes the spool when the directory
// is empty or absent, and recovers what is in it. Another process that holds it
// is named by a *LockedError, which is an ErrLocked. ErrFormat: another version wrote it. A directory on a network
// or user-space file system is refused.
//
// Open changes nothing of what cannot be read: damaged bytes are copied to
// quarantine and a warning says so.
func Open(dir string, o Options) (*Spool, error) {
	s := &Spool{
		dir: dir, opt: o.withDefaults(),
		index: newIndex(),
		texts: map[uint64][]byte{},
		lazy:  make(chan struct{}, 1),
		due:   make(chan struct{}, 1),
		stop:  make(chan struct{}),
	}
	s.fs, s.log = s.opt.FS, s.opt.Log
	s.devices.open = map[uint64]*device{}
	if s.opt.SegmentSize > maxSegment {
		return nil, fmt.Errorf("spool: segment size %d is more than %d", s.opt.SegmentSize, maxSegment)
	}
	if err := s.open(); err != nil {
		if s.j != nil {
			s.j.stopPreparing(s.stop)
			s.tasks.Wait()
		}
		return nil, errors.Join(fmt.Errorf("spool %s: %w", dir, err), s.release())
	}
	if len(s.sealed) > 0 {
		nudge(s.due) // every start leaves a segment behind, with little in it
	}
	s.tasks.Go(s.keepHouse)
	s.tasks.Go(s.syncLazily)
	return s, nil
}

func (s *Spool) open() error {
	if err := s.fs.Mkdir(s.dir); err != nil {
		return err
	}
	v, err := s.fs.Volume(s.dir)
	if err != nil {
		return err
	}
	if v.Remote {
		return fmt.Errorf("a file system of type %s does not keep what was synced; use a local one", v.Type)
	}
	for _, sub := range []string{logDir, bodiesDir, quarantineDir, indexDir} {
		if err := s.fs.Mkdir(filepath.Join(s.dir, sub)); err != nil {
			return err
		}
	}
	s.lock, err = s.fs.Lock(filepath.Join(s.dir, lockName), holderID(s.opt.Command))
	if err != nil {
		return err
	}
	secret, err := s.identity()
	if err != nil {
		return err
	}
	s.j = newJournal(s.fs, filepath.Join(s.dir, logDir), s.opt.SegmentSize, secret, &s.opt)
	return s.recover()
}

// identity reads the format file, or writes that of a new spool.
func (s *Spool) identity() (salt, error) {
	var secret salt
	name := filepath.Join(s.dir, formatName)
	b, err := readFile(s.fs, name, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return s.found(name)
	}
	if err != nil {
		return secret, err
	}
	first, rest, _ := strings.Cut(string(b), "\n")
	if first != formatLine {
		return secret, fmt.Errorf("%s: %w: %.40q, this program reads %q", name, ErrFormat, first, formatLine)
	}
	key, ok := strings.CutPrefix(strings.TrimSpace(rest), "key ")
	if n, err := hex.Decode(secret[:], []byte(key[:min(len(key), 2*len(secret))])); !ok || err != nil || n != len(secret) {
		return secret, fmt.Errorf("%s: %w: no key", name, ErrDamaged)
	}
	return secret, nil
}

// found makes a new spool. The format file comes into being before the first
// segment, so a log without it is not ours to touch.
func (s *Spool) found(name string) (salt, error) {
	var secret salt
	list, err := s.fs.ReadDir(filepath.Join(s.dir, logDir))
	if err != nil {
		return secret, err
	}
	for _, segment := range list {
		if _, ok := parseGeneration(segment); ok {
			return secret, fmt.Errorf("%w: there is a log, but the file %s is missing", ErrFormat, name)
		}
	}
	if _, err := io.ReadFull(s.opt.Rand, secret[:]); err != nil {
		return secret, fmt.Errorf("random bytes: %w", err)
	}
	text := fmt.Sprintf("%s\nkey %s\n", formatLine, hex.EncodeToString(secret[:]))
	if err := writeFile(s.fs, name, []byte(text)); err != nil {
		return secret, err
	}
	return secret, s.fs.SyncDir(filepath.Dir(s.dir))
}

// Close makes a last checkpoint and, if the next Open would have much to read, a
// snapshot; it releases the lock and closes all files. What
// is in the spool is there at the next Open. Everything called afterwards
// fails with ErrClosed; drafts that are still open are to be aborted before.
func (s *Spool) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	s.j.stopPreparing(s.stop)
	s.tasks.Wait()
	s.checkpointing.Lock()
	defer s.checkpointing.Unlock()
	err := s.checkpoint()
	if err == nil && s.lag() > s.j.size {
		err = s.snapshot()
	}
	if err == nil {
		err = s.farewell()
	}
	if errors.Is(err, ErrFull) {
		err = nil // nothing is lost, the log is only less tidy
	}
	s.j.mu.Lock()
	s.j.err = ErrClosed
	s.j.change.Broadcast()
	s.j.mu.Unlock()
	return errors.Join(err, s.release())
}

// farewell records which ids were really given out.
func (s *Spool) farewell() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxID = s.lastID
	tick, err := s.putMark()
	if err != nil {
		return err
	}
	return s.j.waitSynced(tick)
}

// release gives back what the process holds.
func (s *Spool) release() error {
	s.closeDevices()
	var errs []error
	if s.j != nil {
		s.j.mu.Lock()
		list := append(append([]*segment{}, s.sealed...), append(s.j.spares, s.j.unnamed...)...)
		if s.j.active != nil {
			list = append(list, s.j.active)
		}
		s.j.mu.Unlock()
		for _, seg := range list {
			errs = append(errs, seg.file.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
