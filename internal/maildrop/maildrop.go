// Package maildrop is the directory into which the sendmail command puts mail,
// also while the server is stopped:
//
//	$queue_directory/postern/maildrop    mode 1733
//
// Any user may write there and nobody else may read or list it; a submitted
// file has mode 0600 and belongs to the user who wrote it, which is how the
// server knows who submitted. Where the server is not root, the directory is
// setgid as well (mode 3733), and files have the server's group and mode 0640, or
// it could not read them either. A file is complete when its name begins with
// "mail.": it is written and synced under "tmp." first and then renamed.
//
// A file is one line of JSON, the Envelope, and the message text with LF line
// ends. What follows "mail." is 24 hexadecimal digits, by which commands name the
// message as long as it is here (see ID).
//
// It imports only the standard library and golang.org/x/sys.
package maildrop

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

// version of the file format; others are refused.
const version = 1

// staleTemp is how old an unfinished file must be before it is removed.
const staleTemp = 24 * time.Hour

// Envelope is what sendmail was told besides the text.
type Envelope struct {
	Version    int      `json:"version"`
	Sender     string   `json:"sender"` // external form; "" for the null sender
	FullName   string   `json:"full_name,omitempty"`
	Recipients []string `json:"recipients"` // external form
	// FromHeader takes further recipients from To, Cc and Bcc (sendmail -t).
	FromHeader bool   `json:"from_header,omitempty"`
	Notify     string `json:"notify,omitempty"`    // sendmail -N
	Ret        string `json:"ret,omitempty"`       // sendmail -R
	EnvID      string `json:"envid,omitempty"`     // sendmail -V
	EightBit   bool   `json:"eight_bit,omitempty"` // sendmail -B 8BITMIME
	// Verify asks for a report of what delivery would come to, and no delivery;
	// Report for one of what it came to (sendmail -bv, -v).
	Verify bool `json:"verify,omitempty"`
	Report bool `json:"report,omitempty"`
	// DSN is what was said for each of Recipients, by index; nil: nothing (sendmail
	// -bs; RFC 3461, 4).
	DSN []DSN `json:"dsn,omitempty"`
}

// DSN is what the sender asked for about one recipient.
type DSN struct {
	Notify string `json:"notify,omitempty"` // "SUCCESS,DELAY"
	ORCPT  string `json:"orcpt,omitempty"`  // decoded: "rfc822;john@example.org"
}

// Make makes the directory with its mode. It needs to be called by the server
// only.
func Make(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	mode := 0o733 | os.ModeSticky
	if os.Geteuid() != 0 {
		mode |= os.ModeSetgid
	}
	return os.Chmod(dir, mode)
}

// Submit writes a message. When it returns nil the message survives a power
// cut. text is read to its end.
func Submit(dir string, e Envelope, text io.Reader) (err error) {
	e.Version = version
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var random [12]byte
	rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	temp := filepath.Join(dir, "tmp."+id)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	defer f.Close()
	w := bufio.NewWriterSize(f, 64<<10)
	w.Write(append(line, '\n'))
	if _, err := io.Copy(w, text); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if info, err := os.Stat(dir); err == nil && info.Mode()&os.ModeSetgid != 0 {
		if err := f.Chmod(0o640); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, "mail."+id)); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir syncs a directory. A user who may not read it cannot: then the whole
// file system is synced, which any user may.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		syscall.Sync()
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Item is a submitted message. The caller closes it, and removes it once it is
// safe elsewhere.
type Item struct {
	Envelope Envelope
	UID      int // who submitted
	Size     int64
	Time     time.Time
	Text     io.Reader
	path     string
	file     *os.File
}

// Close closes the file.
func (i *Item) Close() error { return i.file.Close() }

// Remove takes the message out of the directory.
func (i *Item) Remove() error { return os.Remove(i.path) }

// Names lists the complete messages, oldest first.
func Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	type item struct {
		name string
		at   time.Time
	}
	var items []item
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		switch name := e.Name(); {
		case strings.HasPrefix(name, "mail."):
			items = append(items, item{name, info.ModTime()})
		case strings.HasPrefix(name, "tmp.") && time.Since(info.ModTime()) > staleTemp:
			os.Remove(filepath.Join(dir, name))
		}
	}
	sort.Slice(items, func(i, j int) bool { return items[i].at.Before(items[j].at) })
	names := make([]string, len(items))
	for i, it := range items {
		names[i] = it.name
	}
	return names, nil
}

// An ID is longer than any queue id of the spool.
const (
	minID = 17
	maxID = 100
)

// ID is what commands call the message in a file of that name: its digits, in
// upper case. "" is for a name that Submit would not make; the server takes such a
// file in all the same, or sets it aside.
func ID(name string) string {
	rest, ok := strings.CutPrefix(name, "mail.")
	if !ok || len(rest) < minID || len(rest) > maxID || strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
		return ""
	}
	return strings.ToUpper(rest)
}

// Name is the name of the file with that ID; "" for what is no ID.
func Name(id string) string {
	name := "mail." + strings.ToLower(id)
	if ID(name) == "" {
		return ""
	}
	return name
}

// ErrBad is a file that is no submitted message: SetAside moves it out of the way.
var ErrBad = errors.New("not a maildrop file")

// Open reads a submitted message. What is not a regular file with one link, or
// not in the format, is ErrBad.
func Open(dir, name string) (*Item, error) {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%w: %s is a link", ErrBad, name)
	}
	if err != nil {
		return nil, err
	}
	item, err := open(f, path)
	if err != nil {
		f.Close()
		return nil, err
	}
	return item, nil
}

func open(f *os.File, path string) (*Item, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Nlink != 1 {
		return nil, fmt.Errorf("%w: %s is no regular file with one link", ErrBad, path)
	}
	r := bufio.NewReaderSize(f, 64<<10)
	line, err := readLine(r, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrBad, path, err)
	}
	// The owner can still write to the file: what comes after this look at it
	// is not part of the message, whose size has been judged.
	text := io.LimitReader(r, info.Size()-int64(len(line)))
	item := &Item{UID: int(st.Uid), Size: info.Size(), Time: info.ModTime(), Text: text, path: path, file: f}
	if err := json.Unmarshal(line, &item.Envelope); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrBad, path, err)
	}
	if item.Envelope.Version != version {
		return nil, fmt.Errorf("%w: %s: version %d", ErrBad, path, item.Envelope.Version)
	}
	return item, nil
}

// readLine reads a line of bounded length.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return nil, errors.New("first line too long")
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// SetAside renames a bad file so that it is not tried again.
func SetAside(dir, name string) error {
	return os.Rename(filepath.Join(dir, name), filepath.Join(dir, "bad."+name))
}
