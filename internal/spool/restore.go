package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// findSnapshot takes the index from the newest snapshot that can be read and
// belongs to the log, and says from where the log has to be read.
func (r *recovery) findSnapshot() error {
	s := r.s
	dir := filepath.Join(s.dir, indexDir)
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	found := false
	for _, name := range slices.Backward(names) {
		seq, ok := parseGeneration(name)
		if ok {
			s.lastSnap = max(s.lastSnap, seq)
		}
		if ok && len(s.snapshots) < keepSnapshots {
			kept, err := r.restore(filepath.Join(dir, name), seq, !found)
			if err != nil {
				s.log.Warningf("a snapshot of the index is not used: %s: %v", filepath.Join(dir, name), err)
			}
			if found = found || kept; kept {
				continue
			}
		}
		if err := s.fs.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if slices.Reverse(s.snapshots); !found && r.newest.holes > 0 && r.newest.holes >= r.newest.first {
		r.damaged = true
		s.log.Warningf("there is no snapshot of the index, and parts of the log were given back by it: " +
			"no mail is lost, but some that was delivered may be delivered again")
	}
	return nil
}

// restore looks at one snapshot, and with load takes the index from it. It
// reports whether the file is worth keeping.
func (r *recovery) restore(name string, seq uint64, load bool) (bool, error) {
	s := r.s
	f, err := s.fs.Open(name, os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	reader := newChunkReader(f, size, s.j.salt, seq)
	h, err := reader.head()
	if err != nil {
		return false, err
	}
	if h.at.gen < r.newest.first || h.at.gen <= r.newest.holes {
		return false, nil // what came behind it has been given back
	}
	if !r.reaches(h.at) {
		return false, fmt.Errorf("%w: it is newer than the log", ErrDamaged)
	}
	if load {
		segs := s.index.segs
		x, debts, err := reader.index(&h)
		if err != nil {
			return false, err
		}
		x.segs = segs
		s.index, s.debts, s.boot, r.from = x, debts, h.boot, h.at
		for _, d := range debts {
			if d.at.before(r.newest.covered) { // by a checkpoint after the snapshot
				x.acquit(d)
			}
		}
	}
	s.snapshots = append(s.snapshots, snapshotFile{seq: seq, at: h.at, size: size, made: s.opt.Now()})
	return true, nil
}

// reaches reports whether the log goes as far as a place.
func (r *recovery) reaches(at place) bool {
	i := slices.IndexFunc(r.segments, func(seg *segment) bool { return seg.gen == at.gen })
	switch {
	case i < 0:
		return false
	case i == len(r.segments)-1:
		return at.off <= r.tail
	case at.gen < r.marked:
		return at.off <= r.end(at.gen)
	}
	return true
}
