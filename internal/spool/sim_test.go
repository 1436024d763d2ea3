package spool

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// simDisk is a file system in memory that knows what was synced. At a power
// cut it forgets the rest: of file content any 512-byte sectors, of changes to
// directories any subset. What a process does through a view of it fails once
// that process was ended.
type simDisk struct {
	mu    sync.Mutex
	files map[string]*simFile // as processes see them
	kept  map[string]*simFile // as a power cut leaves them
	dirs  map[string]bool
	ops   []simOp // changes to directories that are not durable
	epoch int     // of the process that may work
	calls int     // that could change something
	seq   int     // of the newest write or change to a directory
	cutAt int     // the call at which the power goes; 0: never
	locks map[string]simHeld

	free   int64                       // what Volume says
	space  int64                       // bytes that may still be written; below 0: no limit
	volume Volume                      // type of the spool's file system
	fault  func(op, name string) error // makes a call fail
	counts map[string]int              // calls by operation

	odds    int // of a mishap; 0: none
	luck    *rand.Rand
	mishaps int
}

type simFile struct {
	data    []byte
	disk    []byte
	pending []simWrite
}

type simWrite struct {
	off  int64
	data []byte
	seq  int // orders writes and changes to directories
}

// simOp is a name that came (file not nil) or went.
type simOp struct {
	from, to string // rename: both; create: to; remove: from
	file     *simFile
	seq      int
}

var errCut = errors.New("the process has ended")

func newSimDisk() *simDisk {
	return &simDisk{files: map[string]*simFile{}, kept: map[string]*simFile{}, dirs: map[string]bool{"/": true},
		locks: map[string]simHeld{}, free: 1 << 40, space: -1, volume: Volume{Type: "sim", Mode: Shared}, counts: map[string]int{}}
}

// process starts a process: the view it has of the disk.
func (d *simDisk) process() simView {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++
	return simView{d, d.epoch}
}

// kill ends the running process. The system lives on, and all that was written.
func (d *simDisk) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++
}

// fate says which unsynced changes survive a power cut: none, all, every other
// one, nearly all, or those before some moment.
func (d *simDisk) fate(rng *rand.Rand) func(seq int) bool {
	until := d.seq - rng.IntN(min(d.seq, 60)+1)
	switch rng.IntN(6) {
	case 0:
		return func(int) bool { return false }
	case 1:
		return func(int) bool { return true }
	case 2:
		return func(seq int) bool { return seq <= until }
	case 3:
		return func(int) bool { return rng.IntN(16) > 0 }
	default:
		return func(int) bool { return rng.IntN(2) == 0 }
	}
}

// cut ends the system.
func (d *simDisk) cut(rng *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++
	d.cutAt = 0
	survives := d.fate(rng)
	for _, op := range d.ops {
		if survives(op.seq) {
			d.keep(op)
		}
	}
	d.ops = nil
	for _, f := range d.kept {
		for _, w := range f.pending {
			for off := 0; off < len(w.data); {
				n := min(512-int(w.off+int64(off))%512, len(w.data)-off)
				if survives(w.seq) {
					f.disk = overwrite(f.disk, w.off+int64(off), w.data[off:off+n])
				}
				off += n
			}
		}
		f.pending = nil
		f.data = slices.Clone(f.disk)
	}
	d.files = map[string]*simFile{}
	for name, f := range d.kept {
		d.files[name] = f
	}
}

func overwrite(b []byte, off int64, p []byte) []byte {
	if need := off + int64(len(p)) - int64(len(b)); need > 0 {
		b = append(b, make([]byte, need)...)
	}
	copy(b[off:], p)
	return b
}

func (d *simDisk) keep(op simOp) {
	if op.from != "" {
		delete(d.kept, op.from)
	}
	if op.to != "" {
		d.kept[op.to] = op.file
	}
}

// syncOps makes the changes durable that match. An earlier change to a name is
// overtaken by a later one that is durable.
func (d *simDisk) syncOps(match func(name string) bool) {
	d.ops = slices.DeleteFunc(d.ops, func(op simOp) bool {
		hit := op.from != "" && match(op.from) || op.to != "" && match(op.to)
		if hit {
			d.keep(op)
		}
		return hit
	})
}

func (d *simDisk) rename(from, to string, f *simFile) {
	delete(d.files, from)
	if to != "" {
		d.files[to] = f
	}
	d.seq++
	d.ops = append(d.ops, simOp{from, to, f, d.seq})
}

func (f *simFile) sync() {
	for _, w := range f.pending {
		f.disk = overwrite(f.disk, w.off, w.data)
	}
	f.pending = nil
}

// simView is one process's access to the disk.
type simView struct {
	d     *simDisk
	epoch int
}

var _ FS = simView{}

// call is the begin of every operation; it locks the disk unless it fails.
func (v simView) call(op, name string) error {
	v.d.mu.Lock()
	err := v.enter(op, name)
	if err != nil {
		v.d.mu.Unlock()
	}
	return err
}

func (v simView) enter(op, name string) error {
	d := v.d
	if v.epoch != d.epoch {
		return errCut
	}
	d.counts[op]++
	if op != "read" {
		if d.calls++; d.cutAt > 0 && d.calls >= d.cutAt {
			return errCut
		}
	}
	if d.fault != nil {
		return d.fault(op, name)
	}
	return d.mishap(op, name)
}

func notExist(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

func (v simView) Open(name string, flag int) (File, error) {
	op := "read"
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		op = "create"
	}
	if err := v.call(op, name); err != nil {
		return nil, err
	}
	defer v.d.mu.Unlock()
	f := v.d.files[name]
	switch {
	case f == nil && flag&os.O_CREATE == 0, f == nil && !v.d.dirs[filepath.Dir(name)]:
		return nil, notExist("open", name)
	case f != nil && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case f == nil, flag&os.O_TRUNC != 0:
		f = &simFile{}
		v.d.rename("", name, f)
	}
	return &simHandle{v, name, f}, nil
}

func (v simView) Mkdir(name string) error {
	if err := v.call("mkdir", name); err != nil {
		return err
	}
	defer v.d.mu.Unlock()
	v.d.dirs[name] = true
	return nil
}

func (v simView) Rename(from, to string) error {
	if err := v.call("rename", to); err != nil {
		return err
	}
	defer v.d.mu.Unlock()
	f := v.d.files[from]
	if f == nil {
		return notExist("rename", from)
	}
	v.d.rename(from, to, f)
	return nil
}

func (v simView) Remove(name string) error {
	if err := v.call("remove", name); err != nil {
		return err
	}
	defer v.d.mu.Unlock()
	if v.d.files[name] == nil {
		return notExist("remove", name)
	}
	v.d.rename(name, "", nil)
	return nil
}

func (v simView) ReadDir(name string) ([]string, error) {
	if err := v.call("read", name); err != nil {
		return nil, err
	}
	defer v.d.mu.Unlock()
	if !v.d.dirs[name] {
		return nil, notExist("readdir", name)
	}
	var names []string
	for n := range v.d.files {
		if filepath.Dir(n) == name {
			names = append(names, filepath.Base(n))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (v simView) SyncDir(name string) error {
	if err := v.call("syncdir", name); err != nil {
		return err
	}
	defer v.d.mu.Unlock()
	v.d.syncOps(func(n string) bool { return filepath.Dir(n) == name })
	return nil
}

func (v simView) Volume(name string) (Volume, error) {
	if err := v.call("read", name); err != nil {
		return Volume{}, err
	}
	defer v.d.mu.Unlock()
	vol := v.d.volume
	vol.Free = v.d.free
	return vol, nil
}

// simDevice is the file system of everything below the first path element.
type simDevice struct {
	v   simView
	top string
}

func topOf(name string) string { return "/" + strings.SplitN(name[1:], "/", 2)[0] }

func deviceNumber(name string) uint64 { return uint64(checksum([]byte(topOf(name)))) }

func (v simView) OpenDevice(name string) (Device, error) {
	if err := v.call("read", name); err != nil {
		return nil, err
	}
	defer v.d.mu.Unlock()
	return &simDevice{v, topOf(name)}, nil
}

func (d *simDevice) Close() error   { return nil }
func (d *simDevice) Number() uint64 { return deviceNumber(d.top) }

func (d *simDevice) Sync() error {
	if err := d.v.call("syncfs", d.top); err != nil {
		return err
	}
	defer d.v.d.mu.Unlock()
	match := func(n string) bool { return topOf(n) == d.top }
	for name, f := range d.v.d.files {
		if match(name) {
			f.sync()
		}
	}
	d.v.d.syncOps(match)
	return nil
}

type simHeld struct {
	epoch int
	id    string
}

type simLock struct {
	v    simView
	name string
}

func (v simView) Lock(name, id string) (io.Closer, error) {
	if err := v.call("lock", name); err != nil {
		return nil, err
	}
	defer v.d.mu.Unlock()
	if held := v.d.locks[name]; held.epoch == v.epoch {
		return nil, &LockedError{Path: name, Holder: held.id}
	}
	v.d.locks[name] = simHeld{v.epoch, id}
	return simLock{v, name}, nil
}

func (l simLock) Close() error {
	l.v.d.mu.Lock()
	defer l.v.d.mu.Unlock()
	if l.v.d.locks[l.name].epoch == l.v.epoch {
		delete(l.v.d.locks, l.name)
	}
	return nil
}
