package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// idleLimit is the largest buffer that is kept for the next batch.
const idleLimit = 4 << 20

// segment is one file of the log. What it holds of messages is guarded by
// Spool.mu.
type segment struct {
	gen  uint64
	file File
	size int64 // of the file
	end  int64 // end of the last record, once it is finished

	live    int64 // bytes that messages still need here
	readers int   // who is reading it now
	stuck   bool  // it holds something that cannot be moved
}

// journal is the append-only log below the spool. Records are placed in a
// buffer in the order of append; whoever needs them written or durable first
// does it for all that are placed by then. So a lone caller waits for one
// write and one sync, and many callers share theirs.
//
// One goroutine at a time may call append and start; the others may be called
// at any time.
type journal struct {
	fs      FS
	dir     string
	size    int64 // of a segment
	salt    salt
	log     Logger
	now     func() time.Time
	observe func(what string, took time.Duration)

	mu     sync.Mutex
	change sync.Cond // something below changed

	active  *segment
	end     int64 // where the next record goes
	durable int64 // so much of active is durable
	buf     []byte
	bufOff  int64  // where buf goes in active
	onFile  int64  // so much of active was written
	idle    []byte // the other buffer

	// Ticks count the bytes ever placed. A record is written (durable) when
	// written (synced) has reached the tick that append returned.
	placed, written, synced int64
	refused                 int64 // writing up to here found no space
	writing, syncing        bool
	err                     error // the journal is ill or closed

	naming   sync.Mutex // held while a spare gets its generation; before mu
	lastGen  uint64
	spares   []*segment // ready for use, ascending generations
	unnamed  []*segment // could not become spares
	spareErr error      // why there is no spare
	stopping bool

	records, syncs int64
}

func newJournal(fsys FS, dir string, size int64, s salt, o *Options) *journal {
	j := &journal{fs: fsys, dir: dir, size: size, salt: s, log: o.Log, now: o.Now, observe: o.Observe}
	j.change.L = &j.mu
	return j
}

// fits reports whether a record with so much content has room in the active
// segment.
func (j *journal) fits(content int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.active != nil && j.end+recordLength(content) <= j.size
}

// append places a record; fits has said that there is room.
func (j *journal) append(kind recordType, meta []byte, blobs [][]byte) (place, int64, error) {
	h := head{kind: kind, meta: uint32(len(meta)), metaCRC: checksum(meta)}
	for _, b := range blobs {
		h.blob += uint32(len(b))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return place{}, 0, j.err
	}
	h.durable = uint32(j.durable)
	at := place{j.active.gen, j.end}
	n := len(j.buf)
	j.buf = j.salt.appendHead(j.buf, h, at.gen, at.off)
	j.buf = append(j.buf, meta...)
	for _, b := range blobs {
		j.buf = append(j.buf, b...)
	}
	for (len(j.buf)-n)%recordAlign != 0 {
		j.buf = append(j.buf, 0)
	}
	length := int64(len(j.buf) - n)
	j.end += length
	j.placed += length
	j.records++
	return at, j.placed, nil
}

// waitWritten returns when the records up to tick survive the end of the
// process.
func (j *journal) waitWritten(tick int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.written < tick {
		if err := j.stuck(tick); err != nil {
			return err
		}
		j.write()
	}
	return nil
}

// waitReadable returns when what was placed at a spot can be read from its
// segment.
func (j *journal) waitReadable(at spot) error {
	j.mu.Lock()
	tick := int64(0)
	if uint32(j.active.gen) == at.gen && int64(at.off) >= j.onFile {
		tick = j.placed
	}
	j.mu.Unlock()
	return j.waitWritten(tick)
}

// waitSynced returns when the records up to tick survive a power cut.
func (j *journal) waitSynced(tick int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.synced < tick {
		if err := j.stuck(tick); err != nil {
			return err
		}
		switch {
		case j.syncing:
			j.change.Wait()
		case j.written < tick:
			j.write()
		default:
			j.sync()
		}
	}
	return nil
}

// stuck says why tick is not going to be reached. A write that found no space
// is tried again by the next record, and after its success tick counts.
func (j *journal) stuck(tick int64) error {
	if j.err != nil {
		return j.err
	}
	if tick <= j.refused {
		return fmt.Errorf("spool: %w", ErrFull)
	}
	return nil
}

// write hands what is placed to the system, or waits while another does. The
// caller holds mu, which is released meanwhile.
func (j *journal) write() {
	if j.writing {
		j.change.Wait()
		return
	}
	buf, off, target := j.buf, j.bufOff, j.placed
	j.buf, j.bufOff = j.idle[:0], off+int64(len(buf))
	j.idle, j.writing = nil, true
	file := j.active.file
	j.mu.Unlock()
	_, err := file.WriteAt(buf, off)
	j.mu.Lock()
	j.writing = false
	switch {
	case err == nil:
		j.written, j.onFile = target, off+int64(len(buf))
		if cap(buf) <= idleLimit {
			j.idle = buf
		}
	case noSpace(err):
		j.buf, j.bufOff = append(buf, j.buf...), off
		j.refused = target
	default:
		j.fail(fmt.Errorf("write the log: %w", err))
	}
	j.change.Broadcast()
}

// sync makes what is written durable. The caller holds mu, which is released
// meanwhile; nobody else is syncing.
func (j *journal) sync() {
	target, off, file := j.written, j.onFile, j.active.file
	j.syncing = true
	j.mu.Unlock()
	began := j.now()
	err := file.Datasync()
	j.observe("log sync", j.now().Sub(began))
	j.mu.Lock()
	j.syncing = false
	j.syncs++
	if err != nil {
		j.fail(fmt.Errorf("sync the log: %w", err))
	} else {
		j.synced, j.durable = target, off
	}
	j.change.Broadcast()
}

// fail makes the journal ill for good: after a failed sync nobody knows what
// is on the disk, so nothing is acknowledged any more. That holds for a sync
// without space as well: the bytes are no longer here to be written elsewhere,
// and the system may have dropped them too.
func (j *journal) fail(err error) {
	if j.err == nil {
		j.err = fmt.Errorf("spool: %w", err)
		j.log.Warningf("the spool has failed and takes no more mail: %v", err)
	}
}

// illness is the error that ended the journal's work, or nil.
func (j *journal) illness() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// flush makes everything durable that is placed now. What found no space is
// tried once more: without a new record nobody else would.
func (j *journal) flush() error {
	j.mu.Lock()
	tick := j.placed
	j.refused = min(j.refused, j.written)
	j.mu.Unlock()
	return j.waitSynced(tick)
}

// start finishes the active segment, if there is one, and begins the next. It
// waits for a spare, and fails with ErrFull when none can be made. The
// finished segment is returned.
func (j *journal) start() (finished *segment, err error) {
	if err := j.flush(); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.spares) == 0 {
		if j.err != nil {
			return nil, j.err
		}
		if j.spareErr != nil || j.stopping {
			return nil, fmt.Errorf("spool: %w: no new log segment", ErrFull)
		}
		j.change.Wait()
	}
	for j.writing || j.syncing {
		j.change.Wait()
	}
	if finished = j.active; finished != nil {
		finished.end = j.end
	}
	j.active, j.spares = j.spares[0], j.spares[1:]
	j.end, j.durable, j.bufOff, j.onFile = 0, 0, 0, 0
	j.change.Broadcast()
	return finished, nil
}

// starved reports that messages must be refused: no space for another segment,
// or the log itself could not be written for want of space. What is left is
// for the records of mail that is here already.
func (j *journal) starved() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.spares) == 0 && j.spareErr != nil || j.refused > j.written
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func (j *journal) segmentName(gen uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("%016x", gen))
}
