package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// prepareName is the file that becomes the next spare segment.
const prepareName = "prepare"

// spareRetry is the pause after a spare could not be made.
const spareRetry = time.Second

// prepare keeps one spare segment ready until stop is closed.
func (j *journal) prepare(stop <-chan struct{}) {
	for {
		j.mu.Lock()
		for len(j.spares) > 0 && !j.stopping {
			j.change.Wait()
		}
		stopping := j.stopping
		j.mu.Unlock()
		if stopping {
			return
		}
		err := j.makeSpare()
		j.mu.Lock()
		if err != nil && j.spareErr == nil {
			j.log.Warningf("no new log segment, mail is refused until there is one: %v", err)
		}
		j.spareErr = err
		j.change.Broadcast()
		j.mu.Unlock()
		if err == nil {
			continue
		}
		select {
		case <-stop:
			return
		case <-time.After(spareRetry):
		}
	}
}

// stopPreparing ends prepare, with the channel that was given to it.
func (j *journal) stopPreparing(stop chan struct{}) {
	j.mu.Lock()
	j.stopping = true
	j.change.Broadcast()
	j.mu.Unlock()
	close(stop)
}

// makeSpare makes one segment file, with its blocks in place.
func (j *journal) makeSpare() error {
	name := filepath.Join(j.dir, prepareName)
	f, err := j.fs.Open(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
	if err != nil {
		return err
	}
	err = f.Reserve(j.size)
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		err = j.name([]*segment{{file: f, size: j.size}}, []string{name})
	}
	if err != nil {
		f.Close()
		if rmErr := j.fs.Remove(name); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
	}
	return err
}

// reuse makes up to want spares of dead segments and removes the others. A
// segment made under another spool_segment_size is not used again.
func (j *journal) reuse(dead []*segment, want int) error {
	var again, drop []*segment
	for _, s := range dead {
		if len(again) < want && s.size == j.size {
			again = append(again, s)
		} else {
			drop = append(drop, s)
		}
	}
	var err error
	if len(again) > 0 {
		err = j.recycle(again)
	}
	return errors.Join(err, j.discard(drop))
}

// recycle gives dead segments new generations; they are spares then.
func (j *journal) recycle(dead []*segment) error {
	names := make([]string, len(dead))
	for i, s := range dead {
		names[i] = j.segmentName(s.gen)
	}
	return j.name(dead, names)
}

// name gives files the next generations and makes the names durable. Only
// then may records go there. Spares become ready in the order of their
// generations, because naming is held throughout.
func (j *journal) name(list []*segment, from []string) error {
	j.naming.Lock()
	defer j.naming.Unlock()
	for i, s := range list {
		gen := j.lastGen + 1
		if err := j.fs.Rename(from[i], j.segmentName(gen)); err != nil {
			return err
		}
		j.lastGen = gen
		*s = segment{gen: gen, file: s.file, size: s.size}
	}
	err := j.fs.SyncDir(j.dir)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.fail(fmt.Errorf("sync the log's directory: %w", err))
		return err
	}
	j.spares = append(j.spares, list...)
	j.spareErr = nil
	j.change.Broadcast()
	return nil
}

// discard removes dead segments that are not worth keeping as spares.
func (j *journal) discard(dead []*segment) error {
	var errs []error
	for _, s := range dead {
		errs = append(errs, s.file.Close(), j.fs.Remove(j.segmentName(s.gen)))
	}
	return errors.Join(errs...)
}

// parseGeneration reads the name of a segment file.
func parseGeneration(name string) (uint64, bool) {
	if len(name) != 16 {
		return 0, false
	}
	gen, err := strconv.ParseUint(name, 16, 64)
	return gen, err == nil && gen > 0 && fmt.Sprintf("%016x", gen) == name
}
