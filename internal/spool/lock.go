package spool

import (
	"fmt"
	"os"
	"strings"
)

// What the lock file says after the process id.
const (
	holderServer  = "server"
	holderCommand = "command"
)

// holderID is what this process writes into the lock.
func holderID(command bool) string {
	kind := holderServer
	if command {
		kind = holderCommand
	}
	return fmt.Sprintf("%d %s", os.Getpid(), kind)
}

// LockedError is the ErrLocked that says who holds a spool.
type LockedError struct {
	Path   string // of the lock
	Holder string // what the holder has written there; "" when it has only just begun
}

// Brief reports whether the holder lets go soon: a command, that looks at the
// spool while no server runs. It is true as well of one that has not said yet
// what it is.
func (e *LockedError) Brief() bool {
	_, kind, _ := strings.Cut(e.Holder, " ")
	return kind == holderCommand || e.Holder == ""
}

// Error names the holder: "spool is in use by a command, process 812".
func (e *LockedError) Error() string {
	process, kind, _ := strings.Cut(e.Holder, " ")
	who := "a " + kind + ", "
	switch {
	case e.Holder == "":
		return fmt.Sprintf("%s: %v by a process that has just begun", e.Path, ErrLocked)
	case kind == "":
		who = ""
	}
	return fmt.Sprintf("%s: %v by %sprocess %s", e.Path, ErrLocked, who, process)
}

// Unwrap makes it an ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }
