package spool

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
)

// reclaim records the checkpoint, and then uses again what is free.
func (s *Spool) reclaim() error {
	s.mu.Lock()
	dead, retired := s.dead(), s.retired
	holes := s.holes
	s.takeOut(dead)
	s.retired = nil
	tick, err := s.putMark()
	s.mu.Unlock()
	if err == nil {
		err = s.j.waitSynced(tick)
	}
	s.mu.Lock()
	if err != nil {
		s.putBack(dead)
		s.holes = holes
		s.retired = append(retired, s.retired...)
	} else {
		s.rounds++
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, number := range retired {
		if err := s.fs.Remove(s.bodyName(number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warningf("remove the text of a finished message: %v", err)
		}
	}
	return s.j.reuse(dead, s.wantSpares(len(dead)))
}

// dead are the segments of which nothing is needed. At the old end of the log
// they can be taken at once: what later records tell is of messages in later
// segments only. Others can be taken when the oldest snapshot in store was
// made after their end.
func (s *Spool) dead() []*segment {
	var list []*segment
	floor, oldest := s.floor(), true
	for _, seg := range s.sealed {
		free := seg.live == 0 && seg.readers == 0
		if oldest = oldest && free; free && (oldest || seg.gen < floor) {
			list = append(list, seg)
		}
	}
	return list
}

// takeOut takes segments out of the log.
func (s *Spool) takeOut(list []*segment) {
	gone := map[*segment]bool{}
	for _, seg := range list {
		gone[seg] = true
		delete(s.index.segs, uint32(seg.gen))
	}
	s.sealed = slices.DeleteFunc(slices.Clone(s.sealed), func(seg *segment) bool { return gone[seg] })
	for _, seg := range list {
		if seg.gen > s.first().gen {
			s.holes = max(s.holes, seg.gen)
		}
	}
}

// putBack takes a takeOut back.
func (s *Spool) putBack(list []*segment) {
	s.sealed = append(s.sealed, list...)
	slices.SortFunc(s.sealed, func(a, b *segment) int { return cmp.Compare(a.gen, b.gen) })
	for _, seg := range list {
		s.index.segs[uint32(seg.gen)] = seg
	}
}

// wantSpares is how many of so many unused segments are worth keeping: two
// checkpoints' worth, together with the spares there are. On a disk that is
// nearly full it is fewer, down to one spare: what spares hold is not free for
// Create, and must not keep it from ever accepting again.
func (s *Spool) wantSpares(unused int) int {
	s.j.mu.Lock()
	ready := len(s.j.spares)
	s.j.mu.Unlock()
	want := int(2*s.opt.CheckpointBytes/s.j.size) + 2 - ready
	if v, err := s.fs.Volume(s.dir); err == nil {
		room := v.Free + int64(unused)*s.j.size - max(2*s.opt.QueueMinFree, 2*s.j.size)
		want = int(min(int64(want), room/s.j.size))
	}
	return max(want, 1-ready, 0)
}
