package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// evacuate moves the messages of the oldest segments to the head of the log,
// while more than half of the log is dead. So a slow destination never pins a
// segment, the log is never much larger than twice what it holds, and what is
// moved is at most as much as what is written newly.
func (s *Spool) evacuate() (moved bool, err error) {
	s.mu.Lock()
	candidates := len(s.sealed)
	s.mu.Unlock()
	for ; candidates > 0; candidates-- {
		s.mu.Lock()
		oldest := s.sparse()
		s.mu.Unlock()
		if oldest == nil {
			break
		}
		if err := s.empty(oldest); err != nil {
			return moved, err
		}
		moved = true
	}
	return moved, nil
}

// sparse returns the oldest segment that is still needed, when the log as a
// whole is mostly dead.
func (s *Spool) sparse() *segment {
	var used, live int64
	var oldest *segment
	for _, seg := range s.sealed {
		if oldest == nil && seg.live == 0 {
			continue // to be reclaimed as it is
		}
		if oldest == nil {
			oldest = seg
		}
		used += s.j.size
		live += seg.live
	}
	if live*2 > used {
		return nil
	}
	return oldest
}

// empty moves all messages out of a segment. Nobody else takes the segment
// away meanwhile: only checkpoints do, and this is part of one.
func (s *Spool) empty(seg *segment) error {
	s.mu.Lock()
	members := seg.members
	s.mu.Unlock()
	for _, id := range members {
		s.mu.Lock()
		e := s.index[id]
		here := e != nil && e.seg == seg
		s.mu.Unlock()
		if !here {
			continue
		}
		text, err := s.readText(e)
		if errors.Is(err, ErrGone) {
			continue
		}
		if errors.Is(err, ErrDamaged) {
			if err = s.abandon(e, err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := s.move(e, text); err != nil {
			return err
		}
	}
	return nil
}

// move places a message with its whole state at the head of the log. The
// reasons of its deferrals are left behind where they do not fit.
func (s *Spool) move(e *entry, text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.gone {
		return nil
	}
	k := e.kept(s.debts)
	meta := k.append(nil)
	var blobs [][]byte
	if !e.file {
		blobs = [][]byte{text}
	}
	at, seg, tick, err := s.put(recordKeep, meta, blobs)
	if errors.Is(err, ErrTooLarge) {
		k.schedule.deferrals = slices.Clone(k.schedule.deferrals)
		for i := range k.schedule.deferrals {
			k.schedule.deferrals[i].Reason = ""
		}
		meta = k.append(nil)
		at, seg, tick, err = s.put(recordKeep, meta, blobs)
	}
	if err != nil {
		return err
	}
	e.lodge(seg, at.off+headSize+int64(len(meta)), recordLength(int64(len(meta))+k.inline()))
	e.tick = tick
	for _, d := range s.debts {
		if d.entry == e {
			d.at = at
		}
	}
	s.moved++
	return nil
}

// abandon gives up a message whose text was damaged on the disk. What is left
// of it goes to quarantine.
func (s *Spool) abandon(e *entry, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.gone || e.seg == nil {
		return nil
	}
	b := make([]byte, e.message.Size)
	if _, err := e.seg.file.ReadAt(b, e.off); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	name := e.message.ID
	if err := s.quarantine(name, b); err != nil {
		return err
	}
	s.log.Warningf("%s: message from <%s> is lost: %v; what is left of it is in %s",
		e.message.ID, e.message.Envelope.Sender, cause, filepath.Join(s.dir, quarantineDir, name))
	return s.drop(e)
}

// drop settles all recipients of a message that cannot be delivered. The caller
// holds mu.
func (s *Spool) drop(e *entry) error {
	v := e.whole()
	r := changed{settle: []settled{v}}
	at, _, _, err := s.put(recordChange, r.append(nil), nil)
	if err == nil {
		s.applySettled(v, at)
	}
	return err
}

// quarantine keeps damaged bytes for a person to look at.
func (s *Spool) quarantine(name string, b []byte) error {
	f, err := s.fs.Open(filepath.Join(s.dir, quarantineDir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.fs.SyncDir(filepath.Join(s.dir, quarantineDir))
	}
	return err
}
