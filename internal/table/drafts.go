package table

import (
	"maps"
	"path/filepath"
	"slices"
	"sync"
)

// Drafts are files that stand in the place of others, to see what a change would
// do. nil: every file is itself. They are safe for concurrent use.
type Drafts struct {
	files map[string]string

	mu    sync.Mutex // guards what follows
	asked map[string]bool
}

// NewDrafts makes drafts of a map from the name of a file to that of its draft, both
// absolute. Of no files they are nil.
func NewDrafts(files map[string]string) *Drafts {
	if len(files) == 0 {
		return nil
	}
	return &Drafts{files: files, asked: map[string]bool{}}
}

// File is the file to open under a name: its draft, or the file itself.
func (d *Drafts) File(name string) string {
	draft, ok := d.Of(name)
	if !ok {
		return name
	}
	return draft
}

// Of is the draft of a file, if there is one, which counts as read from now on.
func (d *Drafts) Of(name string) (draft string, ok bool) {
	if d == nil {
		return "", false
	}
	name = filepath.Clean(name)
	if draft, ok = d.files[name]; ok {
		d.mu.Lock()
		d.asked[name] = true
		d.mu.Unlock()
	}
	return draft, ok
}

// Names are the files that have a draft, with it.
func (d *Drafts) Names() map[string]string {
	if d == nil {
		return nil
	}
	return d.files
}

// Unread are the files whose drafts nobody has asked for, in order.
func (d *Drafts) Unread() []string {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(d.files)), func(name string) bool { return d.asked[name] })
}
