package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A snapshot is the index in a file, as it was between two records of the log.
// Open reads it, and of the log only what comes behind that place.
//
// The file is a row of chunks: their length (4 bytes), a CRC-32C (4 bytes) over
// the spool's key, the file's sequence number, the number of the chunk, and
// what is in it. The first chunk is the snapshotHead; then come as many slots,
// bitsets and debts as it says.

// snapshotFile is a snapshot in store.
type snapshotFile struct {
	seq  uint64
	at   place
	size int64
	made time.Time
}

// keepSnapshots is how many are in store: should the newest be damaged, the
// one before it serves as well.
const keepSnapshots = 2

// snapshotName is the file in the making.
const snapshotName = "prepare"

// snapshotHead is the first chunk of a snapshot.
type snapshotHead struct {
	at    place  // records from here on are not in it
	boot  string // identity of the kernel at that place
	slots int
	wides int
	debts int
}

func (h *snapshotHead) append(b []byte) []byte {
	b = binary.AppendUvarint(b, h.at.gen)
	b = binary.AppendUvarint(b, uint64(h.at.off))
	b = appendString(b, h.boot)
	b = binary.AppendUvarint(b, uint64(h.slots))
	b = binary.AppendUvarint(b, uint64(h.wides))
	return binary.AppendUvarint(b, uint64(h.debts))
}

func decodeSnapshotHead(b []byte) (snapshotHead, error) {
	d := decoder{b: b}
	h := snapshotHead{at: place{d.uint(), d.size()}, boot: d.string(), slots: d.int(), wides: d.int(), debts: d.int()}
	return h, d.end()
}

// slotSize is the length of a slot in a snapshot.
const slotSize = 48

func (e *slot) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, e.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.next))
	for _, v := range [...]uint32{e.text.gen, e.text.off, e.state.gen, e.state.off, e.textWeight, e.stateWeight, e.rcpts} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint16(b, e.done)
	return append(b, e.flags, 0)
}

// decodeSlot reads a slot; false: no slot is like that.
func decodeSlot(b []byte) (slot, bool) {
	le := binary.LittleEndian
	e := slot{
		number: le.Uint64(b), next: int64(le.Uint64(b[8:])),
		text:       spot{le.Uint32(b[16:]), le.Uint32(b[20:])},
		state:      spot{le.Uint32(b[24:]), le.Uint32(b[28:])},
		textWeight: le.Uint32(b[32:]), stateWeight: le.Uint32(b[36:]),
		rcpts: le.Uint32(b[40:]), done: le.Uint16(b[44:]), flags: b[46],
	}
	ok := e.number > 0 && e.number <= maxID && e.rcpts > 0 && e.flags&^slotFlags == 0 && b[47] == 0
	if e.wide() {
		return e, ok && e.done == 0
	}
	return e, ok && e.done>>e.rcpts == 0
}

// floor is the generation from which on every segment is needed to read the
// log behind the oldest snapshot in store. With fewer than two in store nothing
// before that is given away either, unless there is no space for two.
func (s *Spool) floor() uint64 {
	if len(s.snapshots) == 0 || len(s.snapshots) < keepSnapshots && !s.cramped {
		return 0
	}
	return s.snapshots[0].at.gen
}

// lag is how much log has been written since the newest snapshot.
func (s *Spool) lag() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unindexed
}

// snapshotIfDue makes a snapshot when two checkpoints' worth of log has been
// written since the last one, and four times its size: at most a quarter as many
// bytes go to snapshots as to the log. When there is no space, it comes at once,
// because then more of the log can be given back.
func (s *Spool) snapshotIfDue() (bool, error) {
	s.mu.Lock()
	size := int64(s.index.table.n) * slotSize
	s.mu.Unlock()
	lag := s.lag()
	if lag == 0 || lag < max(2*s.opt.CheckpointBytes, 4*size) && !s.j.starved() {
		return false, nil
	}
	return true, s.snapshot()
}

// snapshot writes one. Having no space for it is not an error: then the older
// one in store makes room for the next try.
func (s *Spool) snapshot() error {
	began := s.opt.Now()
	err := s.writeSnapshot()
	s.observe("snapshot", began)
	if !noSpace(err) {
		return err
	}
	s.log.Warningf("no space for a snapshot of the index: %v", err)
	s.mu.Lock()
	s.cramped = true
	s.mu.Unlock()
	return s.dropSnapshots(1)
}

// writeSnapshot writes a snapshot and makes it durable. The index goes on
// changing meanwhile, but not the blocks that are written. The file gets its
// name after everything that it tells is durable in the log.
func (s *Spool) writeSnapshot() error {
	s.mu.Lock()
	h := snapshotHead{at: s.here(), boot: s.boot, slots: s.index.table.n}
	tail := s.index.appendWorks(&h)
	leaves := s.index.table.freeze()
	lag := s.unindexed
	s.unindexed = 0
	s.mu.Unlock()

	size, err := s.storeSnapshot(&h, leaves, tail)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.table.thaw()
	if err != nil {
		s.unindexed += lag
		return err
	}
	s.snapshots = append(s.snapshots, snapshotFile{s.lastSnap, h.at, size, s.opt.Now()})
	s.cramped = s.cramped && len(s.snapshots) < keepSnapshots
	return nil
}

// storeSnapshot makes the file, and then removes what is no longer kept.
func (s *Spool) storeSnapshot(h *snapshotHead, leaves []leaf, tail [][]byte) (size int64, err error) {
	temp := filepath.Join(s.dir, indexDir, snapshotName)
	f, err := s.fs.Open(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
	if err != nil {
		return 0, err
	}
	w := chunkWriter{file: f, key: s.j.salt, seq: s.lastSnap + 1}
	w.chunk(h.append(nil))
	w.slots(leaves)
	for _, b := range tail {
		w.chunk(b)
	}
	w.flush()
	if err = w.err; err == nil {
		err = s.j.flush()
	}
	if err == nil {
		err = f.Datasync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.fs.Rename(temp, s.snapshotName(w.seq))
	}
	if err != nil {
		if rmErr := s.fs.Remove(temp); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
		return 0, fmt.Errorf("write a snapshot of the index: %w", err)
	}
	s.lastSnap = w.seq
	if err := s.fs.SyncDir(filepath.Join(s.dir, indexDir)); err != nil {
		err = errors.Join(err, s.fs.Remove(s.snapshotName(w.seq)))
		return 0, fmt.Errorf("sync the directory of snapshots: %w", err)
	}
	return w.off, s.dropSnapshots(keepSnapshots - 1)
}

// dropSnapshots removes the oldest until so many are in store.
func (s *Spool) dropSnapshots(keep int) error {
	s.mu.Lock()
	var drop []snapshotFile
	if n := len(s.snapshots) - keep; n > 0 {
		drop = s.snapshots[:n:n]
		s.snapshots = s.snapshots[n:]
	}
	s.mu.Unlock()
	var errs []error
	for _, v := range drop {
		if err := s.fs.Remove(s.snapshotName(v.seq)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *Spool) snapshotName(seq uint64) string {
	return filepath.Join(s.dir, indexDir, fmt.Sprintf("%016x", seq))
}
