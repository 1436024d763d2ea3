package mailboxes

import (
	"path/filepath"

	"postern/internal/route"
)

// trouble says why a mailbox cannot be written.
type trouble uint8

const (
	baseMissing trouble = iota // virtual_mailbox_base does not exist
	noSearch                   // a directory on the way may not be entered
	noWrite                    // nothing may be made in a directory, or the mbox not be written
	notDirectory
	notOwner     // strict_mailbox_ownership
	leavesBase   // a symbolic link
	parentAbsent // of an mbox: nobody makes it
)

// obstacle is what keeps mail from a mailbox.
type obstacle struct {
	why  trouble
	path string
	way  way // up to it
}

// judge looks for an obstacle between an owner and a mailbox. The result is nil
// when there is none, or when it cannot be seen.
type judge struct {
	strict bool // strict_mailbox_ownership
	bases  map[string]*base
	views  views
}

// base is a directory below which mailboxes are.
type base struct {
	dir   string // where it really is
	way   way
	known bool
	gone  bool
	file  bool
}

func newJudge(strict bool) *judge {
	return &judge{strict: strict, bases: map[string]*base{}, views: views{}}
}

// base looks at a base directory, once.
func (j *judge) base(path string) *base {
	b := j.bases[path]
	if b == nil {
		w, err := climb("/", path, false)
		b = &base{way: w, known: err == nil, gone: w.missing != "", file: w.blocked != nil || w.end != nil && !w.end.isDir()}
		if w.end != nil {
			b.dir = w.end.path
			j.views[b.dir] = view{element: w.end}
		}
		j.bases[path] = b
	}
	return b
}

// mailbox judges a mailbox and its owner.
func (j *judge) mailbox(box *route.Mailbox) *obstacle {
	id := identity{box.UID, []int{box.GID}}
	b := j.base(box.Base)
	if o := b.obstacle(id, box.Base); o != nil || !b.known {
		return o
	}
	rel, err := filepath.Rel(box.Base, box.Path)
	if err != nil {
		return nil
	}
	o := j.below(id, b.dir, rel, box)
	if o != nil {
		o.way = b.way.then(o.way)
	}
	return o
}

// below judges the way from the base to a mailbox.
func (j *judge) below(id identity, dir, rel string, box *route.Mailbox) *obstacle {
	w, unseen := j.views.climb(dir, rel, true)
	if o := w.obstacle(id); o != nil || unseen != nil {
		return o
	}
	if box.Format == route.Maildir {
		return maildir(id, w)
	}
	return j.mbox(id, w, box.Path)
}

// then is the way that goes on with another one, which begins where the first ends.
func (w way) then(next way) way {
	n := len(w.passed) - 1
	next.passed = append(w.passed[:n:n], next.passed...)
	return next
}

// obstacle is what is wrong with a base directory itself.
func (b *base) obstacle(id identity, path string) *obstacle {
	if e := b.way.barrier(id); e != nil {
		return &obstacle{noSearch, e.path, b.way}
	}
	switch {
	case !b.known:
		return nil
	case b.gone:
		return &obstacle{baseMissing, path, b.way}
	case b.file:
		return &obstacle{notDirectory, path, b.way}
	}
	return nil
}

// obstacle is what is on the way to a mailbox below its base.
func (w *way) obstacle(id identity) *obstacle {
	e := w.barrier(id)
	switch {
	case e != nil:
		return &obstacle{noSearch, e.path, *w}
	case w.outside != "":
		return &obstacle{leavesBase, w.outside, *w}
	case w.blocked != nil:
		return &obstacle{notDirectory, w.blocked.path, *w}
	}
	return nil
}

// maildir judges a Maildir. One that is not there is made, with all directories
// above it up to the base.
func maildir(id identity, w way) *obstacle {
	if w.missing != "" {
		return w.write(id)
	}
	if !w.end.isDir() {
		return &obstacle{notDirectory, w.end.path, w}
	}
	for _, sub := range []string{"tmp", "new"} {
		below, err := climb(w.end.path, sub, true)
		if err != nil {
			return nil
		}
		below = w.then(below)
		if below.end != nil && !below.end.isDir() {
			return &obstacle{notDirectory, below.end.path, below}
		}
		if o := below.write(id); o != nil {
			return o
		}
	}
	return nil
}

// write judges whether files and directories can be made where a way ends.
func (w *way) write(id identity) *obstacle {
	if last := w.last(); id.denied(last, write|search) {
		return &obstacle{noWrite, last.path, *w}
	}
	return nil
}

// mbox judges a file. Directories above it are not made.
func (j *judge) mbox(id identity, w way, path string) *obstacle {
	switch {
	case w.missing != "" && filepath.Base(w.missing) != filepath.Base(path):
		return &obstacle{parentAbsent, filepath.Dir(path), w}
	case w.missing != "":
		return w.write(id)
	case !w.end.isRegular():
		return nil // a device may be meant; a directory is a flaw of the path
	case j.strict && int(w.end.st.Uid) != id.uid:
		return &obstacle{notOwner, w.end.path, w}
	case id.denied(w.end, write):
		return &obstacle{noWrite, w.end.path, w}
	}
	return nil
}
