package spool

import (
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"sync"
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
	index     map[uint64]*entry
	sealed    []*segment // finished segments, oldest first
	debts     []*debt    // deliveries since the last checkpoint, in the order of the log
	retired   []uint64   // messages struck off whose text has a file to be removed
	finished  int        // entries in index without open recipients
	cached    int64      // bytes of texts in memory
	fresh     int64      // bytes of log since the last checkpoint
	covered   place      // as in the newest mark
	lastID    uint64     // given out
	maxID     uint64     // may be given out: so it stands in a durable mark
	boot      string     // identity of the kernel
	replaying bool       // nothing is struck off: a later record may open it again
	closed    bool
	moved     int64
	rounds    int64 // checkpoints

	devices devices

	lazy  chan struct{} // something was written that should be synced soon
	due   chan struct{} // a checkpoint is due before its time
	stop  chan struct{}
	tasks sync.WaitGroup
}

// cacheLimit bounds the texts of messages that are kept in memory until their
// first delivery attempt.
const cacheLimit = 32 << 20

// idBlock is how many ids a mark reserves, so that none is given out twice
// although most are never recorded.
const idBlock = 1 << 20

// Err is nil while the spool can be trusted. After a write or sync of the log
// has failed it is that error, until the program is started again: new mail is
// refused, and delivery has to stop as well, because what is done can no
// longer be recorded and would be done twice.
func (s *Spool) Err() error { return s.j.illness() }

// Pending tells all messages with open recipients, the oldest first: after
// Open, what the queue has to begin with. Messages that end while the sequence
// is read are left out, and so are later ones.
func (s *Spool) Pending() iter.Seq[Pending] {
	return func(yield func(Pending) bool) {
		s.mu.Lock()
		ids := make([]uint64, 0, len(s.index))
		for id, e := range s.index {
			if e.open > 0 {
				ids = append(ids, id)
			}
		}
		s.mu.Unlock()
		slices.Sort(ids)
		for _, id := range ids {
			s.mu.Lock()
			e := s.index[id]
			open := e != nil && e.open > 0
			var p Pending
			if open {
				p = e.pending()
			}
			s.mu.Unlock()
			if open && !yield(p) {
				return
			}
		}
	}
}

// Stats returns the figures of this moment.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	st := Stats{
		Messages:    len(s.index) - s.finished,
		Unstruck:    s.finished,
		Segments:    len(s.sealed) + 1,
		Spares:      len(s.j.spares),
		Records:     s.j.records,
		Syncs:       s.j.syncs,
		Checkpoints: s.rounds,
		Moved:       s.moved,
	}
	st.LogBytes = int64(st.Segments) * s.j.size
	for _, seg := range s.sealed {
		st.LiveBytes += seg.live
	}
	st.LiveBytes += s.j.active.live
	return st
}

// put places a record and returns where, in which segment, and the tick to
// wait for. The caller holds mu. The record's content is at most half a
// segment.
func (s *Spool) put(kind recordType, meta []byte, blobs [][]byte) (place, *segment, int64, error) {
	content := int64(len(meta))
	for _, b := range blobs {
		content += int64(len(b))
	}
	if content > s.j.size/2 {
		return place{}, nil, 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, content)
	}
	if !s.j.fits(content) {
		if err := s.begin(); err != nil {
			return place{}, nil, 0, err
		}
		if !s.j.fits(content) {
			return place{}, nil, 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, content)
		}
	}
	at, tick, err := s.j.append(kind, meta, blobs)
	if err != nil {
		return place{}, nil, 0, err
	}
	s.fresh += recordLength(content)
	if s.fresh > s.opt.CheckpointBytes {
		nudge(s.due)
	}
	return at, s.j.active, tick, nil
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
	_, _, err = s.j.append(recordMark, s.mark(), nil)
	return err
}

// putMark places a mark that tells of every segment before its own.
func (s *Spool) putMark() (tick int64, err error) {
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
	m := mark{boot: s.boot, ids: s.maxID, first: s.first().gen, covered: s.covered}
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

// over strikes a message off if it is done with. The caller holds mu.
func (s *Spool) over(e *entry) {
	if e.open == 0 && e.debts == 0 && e.pins == 0 && !e.gone && !s.replaying {
		s.strike(e)
	}
}

// strike removes a message that is done with from the index. The caller holds
// mu and has seen that nothing is open or owed.
func (s *Spool) strike(e *entry) {
	s.uncache(e)
	e.leave()
	e.gone = true
	s.finished--
	delete(s.index, e.id)
	if e.file {
		s.retired = append(s.retired, e.id)
	}
}

// cache keeps the text of a new message for its first delivery.
func (s *Spool) cache(e *entry, text []byte) {
	if s.cached+int64(cap(text)) <= cacheLimit {
		e.text = text
		s.cached += int64(cap(text))
	}
}

func (s *Spool) uncache(e *entry) {
	s.cached -= int64(cap(e.text))
	e.text = nil
}

func (s *Spool) bodyName(id uint64) string {
	return filepath.Join(s.dir, bodiesDir, formatID(id))
}

// nudge wakes the goroutine that reads ch, now or when it next looks.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
