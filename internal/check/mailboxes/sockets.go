package mailboxes

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// usualSockets are where mailbox servers listen for LMTP: Dovecot, Cyrus.
var usualSockets = []string{
	"/run/dovecot/lmtp", "/var/run/dovecot/lmtp",
	"/var/spool/postfix/private/dovecot-lmtp", "/var/spool/postfix/private/lmtp-dovecot",
	"/run/cyrus/socket/lmtp", "/var/run/cyrus/socket/lmtp", "/var/lib/imap/socket/lmtp", "/var/imap/socket/lmtp",
}

// maxSockets bounds the sockets that are tried.
const maxSockets = 16

// greetingTime is how long another socket may take to say that it is a server.
const greetingTime = time.Second

// otherSockets are the paths of LMTP servers that do listen, those that look like
// the one that was wanted first: relative to queue_directory when they are below it,
// then whole.
func (x *examination) otherSockets(ctx context.Context, written, path string) []string {
	candidates := x.candidates(written, path)
	answers := make([]bool, len(candidates))
	var all sync.WaitGroup
	for n, name := range candidates {
		all.Go(func() { answers[n] = x.greets(ctx, name) })
	}
	all.Wait()
	queue := x.i.Setup.Settings.String("queue_directory")
	var near []string
	for n, name := range candidates {
		if !answers[n] {
			continue
		}
		if rel, err := filepath.Rel(queue, name); err == nil && filepath.IsLocal(rel) {
			near = append(near, rel)
		}
		near = append(near, name)
	}
	return near
}

// candidates are the sockets that could be meant.
func (x *examination) candidates(written, path string) []string {
	queue := x.i.Setup.Settings.String("queue_directory")
	var list []string
	add := func(name string) {
		if name != path && isSocket(name) && !x.isService(queue, name) && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	if written != "" { // a slash too much or too little in front
		add("/" + strings.TrimLeft(written, "/"))
		add(filepath.Join(queue, written))
		addDir(filepath.Dir(path), add)
	}
	addDir(filepath.Join(queue, "private"), add)
	addDir(queue, add)
	usual := x.Sockets
	if usual == nil {
		usual = usualSockets
	}
	for _, name := range usual {
		add(name)
	}
	return list[:min(len(list), maxSockets)]
}

// addDir adds the sockets of a directory that are called something with lmtp.
func addDir(dir string, add func(string)) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Type()&os.ModeSocket != 0 && strings.Contains(strings.ToLower(e.Name()), "lmtp") {
			add(filepath.Join(dir, e.Name()))
		}
	}
}

func isSocket(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode()&os.ModeSocket != 0
}

// isService reports whether a socket is that of a delivery agent of Postfix, which
// speaks no LMTP.
func (x *examination) isService(queue, name string) bool {
	_, known := x.services[filepath.Base(name)]
	return known && filepath.Dir(name) == filepath.Join(queue, "private")
}

// greets reports whether a server says 220 at a socket. One that this user may not
// connect to counts.
func (x *examination) greets(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, min(greetingTime, x.ServerTime/2))
	defer cancel()
	conn, err := x.Dial(ctx, "unix", name)
	if err != nil {
		return errors.Is(err, unix.EACCES)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return false
		}
	}
	var code [3]byte
	n, err := conn.Read(code[:])
	return err == nil && string(code[:n]) == "220"
}
