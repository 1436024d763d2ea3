package helper

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
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
	members members             // of aliases
	rows    map[string][]string // of commands
	numbers map[int]bool        // of ids
}

type textStamp struct {
	inode    uint64
	size     int64
	modified time.Time
}

// textUse is what a text file is read for.
type textUse uint8

const (
	forAliases textUse = iota
	forCommands
	forNumbers
)

// textFiles are the text files that a policy has read. The zero value is ready.
type textFiles struct {
	mu   sync.Mutex
	open map[textKey]*textFile
}

type textKey struct {
	name string
	use  textUse
}

// file returns a text file, as it is now, with its lock held.
func (t *textFiles) file(name string, use textUse) *textFile {
	t.mu.Lock()
	if t.open == nil {
		t.open = map[textKey]*textFile{}
	}
	f := t.open[textKey{name, use}]
	if f == nil {
		f = &textFile{}
		t.open[textKey{name, use}] = f
	}
	t.mu.Unlock()
	f.mu.Lock()
	f.refresh(name, use)
	return f
}

// aliases returns the members of an alias file, and its owner; none when it
// cannot be read.
func (t *textFiles) aliases(name string) (members, int) {
	f := t.file(name, forAliases)
	defer f.mu.Unlock()
	return f.members, f.uid
}

// commands returns the rows of a table for a user; none when it cannot be read.
func (t *textFiles) commands(name, user string) []string {
	f := t.file(name, forCommands)
	defer f.mu.Unlock()
	return f.rows[user]
}

// numbers returns the numbers that the values of a table begin with; none when it
// cannot be read.
func (t *textFiles) numbers(name string) map[int]bool {
	f := t.file(name, forNumbers)
	defer f.mu.Unlock()
	return f.numbers
}

// refresh reads the file when it is not the one that was read last.
func (f *textFile) refresh(name string, use textUse) {
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
	content, err := text.Parse(name, data, text.Options{Alias: use == forAliases, Loose: true, Fold: true})
	if err != nil {
		return
	}
	f.stamp = stamp
	f.take(content, use)
}

// take keeps what a text is read for.
func (c *textContent) take(content *text.Content, use textUse) {
	var list memberList
	c.rows, c.numbers = map[string][]string{}, map[int]bool{}
	for key, value := range content.Pairs() {
		switch use {
		case forAliases:
			list.add(value)
		case forCommands:
			c.rows[key] = append(c.rows[key], value)
		case forNumbers:
			if n, ok := Number(value); ok {
				c.numbers[n] = true
			}
		}
	}
	c.members = list.members()
}

// Number is the number that a value of virtual_gid_maps begins with, as package
// route reads it; false: there is none.
func Number(value string) (int, bool) {
	value = strings.TrimSpace(value)
	if i := strings.IndexFunc(value, func(c rune) bool { return c < '0' || c > '9' }); i >= 0 {
		value = value[:i]
	}
	n, err := strconv.Atoi(value)
	return n, err == nil
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
