package spool

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Mode says how deliveries on a file system become durable.
type Mode uint8

// Modes.
const (
	// Shared: the agent does not sync; it settles with Outcome.Applied, and a
	// checkpoint syncs many deliveries at once.
	Shared Mode = iota
	// Each: the agent syncs every file before its rename and the directory
	// after, and settles with Outcome.Applied nil.
	Each
)

// SyncMode chooses the mode for deliveries below path (mailbox_sync = auto):
// Shared on ext4, xfs, btrfs, zfs and tmpfs with Linux 5.8 or later, whose
// syncfs reports errors; Each on anything else, or when path cannot be asked.
func SyncMode(path string) Mode {
	v, err := osFS{}.Volume(path)
	if err != nil {
		return Each
	}
	return v.Mode
}

const zfsMagic = 0x2fc12fc1 // not in linux/magic.h

// volumeOf knows file systems by the magic number of statfs(2).
func volumeOf(magic int64) Volume {
	var name string
	shared, remote := false, false
	switch uint32(magic) {
	case unix.EXT4_SUPER_MAGIC:
		name, shared = "ext4", true
	case unix.XFS_SUPER_MAGIC:
		name, shared = "xfs", true
	case unix.BTRFS_SUPER_MAGIC:
		name, shared = "btrfs", true
	case zfsMagic:
		name, shared = "zfs", true
	case unix.TMPFS_MAGIC:
		name, shared = "tmpfs", true
	case unix.NFS_SUPER_MAGIC:
		name, remote = "nfs", true
	case unix.FUSE_SUPER_MAGIC:
		name, remote = "fuse", true
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		name, remote = "cifs", true
	default:
		name = fmt.Sprintf("%#x", uint32(magic))
	}
	v := Volume{Type: name, Remote: remote, Mode: Each}
	if shared && syncfsReports() {
		v.Mode = Shared
	}
	return v
}

// syncfsReports: since Linux 5.8 syncfs(2) returns errors of write-back. The
// kernel is asked once.
var syncfsReports = sync.OnceValue(func() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major > 5 || major == 5 && minor >= 8
})
