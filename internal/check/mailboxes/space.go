package mailboxes

import "golang.org/x/sys/unix"

// space says in words why a file system takes no more files, or "".
func space(dir string) string {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return ""
		}
		break
	}
	switch {
	case st.Flags&unix.ST_RDONLY != 0:
		return "is mounted read-only"
	case st.Blocks > 0 && st.Bavail == 0:
		return "is full: no block is free for users"
	case st.Files > 0 && st.Ffree == 0:
		return "is full: no inode is free"
	}
	return ""
}
