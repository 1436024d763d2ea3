package spool

import (
	"path/filepath"
	"sync"
)

// devices are the file systems of mailboxes, by st_dev. Each is opened before
// deliveries go there and stays open, because syncfs reports the write-back
// errors since its descriptor was opened.
type devices struct {
	mu   sync.Mutex
	open map[uint64]*device
}

type device struct {
	Device
	// known: since before the oldest delivery that is not yet covered. A
	// device first met in a settlement could have lost an error by then.
	known  bool
	shared bool // its syncfs can be believed
	// suspect: a sync has failed. It has told of all that was written before,
	// deliveries among it that were not settled yet, and no later one will: so
	// from now on each file is written again and synced.
	suspect bool
}

// Cover opens the file system of the directory dir, so that checkpoints can
// sync all deliveries there at once. To be called for the base directories of
// mailboxes before the first delivery; a file system that was not covered is
// met at its first settlement, and its files are synced one by one until the
// next checkpoint.
func (s *Spool) Cover(dir string) error {
	d, err := s.openDevice(dir)
	if err != nil {
		return err
	}
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	if s.devices.open[d.Number()] != nil {
		return d.Close()
	}
	d.known = true
	s.devices.open[d.Number()] = d
	return nil
}

func (s *Spool) openDevice(dir string) (*device, error) {
	v, err := s.fs.Volume(dir)
	if err != nil {
		return nil, err
	}
	d, err := s.fs.OpenDevice(dir)
	if err != nil {
		return nil, err
	}
	return &device{Device: d, shared: v.Mode == Shared}, nil
}

// watch opens the file systems that a change names for the first time.
func (s *Spool) watch(c *Change) {
	if s.opt.MailboxSync == "each" {
		return
	}
	for _, v := range c.Settle {
		for _, o := range v.Outcomes {
			if o.Applied != nil {
				s.meet(o.Applied)
			}
		}
	}
}

// meet opens the file system of a delivery. One that cannot be opened, or
// turns out to be another, has its files synced one by one.
func (s *Spool) meet(a *Applied) {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	if s.devices.open[a.Dev] != nil {
		return
	}
	d, err := s.openDevice(filepath.Dir(a.Path))
	if err != nil {
		s.log.Warningf("open the file system of %s: %v", a.Path, err)
		return
	}
	if d.Number() == a.Dev {
		s.devices.open[a.Dev] = d
	} else {
		d.Close()
	}
}

// syncDevice makes all files of a device durable; false when they have to be
// secured one by one. suspect says that write-back has failed. Only one
// checkpoint at a time looks at suspect.
func (s *Spool) syncDevice(number uint64) (ok, suspect bool) {
	s.devices.mu.Lock()
	d := s.devices.open[number]
	s.devices.mu.Unlock()
	if d == nil || !d.shared || d.suspect {
		return false, d != nil && d.suspect
	}
	began := s.opt.Now()
	err := d.Sync()
	s.observe("mailbox sync", began)
	if err != nil {
		s.log.Warningf("sync a mail file system: %v; until the next start its new mail is written twice and synced one by one", err)
		d.suspect = true
		return false, true
	}
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	known := d.known
	d.known = true
	return known, false
}

func (s *Spool) closeDevices() {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	for _, d := range s.devices.open {
		d.Close()
	}
	clear(s.devices.open)
}
