package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mount puts a small file system of its own at a folder of the test: ext4 in a
// file, as most servers have, or tmpfs where there is no loop device.
func (w *world) mount(name string, mib int) {
	w.t.Helper()
	needRoot(w.t)
	dir, image := w.path(name), w.path(name+".img")
	must(w.t, os.MkdirAll(dir, 0o755))
	f, err := os.Create(image)
	must(w.t, err)
	must(w.t, f.Truncate(int64(mib)<<20))
	must(w.t, f.Close())
	out, err := w.run(exec.Command(need(w.t, "mkfs.ext4"), "-q", "-F", "-m", "0", image))
	if err == nil {
		out, err = w.run(exec.Command("mount", "-o", "loop", image, dir))
	}
	if err != nil {
		w.t.Logf("no loop device, tmpfs instead: %v %s", err, out)
		if err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", mib)); err != nil {
			w.t.Skipf("mount: %v", err)
		}
	}
	w.t.Cleanup(func() {
		w.kill()
		if err := syscall.Unmount(dir, 0); err != nil {
			w.t.Errorf("unmount %s: %v", dir, err)
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
	must(w.t, os.Chown(dir, w.uid, w.gid))
}

// ballast fills what is left of a file system; the result makes room again.
func (w *world) ballast(name string) (remove func()) {
	w.t.Helper()
	f, err := os.Create(w.path(name, "ballast"))
	must(w.t, err)
	chunk := make([]byte, 1<<16)
	for len(chunk) > 0 {
		if _, err = f.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
	_ = f.Sync()
	must(w.t, f.Close())
	return func() { must(w.t, os.Remove(w.path(name, "ballast"))) }
}

// marked is a message text that shows whether all of it is there.
func marked(token string, n int) string {
	return "Subject: " + token + "\r\n\r\n" + lines(n) + "end of " + token + "\r\n"
}

// whole complains about a message that is not as marked made it, and returns
// its token.
func whole(t *testing.T, text string, n int) string {
	t.Helper()
	_, rest, _ := strings.Cut(text, "\nSubject: ")
	token, _, _ := strings.Cut(rest, "\n")
	if want := strings.ReplaceAll(marked(token, n), "\r\n", "\n"); "Subject: "+rest != want {
		t.Errorf("message %q is not whole: %d octets, want %d", token, len(rest), len(want))
	}
	return token
}

// outcome counts what the server said to messages, by token.
type outcome struct {
	mu      sync.Mutex
	acked   map[string]bool
	refused map[string]int // by reply, without a queue id
}

// attempt sends one marked message and records the reply. It reports whether it
// was accepted; token has to be new.
func (o *outcome) attempt(c *conn, token string, n int) bool {
	reply := c.ask("MAIL FROM:<>\r\n")
	for _, next := range []string{"RCPT TO:<john@example.org>\r\n", "DATA\r\n", marked(token, n) + ".\r\n"} {
		if strings.HasPrefix(reply, "250 ") || strings.HasPrefix(reply, "354 ") {
			reply = c.ask(next)
		}
	}
	c.ask("RSET\r\n")
	o.mu.Lock()
	defer o.mu.Unlock()
	if strings.HasPrefix(reply, "250 ") {
		o.acked[token] = true
		return true
	}
	o.refused[reply]++
	return false
}

// judge waits for all that was acknowledged, and complains about anything else.
func (o *outcome) judge(w *world, n int) {
	w.t.Helper()
	found := map[string]int{}
	for _, text := range w.arrived("john", len(o.acked)) {
		found[whole(w.t, text, n)]++
	}
	for token := range o.acked {
		if found[token] != 1 {
			w.t.Errorf("%s was acknowledged and arrived %d times", token, found[token])
		}
		delete(found, token)
	}
	for token := range found {
		w.t.Errorf("%s arrived, but was not acknowledged", token)
	}
}

// TestQueueFull fills the file system of the queue in the middle of texts.
func TestQueueFull(t *testing.T) {
	const nobody = "virtual_transport = lmtp:unix:private/none\n"
	for name, size := range map[string]int{"small": 20000, "large": 3000000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needRoot(t)
			const common = "message_size_limit = 4000000\nvirtual_mailbox_limit = 0\nspool_inline_limit = 65536\n" +
				"smtpd_soft_error_limit = 1000\nsmtpd_hard_error_limit = 1000\nsmtpd_client_connection_count_limit = 0\n"
			w := newWorld(t, common+nobody)
			w.mount("queue", 64)
			w.start()
			o := &outcome{acked: map[string]bool{}, refused: map[string]int{}}
			w.fillQueue(o, size)
			if len(o.acked) == 0 {
				t.Error("nothing was accepted before the disk was full")
			}
			t.Logf("%d accepted, refused: %v", len(o.acked), o.refused)
			for reply := range o.refused {
				if !strings.HasPrefix(reply, "452 4.3.1 ") {
					t.Errorf("refused with %q", reply)
				}
			}
			// Nothing of it is lost with a restart on the full disk.
			w.stop()
			w.start()
			w.main(common)
			w.command("reload")
			w.command("flush")
			w.eventually("all messages delivered", func() bool { return len(maildir(t, w.path("mail/john"))) >= len(o.acked) })
			o.judge(w, size)
			tries := 0
			w.eventually("room again", func() bool {
				time.Sleep(100 * time.Millisecond)
				c := w.hello()
				defer c.Close()
				tries++
				return o.attempt(c, fmt.Sprintf("after-%d", tries), size)
			})
			o.judge(w, size)
			w.eventually("no text left behind", func() bool { return w.bodies() == 0 })
		})
	}
}

// fillQueue sends until every session has met the full disk, whose last room
// goes while they are in the middle of their texts.
func (w *world) fillQueue(o *outcome, size int) {
	w.t.Helper()
	var sessions sync.WaitGroup
	for s := range 8 {
		c := w.hello()
		sessions.Go(func() {
			for i := 0; o.attempt(c, fmt.Sprintf("token-%d-%d", s, i), size); i++ {
			}
			c.Close()
		})
	}
	sessions.Wait()
	c := w.hello()
	defer c.Close()
	for i := 0; o.attempt(c, fmt.Sprintf("late-%d", i), size); i++ {
	}
}

// TestQueueFullDuringData takes the last room away while a text comes in.
func TestQueueFullDuringData(t *testing.T) {
	needRoot(t)
	w := newWorld(t, "message_size_limit = 4000000\nspool_inline_limit = 65536\nvirtual_mailbox_limit = 0\n")
	w.mount("queue", 64)
	w.start()
	w.send("", "john@example.org")
	w.arrived("john", 1)
	c := w.hello()
	c.begin("", "john@example.org")
	text := marked("cut", 3000000)
	c.put(text[:500000])
	w.eventually("the text in a file", func() bool { return w.bodies() == 1 })
	remove := w.ballast("queue")
	c.put(text[500000:])
	c.want(".\r\n", "452 4.3.1 ")
	w.eventually("no text left behind", func() bool { return w.bodies() == 0 })
	c.want("MAIL FROM:<>\r\n", "250 ")
	c.want("RCPT TO:<john@example.org>\r\n", "452 4.3.1 Insufficient system storage")
	c.want("RSET\r\n", "250 ")
	w.arrived("john", 1)
	remove()
	c.begin("", "john@example.org")
	c.want(text+".\r\n", "250 ")
	w.arrived("john", 2)
}

// TestMailFull fills the file system of the mailboxes; the queue has room.
func TestMailFull(t *testing.T) {
	needRoot(t)
	const size = 300000
	w := newWorld(t, "")
	w.mount("mail", 16)
	w.start()
	w.send("", "john@example.org")
	w.arrived("john", 1)
	must(t, os.Remove(w.onlyFile("mail/john/new")))
	remove := w.ballast("mail")
	o := &outcome{acked: map[string]bool{}, refused: map[string]int{}}
	c := w.hello()
	for i := range 5 {
		o.attempt(c, fmt.Sprintf("token-%d", i), size)
	}
	if len(o.acked) != 5 {
		t.Errorf("only %d messages were accepted: %v", len(o.acked), o.refused)
	}
	w.eventually("five deferrals", func() bool {
		return strings.Count(w.log(), "dsn=4.3.0, status=deferred (maildir delivery failed: ") == 5
	})
	w.logged(`dsn=4\.3\.0, status=deferred \(maildir delivery failed: .*: No space left on device\)`)
	for _, sub := range []string{"new", "tmp", "cur"} {
		entries, err := os.ReadDir(w.path("mail/john", sub))
		must(t, err)
		if len(entries) > 0 {
			t.Errorf("%s holds %v", sub, entries)
		}
	}
	remove()
	w.command("flush")
	o.judge(w, size)
}

// onlyFile is the path of the one file in a directory.
func (w *world) onlyFile(dir string) string {
	w.t.Helper()
	entries, err := os.ReadDir(w.path(dir))
	must(w.t, err)
	if len(entries) != 1 {
		w.t.Fatalf("%s holds %d files, want 1", dir, len(entries))
	}
	return w.path(dir, entries[0].Name())
}
