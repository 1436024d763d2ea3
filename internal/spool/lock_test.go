package spool

import (
	"errors"
	"testing"
)

func TestLockedError(t *testing.T) {
	for _, tt := range []struct {
		holder string
		brief  bool
		text   string
	}{
		{"812 server", false, "/s/lock: spool is in use by a server, process 812"},
		{"812 command", true, "/s/lock: spool is in use by a command, process 812"},
		{"812", false, "/s/lock: spool is in use by process 812"},
		{"", true, "/s/lock: spool is in use by a process that has just begun"},
	} {
		err := &LockedError{Path: "/s/lock", Holder: tt.holder}
		if err.Brief() != tt.brief || err.Error() != tt.text || !errors.Is(err, ErrLocked) {
			t.Errorf("holder %q: Brief() = %v, %q; want %v, %q", tt.holder, err.Brief(), err, tt.brief, tt.text)
		}
	}
}

// TestHolder: a spool says what opened it.
func TestHolder(t *testing.T) {
	for _, command := range []bool{false, true} {
		d := newMailDisk()
		v := d.process()
		o := simOptions(v, 1)
		o.Command = command
		s := mustOpen(t, "/spool", o)
		held := new(LockedError)
		if _, err := Open("/spool", simOptions(v, 1)); !errors.As(err, &held) || held.Brief() != command {
			t.Errorf("opened by a command %v: second Open = %v", command, err)
		}
		mustClose(t, s)
	}
}
