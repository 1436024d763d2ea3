package table

import (
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// checkInterval is how often a file is examined for changes, and how long a
// changed one must have stood still before it is read.
const checkInterval = time.Second

// Patience is how long a file may change without a rest until it is read all
// the same.
const Patience = 5 * time.Second

// File is the content of a file that is read again when the file changes. It
// is what tables are made of whose source is a file.
//
// The file is examined when the content is asked for, at most once a second: by
// its device, inode, size and time of modification. A changed file is parsed
// aside once it has stood still for a second, or been changing for five, and
// replaces the content whole.
// A file that vanished or cannot be read or parsed leaves the content as it
// was, with one warning until it is well again.
type File[T any] struct {
	path  string
	parse func(data []byte) (T, error)
	o     *Opener

	content atomic.Pointer[T]
	next    atomic.Int64 // time of the next examination, Unix nanoseconds

	mu      sync.Mutex // guards what follows; held by the one who examines
	read    identity   // of what was read last
	seen    identity   // at the last examination
	since   time.Time  // when the file began to change, zero when it stands still
	trouble bool       // a warning was given
}

// identity is what changes when a file does.
type identity struct {
	device, inode uint64
	size          int64
	modified      int64
}

func identify(info fs.FileInfo) identity {
	id := identity{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.device, id.inode = uint64(st.Dev), st.Ino
	}
	return id
}

// OpenFile reads the file and parses it. An error of the file is worded by
// OpenError, an error of parse is returned as it is. parse may keep data.
func OpenFile[T any](o *Opener, path string, parse func(data []byte) (T, error)) (*File[T], error) {
	f := &File[T]{path: path, parse: parse, o: o}
	if err := f.load(); err != nil {
		return nil, err
	}
	f.seen = f.read
	f.next.Store(o.Clock().Add(checkInterval).UnixNano())
	return f, nil
}

// Content returns what the file holds.
func (f *File[T]) Content() T {
	if now := f.o.Clock(); now.UnixNano() >= f.next.Load() && f.mu.TryLock() {
		f.examine(now)
		f.next.Store(now.Add(checkInterval).UnixNano())
		f.mu.Unlock()
	}
	return *f.content.Load()
}

// examine reads the file again if it changed and stands still.
func (f *File[T]) examine(now time.Time) {
	info, err := f.o.Stat(f.path)
	if err != nil {
		f.complain(OpenError(f.path, err))
		return
	}
	id, before := identify(info), f.seen
	f.seen = id
	if id == f.read {
		f.trouble, f.since = false, time.Time{}
		return
	}
	if f.since.IsZero() {
		f.since = now
	}
	// It stood still since the last examination, or its clock says so.
	if id != before && now.Sub(info.ModTime()) < checkInterval && now.Sub(f.since) < Patience {
		return
	}
	f.since = time.Time{}
	if err := f.load(); err != nil {
		f.complain(err)
		return
	}
	f.trouble = false
	f.o.Info("%s has changed and was read again", f.path)
}

func (f *File[T]) complain(err error) {
	if !f.trouble {
		f.o.Warn("%v; the content read before stays in use", err)
	}
	f.trouble = true
}

// load reads and parses the file. One that is modified meanwhile is read again,
// a few times.
func (f *File[T]) load() error {
	var data []byte
	var id identity
	for range 3 {
		var whole bool
		var err error
		if data, id, whole, err = readFile(f.o, f.path); err != nil {
			return OpenError(f.path, err)
		}
		if whole {
			break
		}
	}
	f.read = id // also when it cannot be parsed: that will not change until the file does
	content, err := f.parse(data)
	if err != nil {
		return err
	}
	f.content.Store(&content)
	return nil
}

// readFile returns the bytes of a file, its identity before they were read, and
// whether it was the same after.
func readFile(o *Opener, path string) (data []byte, id identity, whole bool, err error) {
	file, err := o.OpenFile(path)
	if err != nil {
		return nil, id, false, err
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return nil, id, false, err
	}
	// One byte more than the size lets the reader meet the end without growing.
	data = make([]byte, 0, before.Size()+1)
	for {
		n, err := file.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, id, false, err
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
	after, err := file.Stat()
	if err != nil {
		return nil, id, false, err
	}
	id = identify(before)
	return data, id, id == identify(after), nil
}
