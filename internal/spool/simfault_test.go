package spool

import (
	"math/rand/v2"
	"strings"
	"syscall"
)

// ageing makes the disk of the mailboxes fail now and then, in one call of odds:
// to sync all, to sync a file, to write to a delivered one, to sync a directory.
// As on Linux, whoever syncs is told of an error once. What could not be written
// is clean from then on: it can be read, and no later sync brings it to the disk.
func (d *simDisk) ageing(rng *rand.Rand, odds int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.odds, d.luck = odds, rng
}

// mishap fails a call on a disk that is ageing, and forgets what it was to
// write. The caller holds mu.
func (d *simDisk) mishap(op, name string) error {
	if d.odds == 0 || !strings.HasPrefix(name, "/mail") || strings.Contains(name, "/tmp/") || d.luck.IntN(d.odds) > 0 {
		return nil
	}
	switch op {
	case "syncfs":
		for file, f := range d.files {
			if strings.HasPrefix(file, name+"/") && d.luck.IntN(2) == 0 {
				f.pending = nil
			}
		}
	case "sync":
		if f := d.files[name]; f != nil {
			f.pending = nil
		}
	case "write", "syncdir":
	default:
		return nil
	}
	d.mishaps++
	return syscall.EIO
}
