package spool

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"
)

// Spool is an open spool. Its methods may be called at any time by any number
// of goroutines.
type Spool struct {
	dir  string
	fs   FS
	opt  Options
	log  Logger
	lock io.Closer
	j    *journal

	// Lock order: checkpointing, mu, journal.mu. Devices are a leaf.
	checkpointing sync.Mutex // one checkpoint at a time

	mu        sync.Mutex
	index     index
	sealed    []*segment        // finished segments, oldest first
	debts     []*debt           // deliveries since the last checkpoint, in the order of the log
	retired   []uint64          // messages struck off whose text has a file to be removed
	texts     map[uint64][]byte // of new messages, until they are first postponed
	cached    int               // bytes of them
	fresh     int64             // bytes of log since the last checkpoint
	unindexed int64             // and since the last snapshot
	revoked   []changed         // what takes changes back and has no place in the log yet
	covered   place             // as in the newest mark
	holes     uint64            // as in the newest mark
	lastID    uint64            // given out
	maxID     uint64            // may be given out: so it stands in a durable mark
	boot      string            // identity of the kernel
	replaying bool              // nothing is struck off: a later record may open it again
	closed    bool
	moved     int64
	rounds    int64 // checkpoints

	snapshots []snapshotFile // in store, oldest first
	cramped   bool           // there was no space for a second one
	lastSnap  uint64         // sequence number

	room room

	devices devices

	lazy  chan struct{} // something was written that should be synced soon
	due   chan struct{} // a checkpoint is due before its time
	stop  chan struct{}
	tasks sync.WaitGroup
}

// idBlock is how many ids a mark reserves, so that none is given out twice
// although most are never recorded.
const idBlock = 1 << 20

// Err is nil while the spool can be trusted. After a write or sync of the log
// has failed it is that error, until the program is started again: new mail is
// refused, and delivery has to stop as well, because what is done can no
// longer be recorded and would be done twice.
func (s *Spool) Err() error { return s.j.illness() }

// Stats returns the figures of this moment.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	st := Stats{
		Messages:    s.index.table.n - s.index.finished,
		Unstruck:    s.index.finished,
		Segments:    len(s.sealed) + 1,
		Spares:      len(s.j.spares),
		Records:     s.j.records,
		Syncs:       s.j.syncs,
		Checkpoints: s.rounds,
		Moved:       s.moved,
	}
	for _, seg := range append(s.sealed[:len(s.sealed):len(s.sealed)], s.j.active) {
		st.LogBytes += seg.size
		st.LiveBytes += seg.live
	}
	if n := len(s.snapshots); n > 0 {
		st.SnapshotBytes = s.snapshots[n-1].size
		st.SnapshotLag = s.unindexed
		st.SnapshotTime = s.snapshots[n-1].made
	}
	return st
}

// put places a record and returns where, and the tick to wait for. The caller
// holds mu. The record's content is at most half a segment. What takes changes
// back comes before it.
func (s *Spool) put(kind recordType, meta []byte, blobs [][]byte) (place, int64, error) {
	if err := s.placeRevoked(); err != nil {
		return place{}, 0, err
	}
	return s.lodge(kind, meta, blobs)
}

// placeRevoked places what takes changes back and has no place yet.
func (s *Spool) placeRevoked() error {
	for len(s.revoked) > 0 {
		if _, _, err := s.lodge(recordChange, s.revoked[0].append(nil), nil); err != nil {
			return err
		}
		s.revoked = s.revoked[1:]
	}
	return nil
}

// lodge is put for one record.
func (s *Spool) lodge(kind recordType, meta []byte, blobs [][]byte) (place, int64, error) {
	content := int64(len(meta))
	for _, b := range blobs {
		content += int64(len(b))
	}
	if content > s.j.size/2 {
		return place{}, 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, content)
	}
	if !s.j.fits(content) {
		if err := s.begin(); err != nil {
			return place{}, 0, err
		}
		if !s.j.fits(content) {
			return place{}, 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, content)
		}
	}
	at, tick, err := s.j.append(kind, meta, blobs)
	if err != nil {
		return place{}, 0, err
	}
	s.fresh += recordLength(content)
	s.unindexed += recordLength(content)
	if s.fresh > s.opt.CheckpointBytes {
		nudge(s.due)
	}
	return at, tick, nil
}

// begin starts the next segment and puts a mark at its head.
func (s *Spool) begin() error {
	finished, err := s.j.start()
	if err != nil {
		return err
	}
	if finished != nil {
		s.sealed = append(s.sealed, finished)
	}
	s.index.segs[uint32(s.j.active.gen)] = s.j.active
	_, _, err = s.j.append(recordMark, s.mark(), nil)
	return err
}

// putMark places a mark that tells of every segment before its own.
func (s *Spool) putMark() (tick int64, err error) {
	if err := s.placeRevoked(); err != nil {
		return 0, err
	}
	if !s.j.fits(int64(len(s.mark()))) {
		if err := s.begin(); err != nil {
			return 0, err
		}
	}
	_, tick, err = s.j.append(recordMark, s.mark(), nil)
	return tick, err
}

// mark encodes the mark for this moment.
func (s *Spool) mark() []byte {
	m := mark{boot: s.boot, ids: s.maxID, first: s.first().gen, covered: s.covered, holes: s.holes}
	for _, seg := range s.sealed {
		m.ends = append(m.ends, end{seg.gen, seg.end})
	}
	return m.append(nil)
}

// first is the oldest segment of the log.
func (s *Spool) first() *segment {
	if len(s.sealed) > 0 {
		return s.sealed[0]
	}
	return s.j.active
}

func (s *Spool) bodyName(id uint64) string {
	return filepath.Join(s.dir, bodiesDir, formatID(id))
}

// observe tells how long an operation took that began then.
func (s *Spool) observe(what string, began time.Time) { s.opt.Observe(what, s.opt.Now().Sub(began)) }

// nudge wakes the goroutine that reads ch, now or when it next looks.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
