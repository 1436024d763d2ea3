package spool

import (
	"context"
	"slices"
	"time"
)

// Checkpoint makes the deliveries durable that were settled until now, strikes
// finished messages off, and gives back the space of the log that nobody
// needs. It runs by itself; tests and commands may force one. ctx is looked at
// only in the beginning.
//
// The order is what makes it safe: the deliveries are synced, then the mark
// that says so is synced, and only then are segments used again and files
// removed.
func (s *Spool) Checkpoint(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.checkpointing.Lock()
	defer s.checkpointing.Unlock()
	return s.checkpoint()
}

func (s *Spool) checkpoint() error {
	if err := s.Err(); err != nil {
		return err
	}
	began := s.opt.Now()
	s.mu.Lock()
	set, covered := s.debts, s.here()
	s.debts = nil
	s.fresh = 0
	s.mu.Unlock()

	failed := s.secureAll(set)

	s.mu.Lock()
	err := s.conclude(set, failed, covered)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	// Reclaim first: on a full disk, what is dead makes room for what comes now.
	if err := s.reclaim(); err != nil {
		return err
	}
	s.observe("checkpoint", began)
	taken, err := s.snapshotIfDue()
	if err != nil {
		return err
	}
	moved, err := s.evacuate()
	if err != nil || !moved && !taken {
		return err
	}
	return s.reclaim()
}

// here is the place of the next record, or one behind it.
func (s *Spool) here() place {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	return place{s.j.active.gen, s.j.end}
}

// secureAll makes deliveries durable and returns those it could not.
func (s *Spool) secureAll(set []*debt) (failed map[*debt]bool) {
	failed = map[*debt]bool{}
	byDevice := map[uint64][]*debt{}
	for _, d := range set {
		number := d.outcome.Applied.Dev
		byDevice[number] = append(byDevice[number], d)
	}
	for number, list := range byDevice {
		ok, suspect := s.syncDevice(number)
		var each, again []*debt
		for _, d := range list {
			switch {
			case suspect || d.doubt:
				again = append(again, d)
			case !ok:
				each = append(each, d)
			}
		}
		s.secure(each, false, failed)
		s.secure(again, true, failed)
	}
	return failed
}

// secure makes deliveries durable one by one. Those it could not are in doubt
// from then on: an error of the disk is told once, and the system forgets what
// it could not write.
func (s *Spool) secure(list []*debt, rewrite bool, failed map[*debt]bool) {
	if len(list) == 0 {
		return
	}
	for i, err := range s.mail().Secure(context.Background(), applied(list), rewrite) {
		if d := list[i]; err != nil {
			s.log.Warningf("%s: make a delivery durable: %v", formatID(d.number), err)
			failed[d], d.doubt = true, true
		}
	}
}

// mail is who looks after delivered files.
func (s *Spool) mail() Mail {
	if s.opt.Mail != nil {
		return s.opt.Mail
	}
	return newMailfiles(s.fs)
}

func applied(list []*debt) []*Applied {
	files := make([]*Applied, len(list))
	for i, d := range list {
		files[i] = d.outcome.Applied
	}
	return files
}

// conclude strikes off what a checkpoint has covered. What it has failed to
// cover is recorded as owed, behind the place up to which all else is covered.
// The caller holds mu.
func (s *Spool) conclude(set []*debt, failed map[*debt]bool, covered place) error {
	var kept []*debt
	for _, d := range set {
		if failed[d] && !d.gone {
			kept = append(kept, d)
		}
	}
	if err := s.recordOwed(kept); err != nil {
		s.debts = append(set, s.debts...)
		return err
	}
	s.covered = covered
	for _, d := range set {
		if !d.gone && !failed[d] {
			s.index.acquit(d)
			s.over(s.index.table.find(d.number))
		}
	}
	s.debts = append(s.debts, kept...)
	return nil
}

// owedSize is more than the longest path and all else that a record says of a
// delivery.
const owedSize = 4096 + 64

// recordOwed says of deliveries that they are not durable yet. A record tells
// of as many as fit it for certain.
func (s *Spool) recordOwed(list []*debt) error {
	for part := range slices.Chunk(list, int(max(s.j.size/2/owedSize, 1))) {
		var r changed
		where := map[uint64]int{}
		for _, d := range part {
			i, ok := where[d.number]
			if !ok {
				i = len(r.owed)
				where[d.number] = i
				r.owed = append(r.owed, settled{id: d.number})
			}
			r.owed[i].outcomes = append(r.owed[i].outcomes, d.outcome)
		}
		at, _, err := s.put(recordChange, r.append(nil), nil)
		if err != nil {
			return err
		}
		for _, d := range part {
			d.at = at
		}
	}
	return nil
}

// keepHouse makes checkpoints until the spool closes.
func (s *Spool) keepHouse() {
	tick := time.NewTicker(s.opt.CheckpointInterval)
	defer tick.Stop()
	for {
		due := false
		select {
		case <-s.stop:
			return
		case <-tick.C:
		case <-s.due:
			due = true
		}
		if !due && s.idle() && !s.j.starved() || s.Err() != nil {
			continue
		}
		if err := s.Checkpoint(context.Background()); err != nil {
			s.log.Warningf("checkpoint: %v", err)
		}
	}
}

// idle reports that there is nothing for a checkpoint to do.
func (s *Spool) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fresh == 0 && len(s.debts) == 0 && len(s.retired) == 0
}

// lazyDelay is how long a record without a waiter may stay unsynced, so that
// several share a sync.
const lazyDelay = 3 * time.Millisecond

// syncLazily syncs what nobody waits for until the spool closes.
func (s *Spool) syncLazily() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.lazy:
		}
		select {
		case <-s.stop:
			return
		case <-time.After(lazyDelay):
		}
		if err := s.j.flush(); err != nil && s.Err() == nil {
			s.log.Warningf("sync the log: %v", err)
		}
	}
}
