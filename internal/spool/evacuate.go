package spool

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// evacuate moves messages to the head of the log, out of the segments that hold
// the fewest, while of all that could be freed more than half is dead.
//
// So the log is at most twice as large as what it holds, besides the part that
// is younger than the older snapshot. And since a segment that is emptied is at
// least half dead, no more is moved than has died; what dies was written once,
// so at most as much is moved as was written newly. A full segment of deferred
// messages is left alone, whatever traffic goes by.
func (s *Spool) evacuate() (moved bool, err error) {
	s.mu.Lock()
	victims := s.victims()
	s.mu.Unlock()
	if len(victims) == 0 {
		return false, nil
	}
	slots := make([]slot, 4*blockSlots)
	for last := uint64(0); ; {
		s.mu.Lock()
		part := slots[:s.index.table.after(last, slots)]
		s.mu.Unlock()
		if len(part) == 0 {
			return moved, nil
		}
		for i := range part {
			e := &part[i]
			last = e.number
			if !victims[e.text.gen] && !victims[e.state.gen] {
				continue
			}
			if err := s.move(e.number, victims); err != nil {
				return moved, err
			}
			moved = true
		}
	}
}

// victims are the segments to be emptied in this round: as many as about one
// checkpoint's worth of log will take.
func (s *Spool) victims() map[uint32]bool {
	var list []*segment
	var used, live int64
	floor := s.floor()
	for _, seg := range s.sealed {
		if seg.gen < floor && seg.live > 0 && !seg.stuck {
			list = append(list, seg)
			used += seg.size
			live += seg.live
		}
	}
	slices.SortFunc(list, func(a, b *segment) int { return cmp.Compare(a.live, b.live) })
	victims := map[uint32]bool{}
	for work := int64(0); len(list) > 0 && live*2 <= used && work < s.opt.CheckpointBytes; list = list[1:] {
		victims[uint32(list[0].gen)] = true
		work += list[0].live
		live -= list[0].live
		used -= list[0].size
	}
	return victims
}

// move places a message with its whole state at the head of the log, and its
// text if that is in one of the victims. A message of which all is done needs
// no moving: the next checkpoint strikes it off.
func (s *Spool) move(number uint64, victims map[uint32]bool) error {
	for {
		v, st, err := s.look(number)
		switch {
		case errors.Is(err, ErrGone):
			return nil
		case errors.Is(err, ErrDamaged):
			s.leave(&v, err)
			return nil
		case err != nil:
			return err
		}
		text, err := s.textToMove(&v, &st, victims)
		if errors.Is(err, ErrDamaged) {
			return s.abandon(&v, &st, err)
		}
		if err != nil {
			return err
		}
		full := v.state(st.stored)
		full.schedule.deferrals = v.merge(nil, st.schedule.deferrals)
		full.schedule.attempts, full.schedule.warned = st.schedule.attempts, st.schedule.warned
		ok, err := s.relocate(&v, &full, text)
		if ok || err != nil {
			return err
		}
	}
}

// textToMove reads the text of a message if it is in one of the victims; nil:
// it stays where it is.
func (s *Spool) textToMove(v *view, st *state, victims map[uint32]bool) ([]byte, error) {
	at := v.slot.text
	if v.slot.is(slotFile) || !victims[at.gen] {
		return nil, nil
	}
	s.mu.Lock()
	seg := s.hold(at.gen)
	s.mu.Unlock()
	if seg == nil { // it has been moved since
		return nil, nil
	}
	defer s.letGo(seg)
	return s.readTextAt(seg, at, st.size, st.crc)
}

// relocate places what move has gathered; false: something has changed since.
func (s *Spool) relocate(v *view, full *state, text []byte) (bool, error) {
	kind, blobs := recordKeep, [][]byte{text}
	if text == nil {
		kind, blobs = recordChange, nil
	}
	meta := full.encode(kind)
	if s.tooLarge(meta, blobs) {
		full.schedule.forgetReasons()
		meta = full.encode(kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.current(v) {
		return false, nil
	}
	at, _, err := s.put(kind, meta, blobs)
	if err != nil {
		return false, err
	}
	e := s.index.table.edit(full.id)
	s.index.lodgeState(e, at.spot(), uint32(headSize+len(meta)))
	if text != nil {
		at.off += headSize + int64(len(meta))
		s.index.lodgeText(e, at.spot(), textWeight(full.size))
	}
	s.moved++
	return true, nil
}

// leave lets a segment be that holds a damaged state. The message may be in
// delivery, and is written anew when it is postponed.
func (s *Spool) leave(v *view, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Warningf("%v; its segment of the log is left as it is", cause)
	for _, gen := range [...]uint32{v.slot.text.gen, v.slot.state.gen} {
		if seg := s.index.segs[gen]; seg != nil {
			seg.stuck = true
		}
	}
}

// abandon gives up a message whose text was damaged on the disk. What is left
// of it goes to quarantine.
func (s *Spool) abandon(v *view, st *state, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.index.segs[v.slot.text.gen]
	if seg == nil || !s.current(v) {
		return nil
	}
	b := make([]byte, st.size)
	if err := readAt(seg.file, b, int64(v.slot.text.off)); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	name := formatID(st.id)
	if err := s.quarantine(name, b); err != nil {
		return err
	}
	s.log.Warningf("%s: message from <%s> is lost: %v; what is left of it is in %s",
		name, st.envelope.Sender, cause, filepath.Join(s.dir, quarantineDir, name))
	return s.drop(st.id)
}

// drop settles all recipients of messages that cannot be delivered. The caller
// holds mu.
func (s *Spool) drop(numbers ...uint64) error {
	r := changed{remove: numbers}
	at, _, err := s.put(recordChange, r.append(nil), nil)
	if err != nil {
		return err
	}
	for _, number := range numbers {
		s.applyRemoved(number, at)
	}
	return nil
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
