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

// makeSpare makes one segment file, with its blocks in place, unless there are
// files that only lack a name.
func (j *journal) makeSpare() error {
	if list := j.takeUnnamed(); len(list) > 0 {
		return j.name(list)
	}
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
		return j.name([]*segment{{file: f, size: j.size}})
	}
	f.Close()
	if rmErr := j.fs.Remove(name); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
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
		err = j.name(again)
	}
	return errors.Join(err, j.discard(drop))
}

// name gives files the next generations and makes the names durable. Only
// then may records go there. Spares become ready in the order of their
// generations, because naming is held throughout. What could not get a name
// for want of space is kept for the next makeSpare.
func (j *journal) name(list []*segment) error {
	j.naming.Lock()
	defer j.naming.Unlock()
	var err error
	named := 0
	for ; named < len(list); named++ {
		s, gen := list[named], j.lastGen+1
		if err = j.fs.Rename(j.fileName(s), j.segmentName(gen)); err != nil {
			break
		}
		j.lastGen = gen
		*s = segment{gen: gen, file: s.file, size: s.size}
	}
	syncErr := j.fs.SyncDir(j.dir)
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case noSpace(syncErr):
		named = 0
	case syncErr != nil:
		j.fail(fmt.Errorf("sync the log's directory: %w", syncErr))
	}
	j.unnamed = append(j.unnamed, list[named:]...)
	if named > 0 && syncErr == nil {
		j.spares = append(j.spares, list[:named]...)
		j.spareErr = nil
		j.change.Broadcast()
	}
	return errors.Join(err, syncErr)
}

// fileName is the name that a segment has now.
func (j *journal) fileName(s *segment) string {
	if s.gen == 0 {
		return filepath.Join(j.dir, prepareName)
	}
	return j.segmentName(s.gen)
}

// takeUnnamed returns what could not get a name.
func (j *journal) takeUnnamed() []*segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.unnamed
	j.unnamed = nil
	return list
}

// discard removes dead segments that are not worth keeping as spares.
func (j *journal) discard(dead []*segment) error {
	var errs []error
	for _, s := range dead {
		errs = append(errs, s.file.Close(), j.fs.Remove(j.fileName(s)))
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
