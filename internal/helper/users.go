package helper

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SystemUsers finds users in a file of the form of passwd(5), which is read again
// when it has changed. While it cannot be read there is nobody.
func SystemUsers(file string) Users {
	var mu sync.Mutex
	var read time.Time
	var size int64
	byID := map[int][]User{}
	return func(uid int) []User {
		mu.Lock()
		defer mu.Unlock()
		info, err := os.Stat(file)
		if err != nil {
			return nil
		}
		if !info.ModTime().Equal(read) || info.Size() != size {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil
			}
			byID, read, size = parseUsers(string(text)), info.ModTime(), info.Size()
		}
		return byID[uid]
	}
}

// parseUsers reads name:password:uid:gid:gecos:home:shell. All users are also
// under AnyUser.
func parseUsers(text string) map[int][]User {
	byID := map[int][]User{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) != 7 {
			continue
		}
		uid, err := strconv.Atoi(f[2])
		gid, gerr := strconv.Atoi(f[3])
		if err != nil || gerr != nil || uid < 0 || gid < 0 {
			continue
		}
		u := User{Name: f[0], UID: uid, GID: gid, Home: f[5], Shell: f[6]}
		byID[uid] = append(byID[uid], u)
		byID[AnyUser] = append(byID[AnyUser], u)
	}
	return byID
}
