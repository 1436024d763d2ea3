package privsep

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// confined are the rights that Confine takes away: everything but reading. The
// right to move a file to another directory is one of them since level 2; level
// 1 takes it away without a word.
const confined = landlock.AccessFSSet(ll.AccessFSExecute | ll.AccessFSWriteFile | ll.AccessFSTruncate |
	ll.AccessFSRemoveDir | ll.AccessFSRemoveFile | ll.AccessFSMakeChar | ll.AccessFSMakeDir | ll.AccessFSMakeReg |
	ll.AccessFSMakeSock | ll.AccessFSMakeFifo | ll.AccessFSMakeBlock | ll.AccessFSMakeSym | ll.AccessFSRefer)

// kept are the rights below the directories that Confine is given.
const kept = confined &^ (ll.AccessFSExecute | ll.AccessFSMakeChar | ll.AccessFSMakeBlock)

// Confine gives up, for the whole process and for good, what a server that was
// taken over could misuse: no other process may trace it or read its memory, no
// program is run and no device made, and files are written below the directories
// only (landlock(7)). It says how much of that this kernel can do. An error is
// one of the directories; where the kernel has no Landlock there is none.
func Confine(writable ...string) (level string, err error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return "", fmt.Errorf("prctl(PR_SET_DUMPABLE): %w", err)
	}
	version, err := ll.LandlockGetABIVersion()
	if err != nil || version < 1 {
		return "this kernel has no Landlock: files are protected by their permissions only", nil
	}
	all, left := confined, kept
	if version < 2 {
		all, left = all&^ll.AccessFSRefer, left&^ll.AccessFSRefer
	}
	config, err := landlock.NewConfig(all)
	if err != nil {
		return "", err
	}
	rules := []landlock.Rule{landlock.PathAccess(landlock.AccessFSSet(ll.AccessFSWriteFile), "/dev/null")}
	for _, dir := range writable {
		rules = append(rules, landlock.PathAccess(left, dir))
	}
	if err := config.BestEffort().RestrictPaths(rules...); err != nil {
		return "", fmt.Errorf("landlock: %w", err)
	}
	return fmt.Sprintf("Landlock level %d: nothing is executed, and nothing is written but below %q", version, writable), nil
}
