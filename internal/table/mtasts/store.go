package mtasts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// kept is a policy that was fetched.
type kept struct {
	policy
	id      string
	fetched time.Time
	text    string // as the web server gave it
}

// holds reports whether the policy counts at a time.
func (k *kept) holds(now time.Time) bool {
	return k != nil && now.Before(k.fetched.Add(k.maxAge))
}

// store keeps policies in files, one for each domain, named for it: the id and the
// time in seconds on the first line, then the text of the policy.
//
//	20260101T000000 1767225600
//	version: STSv1
//	...
type store struct {
	directory string
}

func (s store) path(domain string) string { return filepath.Join(s.directory, domain+".policy") }

// load reads the policy of a domain; nil when there is none.
func (s store) load(domain string) (*kept, error) {
	f, err := os.Open(s.path(domain))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicy+1024))
	if err != nil {
		return nil, err
	}
	k, err := parseKept(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(domain), err)
	}
	return k, nil
}

func parseKept(text string) (*kept, error) {
	first, rest, _ := strings.Cut(text, "\n")
	id, seconds, _ := strings.Cut(first, " ")
	at, err := strconv.ParseInt(seconds, 10, 40)
	if err != nil || !validID(id) {
		return nil, fmt.Errorf("first line %.80q is not an id and a time", first)
	}
	k := &kept{id: id, fetched: time.Unix(at, 0), text: rest}
	k.policy, err = parsePolicy(rest)
	return k, err
}

// save writes a policy in place of an older one, in one step: after a crash there
// is the one or the other.
func (s store) save(domain string, k *kept) error {
	if err := os.MkdirAll(s.directory, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.directory, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it is gone when all went well
	_, err = fmt.Fprintf(f, "%s %d\n%s", k.id, k.fetched.Unix(), k.text)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.path(domain))
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(s.directory)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
