package helper

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/table/text"
)

// textFile is the text of a table, read anew when it has changed.
type textFile struct {
	mu sync.Mutex
	textContent
}

type textContent struct {
	stamp   textStamp
	uid     int                 // its owner
	members members             // of an alias file
	rows    map[string][]string // of any other
}

type textStamp struct {
	inode    uint64
	size     int64
	modified time.Time
}

// textFiles are the text files that a policy has read. The zero value is ready.
type textFiles struct {
	mu   sync.Mutex
	open map[string]*textFile
}

func (t *textFiles) file(name string) *textFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[string]*textFile{}
	}
	f := t.open[name]
	if f == nil {
		f = &textFile{}
		t.open[name] = f
	}
	return f
}

// aliases returns the members of an alias file, and its owner; none when it
// cannot be read.
func (t *textFiles) aliases(name string) (members, int) {
	f := t.file(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh(name, true)
	return f.members, f.uid
}

// commands returns the rows of a table for a user; none when it cannot be read.
func (t *textFiles) commands(name, user string) []string {
	f := t.file(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh(name, false)
	return f.rows[user]
}

// refresh reads the file when it is not the one that was read last.
func (f *textFile) refresh(name string, aliases bool) {
	info, err := os.Stat(name)
	if err != nil {
		f.textContent = textContent{}
		return
	}
	st := info.Sys().(*syscall.Stat_t)
	stamp := textStamp{st.Ino, info.Size(), info.ModTime()}
	if stamp == f.stamp {
		return
	}
	f.textContent = textContent{uid: int(st.Uid)}
	data, err := readRegular(name)
	if err != nil {
		return
	}
	content, err := text.Parse(name, data, text.Options{Alias: aliases, Fold: true})
	if err != nil {
		return
	}
	f.stamp, f.members, f.rows = stamp, members{}, map[string][]string{}
	for key, value := range content.Pairs() {
		if aliases {
			f.members.add(value)
		} else {
			f.rows[key] = append(f.rows[key], value)
		}
	}
}

// readRegular reads a regular file, and waits for nothing that is none.
func readRegular(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}
