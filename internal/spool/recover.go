package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// recovery is the work of Open on the log.
type recovery struct {
	s        *Spool
	segments []*segment // all files, by ascending generation
	used     int        // so many of them have, or had, records
	newest   mark       // zero when there is none
	marked   uint64     // generation of the segment it is in
	from     place      // where reading begins
	tail     int64      // end of the last record that counts
	lastID   uint64
	damaged  bool
	buf      []byte
}

// recover rebuilds the index from the log.
//
// It finds the newest mark, which names the segments, and the newest snapshot,
// which is the index at some place of the log; without one, the log is read
// from its begin. What the log itself says was durable must be whole; of the
// rest, the last segment's tail, everything is taken up to the first record
// that is not. Then deliveries are looked at that a power cut may have undone,
// and a new segment is begun whose mark confirms all that.
func (s *Spool) recover() error {
	r := &recovery{s: s}
	if err := r.list(); err != nil {
		return err
	}
	if err := r.findMark(); err != nil {
		return err
	}
	s.covered, s.holes = r.newest.covered, r.newest.holes
	stale := r.discardOld()
	if err := r.findSnapshot(); err != nil {
		return err
	}
	if err := r.replay(); err != nil {
		return err
	}
	if err := r.restart(); err != nil {
		return err
	}
	if err := s.resume(); err != nil {
		return err
	}
	s.retired = nil
	if err := s.removeOrphans(); err != nil {
		return err
	}
	if err := s.dropSnapshots(keepSnapshots); err != nil {
		return err
	}
	return s.j.reuse(stale, s.wantSpares(len(stale)))
}

// list opens all segment files.
func (r *recovery) list() error {
	j := r.s.j
	names, err := r.s.fs.ReadDir(j.dir)
	if err != nil {
		return err
	}
	for _, name := range names { // ascending names are ascending generations
		gen, ok := parseGeneration(name)
		if !ok {
			continue
		}
		f, err := r.s.fs.Open(filepath.Join(j.dir, name), os.O_RDWR)
		if err != nil {
			return err
		}
		seg := &segment{gen: gen, file: f}
		r.segments = append(r.segments, seg)
		// The journal closes what it knows, should anything fail from here on.
		r.s.sealed = append(r.s.sealed, seg)
		if seg.size, err = f.Size(); err != nil {
			return err
		}
		j.lastGen = gen
	}
	return nil
}

// findMark finds how many segments are used, and the newest mark in them. A
// used segment begins with a mark; if damage took it, other records follow.
func (r *recovery) findMark() error {
	for i, seg := range r.segments {
		head := make([]byte, headSize)
		if seg.size >= headSize && readAt(seg.file, head, 0) == nil {
			if r.s.j.salt.isHead(head, seg.gen) {
				r.used = i + 1
			}
		}
	}
	for r.used < len(r.segments) {
		list, err := r.read(r.segments[r.used])
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		r.used++
	}
	for i := r.used - 1; i >= 0; i-- {
		list, err := r.read(r.segments[i])
		if err != nil {
			return err
		}
		list = r.counting(list, r.durable(r.segments[i], list, i == r.used-1))
		if i == r.used-1 && len(list) > 0 {
			r.tail = list[len(list)-1].end()
		}
		for _, rec := range slices.Backward(list) {
			if rec.head.kind != recordMark || !rec.whole {
				continue
			}
			if m, err := decodeMark(rec.meta); err == nil && m.first <= r.segments[i].gen {
				r.newest, r.marked = m, r.segments[i].gen
				return nil
			}
		}
	}
	return nil
}

// read scans one segment. The records are valid until the next read.
func (r *recovery) read(seg *segment) ([]record, error) {
	b, bad, err := readSegment(seg.file, r.buf)
	if err != nil {
		return nil, err
	}
	r.buf = b
	if bad > 0 {
		r.damaged = true
		r.s.log.Warningf("%d bytes of %s cannot be read", bad, r.s.j.segmentName(seg.gen))
	}
	return r.s.j.salt.scan(b, seg.gen), nil
}

// discardOld takes the segments off the list that are no longer part of the
// log, and returns them. The unused ones become spares at once.
func (r *recovery) discardOld() (stale []*segment) {
	j := r.s.j
	j.spares, r.segments = r.segments[r.used:], r.segments[:r.used]
	listed := map[uint64]bool{}
	for _, e := range r.newest.ends {
		listed[e.gen] = true
	}
	var used []*segment
	for _, seg := range r.segments {
		if seg.gen < r.marked && !listed[seg.gen] {
			stale = append(stale, seg)
			continue
		}
		used = append(used, seg)
		r.s.index.segs[uint32(seg.gen)] = seg
	}
	r.segments, r.s.sealed = used, slices.Clone(used)
	for _, e := range r.newest.ends {
		if r.s.index.segs[uint32(e.gen)] == nil {
			r.damaged = true
			r.s.log.Warningf("the log segment %s is missing", j.segmentName(e.gen))
		}
	}
	return stale
}

// replay reads the log into the index.
func (r *recovery) replay() error {
	s := r.s
	s.replaying, s.index.loading = true, true
	for i, seg := range r.segments {
		last := i == len(r.segments)-1
		if seg.gen < r.from.gen && !last {
			seg.end = r.end(seg.gen)
			continue
		}
		list, err := r.read(seg)
		if err != nil {
			return err
		}
		from := int64(0)
		if seg.gen == r.from.gen {
			from = r.from.off
		}
		if err := r.segment(seg, list, from, r.durable(seg, list, last)); err != nil {
			return err
		}
		s.unindexed += seg.end - from
		if last {
			if err := r.confirm(seg, list); err != nil {
				return err
			}
		}
	}
	r.buf = nil
	s.replaying = false
	r.settleAccounts()
	return nil
}

// settleAccounts finds out what every segment is needed for, and strikes off
// what is done with. Messages in segments that are not there are lost.
func (r *recovery) settleAccounts() {
	s := r.s
	lost, over := s.index.recount()
	for _, number := range lost {
		r.damaged = true
		s.log.Warningf("%s: message is lost: its segment of the log is missing", formatID(number))
		s.strike(s.index.table.edit(number))
	}
	for _, number := range over {
		if e := s.index.table.find(number); e != nil {
			s.strike(e)
		}
	}
	r.lastID = max(r.lastID, s.index.table.last())
}

// end is what the newest mark says of a finished segment.
func (r *recovery) end(gen uint64) int64 {
	for _, e := range r.newest.ends {
		if e.gen == gen {
			return e.off
		}
	}
	return 0
}

// durable is the offset up to which the segment was durable for certain.
func (r *recovery) durable(seg *segment, list []record, last bool) int64 {
	for _, e := range r.newest.ends {
		if e.gen == seg.gen {
			return e.off
		}
	}
	var limit int64
	for _, rec := range list {
		if last {
			limit = max(limit, int64(rec.head.durable))
		} else {
			limit = rec.end()
		}
	}
	return limit
}

// counting returns the records that count: all below limit, and from there on
// those up to the first that is not whole or not there. What follows was never
// acknowledged, and must not be believed without what went before it.
func (r *recovery) counting(list []record, limit int64) []record {
	off := int64(0)
	for i := range list {
		rec := &list[i]
		if off = max(off, limit); rec.off > off {
			return list[:i]
		}
		if rec.off >= limit {
			if _, why := r.decode(rec); why != "" {
				return list[:i]
			}
		}
		off = rec.end()
	}
	return list
}

// segment replays one segment from an offset on. What is not whole below limit
// is damage; at or behind limit it is the end of the log.
func (r *recovery) segment(seg *segment, list []record, from, limit int64) error {
	off := from
	for _, rec := range r.counting(list, limit) {
		if rec.off < from {
			continue
		}
		if rec.off > off {
			if err := r.damage(seg, off, rec.off, "no record"); err != nil {
				return err
			}
		}
		c, why := r.decode(&rec)
		if why != "" {
			if err := r.damage(seg, rec.off, rec.end(), why); err != nil {
				return err
			}
		}
		r.apply(seg, &rec, c)
		off = rec.end()
	}
	if off < limit {
		if err := r.damage(seg, off, min(limit, int64(len(r.buf))), "no record"); err != nil {
			return err
		}
		off = limit
	}
	seg.end = off
	return nil
}

// damage keeps bytes of the log that should have been a record.
func (r *recovery) damage(seg *segment, from, to int64, why string) error {
	r.damaged = true
	name := fmt.Sprintf("%016x-%d", seg.gen, from)
	r.s.log.Warningf("the log segment %s is damaged from %d to %d (%s); a copy is in %s",
		r.s.j.segmentName(seg.gen), from, to, why, filepath.Join(r.s.dir, quarantineDir, name))
	return r.s.quarantine(name, r.buf[min(from, to):to])
}

// confirm writes the last segment's tail once more and syncs it. If an
// earlier process died of a failed sync, the system may believe that bytes are
// on the disk which are not.
func (r *recovery) confirm(seg *segment, list []record) error {
	var from int64
	for _, rec := range list {
		from = max(from, int64(rec.head.durable))
	}
	if from = min(from, seg.end); from < seg.end {
		if _, err := seg.file.WriteAt(r.buf[from:seg.end], from); err != nil {
			return err
		}
	}
	return seg.file.Datasync()
}

// restart begins a new segment, and records what recovery has found.
func (r *recovery) restart() error {
	s := r.s
	s.boot = s.opt.BootID()
	s.lastID = max(r.lastID, r.newest.ids)
	if r.damaged {
		s.lastID += idBlock
	}
	if s.lastID == 0 {
		s.lastID = uint64(s.opt.Now().UnixMicro())
	}
	s.maxID = s.lastID
	spares := s.j.spares
	s.j.spares = nil
	if err := s.j.reuse(spares, s.wantSpares(len(spares))); err != nil {
		return err
	}
	if len(s.j.spares) == 0 {
		if err := s.j.makeSpare(); err != nil {
			return fmt.Errorf("make a log segment: %w", err)
		}
	}
	s.tasks.Go(func() { s.j.prepare(s.stop) })
	return s.begin()
}

// resume examines deliveries, and puts the first mark of this run.
func (s *Spool) resume() error {
	if err := s.examine(); err != nil {
		return err
	}
	s.maxID = s.lastID + idBlock
	tick, err := s.putMark()
	if err == nil {
		err = s.j.waitSynced(tick)
	}
	return err
}

// removeOrphans removes texts that no message refers to: of drafts that were
// never committed, and of messages that are done with. A message whose text
// should have a file but has none is lost.
func (s *Spool) removeOrphans() error {
	dir := filepath.Join(s.dir, bodiesDir)
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	there := make(map[uint64]bool, len(names))
	for _, name := range names {
		number, ok := ParseID(name)
		if e := s.index.table.find(number); ok && e != nil && e.is(slotFile) {
			there[number] = true
			continue
		}
		if err := s.fs.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return s.missFiles(there)
}
