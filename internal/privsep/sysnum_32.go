//go:build linux && (386 || arm)

package privsep

import "golang.org/x/sys/unix"

// The calls without the suffix take 16-bit ids on these machines.
const (
	sysSetresuid = unix.SYS_SETRESUID32
	sysSetresgid = unix.SYS_SETRESGID32
	sysSetgroups = unix.SYS_SETGROUPS32
)
