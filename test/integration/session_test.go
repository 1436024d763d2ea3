package integration

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// bodies are the texts of large messages that the spool keeps in files.
func (w *world) bodies() int {
	w.t.Helper()
	entries, err := os.ReadDir(w.path("queue/postern/spool/bodies"))
	must(w.t, err)
	return len(entries)
}

// lines is a text of about n octets.
func lines(n int) string {
	return strings.Repeat(strings.Repeat("x", 70)+"\r\n", n/72+1)
}

// TestVanish is a client that goes away before the end of its text.
func TestVanish(t *testing.T) {
	w := newWorld(t, "spool_inline_limit = 65536\n")
	w.start()
	for _, size := range []int{100, 1 << 20} {
		c := w.hello()
		c.begin("", "john@example.org")
		c.put("Subject: cut\r\n\r\n" + lines(size))
		if size > 1<<16 {
			w.eventually("the text in a file", func() bool { return w.bodies() == 1 })
		}
		must(t, c.Close())
	}
	w.eventually("two log lines", func() bool { return strings.Count(w.log(), "lost connection after DATA (") == 2 })
	w.logged(`lost connection after DATA \(1\d{6} bytes\) from unknown\[127\.0\.0\.1\]`)
	w.eventually("no text left behind", func() bool { return w.bodies() == 0 })
	// One that vanishes right before the dot, then one that is whole.
	c := w.hello()
	c.begin("", "john@example.org")
	c.put("Subject: cut\r\n\r\ntext\r\n.\r")
	must(t, c.Close())
	w.send("", "john@example.org")
	w.arrived("john", 1)
	w.eventually("three log lines", func() bool { return strings.Count(w.log(), "lost connection after DATA (") == 3 })
	w.stop()
	w.start()
	w.arrived("john", 1)
}

// hundred is MAIL, 100 RCPT of which every second is unknown, and DATA.
func hundred() string {
	var b strings.Builder
	b.WriteString("MAIL FROM:<>\r\n")
	for i := range 100 {
		name := fmt.Sprintf("box%d", i)
		if i%2 == 1 {
			name = fmt.Sprintf("nobody%d", i)
		}
		fmt.Fprintf(&b, "RCPT TO:<%s@example.org>\r\n", name)
	}
	return b.String() + "DATA\r\n"
}

func TestHundredRecipients(t *testing.T) {
	w := newWorld(t, "smtpd_soft_error_limit = 100\nsmtpd_hard_error_limit = 100\n")
	var users strings.Builder
	for i := 0; i < 100; i += 2 {
		fmt.Fprintf(&users, "box%d@example.org box%d/\n", i, i)
	}
	w.write("etc/users", users.String())
	w.start()
	c := w.hello()
	c.want(hundred(), "250 2.1.0")
	for i := range 100 {
		want := "250 2.1.5 Ok"
		if i%2 == 1 {
			want = fmt.Sprintf("550 5.1.1 <nobody%d@example.org>: Recipient address rejected: User unknown in virtual mailbox table", i)
		}
		if got := c.reply(); got != want {
			t.Fatalf("reply to recipient %d: %q, want %q", i, got, want)
		}
	}
	c.want("", "354 ")
	c.want("Subject: many\r\n\r\ntext\r\n.\r\n", "250 2.0.0 Ok: queued as ")
	c.want("QUIT\r\n", "221 ")
	for i := 0; i < 100; i += 2 {
		w.arrived(fmt.Sprintf("box%d", i), 1)
	}
	w.logged(`nrcpt=50 \(queue active\)`)
	w.logged(`disconnect from unknown\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=50/100 data=1 quit=1 commands=54/104`)
}

// TestTooManyErrors is the same client and the default of smtpd_hard_error_limit.
func TestTooManyErrors(t *testing.T) {
	w := newWorld(t, "smtpd_soft_error_limit = 100\n")
	w.write("etc/users", "@example.org all/\n"+"nobody@example.org nobody/\n")
	w.write("etc/main.cf", w.read("etc/main.cf")+"smtpd_recipient_restrictions = check_recipient_access regexp:{{/nobody/ reject}}\n")
	w.start()
	c := w.hello()
	c.want(hundred(), "250 2.1.0")
	refused := 0
	for refused < 20 {
		if r := c.reply(); strings.HasPrefix(r, "554 5.7.1") {
			refused++
		} else if !strings.HasPrefix(r, "250 2.1.5") {
			t.Fatalf("reply %q after %d refusals", r, refused)
		}
	}
	c.want("", "421 4.7.0 mx.host.example Error: too many errors")
	if got := c.reply(); got != "" && !strings.Contains(got, "reset") {
		t.Errorf("%q after 421", got)
	}
	w.logged(`too many errors after RCPT from unknown\[127\.0\.0\.1\]`)
	w.send("", "john@example.org")
	w.arrived("all", 1)
}

func TestSizeLimit(t *testing.T) {
	w := newWorld(t, "message_size_limit = 200000\nspool_inline_limit = 65536\n")
	w.start()
	c := w.connect(w.addr())
	c.want("", "220 ")
	if r := c.ask("EHLO client.example\r\n"); !strings.Contains(r, "250-SIZE 200000/") {
		t.Errorf("EHLO: %s", r)
	}
	c.want("MAIL FROM:<> SIZE=200001\r\n", "552 5.3.4 Message size exceeds fixed limit")
	c.begin("", "john@example.org")
	c.want("Subject: big\r\n\r\n"+lines(300000)+".\r\n", "552 5.3.4 Error: message file too big")
	w.eventually("no text left behind", func() bool { return w.bodies() == 0 })
	// The session goes on, and what fits is taken.
	c.begin("", "john@example.org")
	c.want("Subject: fits\r\n\r\n"+lines(150000)+".\r\n", "250 2.0.0")
	c.want("QUIT\r\n", "221 ")
	if text := w.arrived("john", 1)[0]; !strings.Contains(text, "Subject: fits") {
		t.Errorf("the wrong message arrived: %.300s", text)
	}
	w.logged(`warning: [0-9A-F]+: queue file size limit exceeded`)
}

// TestShutdown stops the server while one session waits for a command, one is
// between MAIL and DATA and one is in the middle of a text.
func TestShutdown(t *testing.T) {
	w := newWorld(t, "")
	w.start()
	idle, early, busy := w.hello(), w.hello(), w.hello()
	early.want("MAIL FROM:<>\r\n", "250 ")
	busy.begin("", "john@example.org")
	busy.put("Subject: last\r\n\r\nfirst half\r\n")
	w.signal(syscall.SIGTERM)
	const bye = "421 4.3.2 mx.host.example Service not available, closing transmission channel"
	idle.want("", bye)
	if got := idle.reply(); got != "" {
		t.Errorf("%q after 421", got)
	}
	w.eventually("a closed port", func() bool { return !greets(w.addr()) })
	early.want("RCPT TO:<jack@example.org>\r\n", "250 ")
	early.want("DATA\r\n", "354 ")
	early.want("Subject: early\r\n\r\ntext\r\n.\r\n", "250 2.0.0")
	early.want("", bye)
	busy.want("second half\r\n.\r\n", "250 2.0.0")
	busy.want("", bye)
	w.finish()
	w.start()
	if text := w.arrived("john", 1)[0]; !strings.HasSuffix(text, "first half\nsecond half\n") {
		t.Errorf("text:\n%s", text)
	}
	w.arrived("jack", 1)
}

func TestConnectionLimit(t *testing.T) {
	w := newWorld(t, "smtpd_client_connection_count_limit = 3\n")
	w.start()
	open := []*conn{w.hello(), w.hello(), w.hello()}
	c := w.connect(w.addr())
	c.want("", "421 4.7.0 mx.host.example Error: too many connections from 127.0.0.1")
	w.logged(`warning: Connection concurrency limit exceeded: 4 from unknown\[127\.0\.0\.1\] for service `)
	open[0].want("QUIT\r\n", "221 ")
	w.eventually("room for another", func() bool { return greets(w.addr()) })
	open[1].begin("", "john@example.org")
	open[1].want("Subject: in time\r\n\r\ntext\r\n.\r\n", "250 ")
	w.arrived("john", 1)
	// Clients in mynetworks are not limited.
	w.main("smtpd_client_connection_count_limit = 3\nmynetworks = 127.0.0.0/8\n")
	w.command("reload")
	for range 5 {
		w.hello()
	}
}
