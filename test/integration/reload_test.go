package integration

import (
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTwoListeners are two services with settings of their own.
func TestTwoListeners(t *testing.T) {
	w := newWorld(t, "")
	w.write("etc/master.cf", baseMaster+`127.0.0.1:{port2} inet n - n - - smtpd
  -o syslog_name=postfix/second
  -o smtpd_helo_required=yes
  -o { smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination }
`)
	w.start()
	first, second := w.connect(w.addr()), w.connect("127.0.0.1:"+w.port2)
	first.want("", "220 ")
	second.want("", "220 ")
	first.want("MAIL FROM:<>\r\n", "250 ")
	first.want("RCPT TO:<john@remote.example>\r\n", "454 4.7.1 <john@remote.example>: Relay access denied")
	second.want("MAIL FROM:<>\r\n", "503 5.5.1 Error: send HELO/EHLO first")
	second.want("HELO client.example\r\n", "250 mx.host.example")
	second.want("MAIL FROM:<>\r\n", "250 ")
	second.want("RCPT TO:<john@remote.example>\r\n", "554 5.7.1 <john@remote.example>: Relay access denied")
	for _, c := range []*conn{first, second} {
		c.want("RCPT TO:<john@example.org>\r\n", "250 ")
		c.want("DATA\r\n", "354 ")
		c.want("Subject: x\r\n\r\ntext\r\n.\r\n", "250 ")
		c.want("QUIT\r\n", "221 ")
	}
	w.arrived("john", 2)
	w.logged(`postfix/second/smtpd\[\d+\]: NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 554 5\.7\.1 `)
	w.logged(`postfix/smtpd\[\d+\]: NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 454 4\.7\.1 `)
}

// newDomain replaces main.cf by one that knows another domain.
func (w *world) newDomain(domain string) {
	w.t.Helper()
	w.main("virtual_mailbox_domains = example.org, " + domain + "\nvirtual_mailbox_maps = static:all/\n")
}

// TestReload changes the configuration under an open connection.
func TestReload(t *testing.T) {
	w := newWorld(t, "")
	w.start()
	c := w.hello()
	ways := []struct {
		domain string
		reload func()
	}{
		{"one.example", func() { w.signal(syscall.SIGHUP) }},
		{"two.example", func() { w.command("reload") }},
	}
	for i, way := range ways {
		c.want("MAIL FROM:<>\r\n", "250 ")
		c.want("RCPT TO:<john@example.org>\r\n", "250 ")
		w.newDomain(way.domain)
		way.reload()
		w.eventually("the reload", func() bool { return strings.Count(w.log(), ": reload -- version") == i+1 })
		c.want("RCPT TO:<john@"+way.domain+">\r\n", "454 4.7.1 ") // the transaction goes on as it began
		c.want("DATA\r\n", "354 ")
		c.want("Subject: x\r\n\r\ntext\r\n.\r\n", "250 ")
		c.begin("", "john@"+way.domain)
		c.want("Subject: x\r\n\r\ntext\r\n.\r\n", "250 ")
	}
	c.want("QUIT\r\n", "221 ")
	w.arrived("all", 4)
}

// brokenConfigs are refused, with the place in the words.
var brokenConfigs = map[string]struct {
	mainCF, masterCF string
	want             string
}{
	"number":   {"message_size_limit = lots\n", baseMaster, `main.cf:{line}: bad numerical configuration: message_size_limit = lots`},
	"bool":     {"smtpd_helo_required = true\n", baseMaster, `main.cf:{line}: bad boolean configuration: smtpd_helo_required = true`},
	"limits":   {"virtual_mailbox_limit = 1000\n", baseMaster, `main.cf:{line}: configuration error: virtual_mailbox_limit is smaller than message_size_limit`},
	"syntax":   {"no equals sign\n", baseMaster, `main.cf`},
	"none":     {"", agents, `no smtpd service`},
	"twice":    {"", baseMaster + "{port} inet n - n - - smtpd\n", `both listen on 127.0.0.1:{port}`},
	"occupied": {"", baseMaster + "127.0.0.1:{port2} inet n - n - - smtpd\n", `another program listens there`},
}

// TestBrokenReload leaves a server at work on what it had.
func TestBrokenReload(t *testing.T) {
	for name, broken := range brokenConfigs {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			w.start()
			l, err := net.Listen("tcp", "127.0.0.1:"+w.port2)
			must(t, err)
			defer l.Close()
			c := w.hello()
			w.newDomain("new.example")
			main := w.read("etc/main.cf")
			w.write("etc/main.cf", main+broken.mainCF)
			w.write("etc/master.cf", broken.masterCF)
			want := strings.ReplaceAll(w.fill(broken.want), "{line}", strconv.Itoa(strings.Count(main, "\n")+1))
			out, err := w.postern("reload")
			if err == nil || !strings.Contains(out, want) {
				t.Errorf("postern reload: %v, want %q in\n%s", err, want, out)
			}
			w.signal(syscall.SIGHUP)
			w.eventually("two refusals", func() bool {
				return strings.Count(w.log(), "error: reload refused, the old configuration stays: ") == 2
			})
			if strings.Count(w.log(), want) < 2 {
				t.Errorf("the log does not say %q twice", want)
			}
			w.notLogged(`: reload -- version`)
			c.want("MAIL FROM:<>\r\n", "250 ")
			c.want("RCPT TO:<john@new.example>\r\n", "454 4.7.1 ")
			c.want("RCPT TO:<john@example.org>\r\n", "250 ")
			c.want("DATA\r\n", "354 ")
			c.want("Subject: x\r\n\r\ntext\r\n.\r\n", "250 ")
			w.arrived("john", 1)
			w.send("", "jack@example.org")
			w.arrived("jack", 1)
			w.stop()
		})
	}
}

// TestReloadListeners adds a listener, and takes one away under its session.
func TestReloadListeners(t *testing.T) {
	w := newWorld(t, "")
	w.start()
	c := w.hello()
	c.begin("", "john@example.org")
	const second = "127.0.0.1:{port2} inet n - n - - smtpd\n"
	w.write("etc/master.cf", baseMaster+second)
	w.command("reload")
	if !greets("127.0.0.1:" + w.port2) {
		t.Error("the new listener does not greet")
	}
	w.write("etc/master.cf", second+agents)
	w.command("reload")
	w.eventually("a closed port", func() bool { return !greets(w.addr()) })
	c.want("Subject: x\r\n\r\ntext\r\n.\r\n", "250 ")
	w.arrived("john", 1)
	w.stop()
}

// TestBrokenStart is a server that cannot start, and says why.
func TestBrokenStart(t *testing.T) {
	for name, broken := range brokenConfigs {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, broken.mainCF)
			w.write("etc/master.cf", broken.masterCF)
			l, err := net.Listen("tcp", "127.0.0.1:"+w.port2)
			must(t, err)
			defer l.Close()
			w.launch()
			select {
			case err := <-w.ended:
				if w.cmd = nil; err == nil {
					t.Error("the server ended without an error")
				}
			case <-time.After(patience):
				t.Error("the server runs")
			}
			line := strings.Count(w.read("etc/main.cf"), "\n")
			want := strings.ReplaceAll(w.fill(broken.want), "{line}", strconv.Itoa(line))
			if out := w.read("server.log"); !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		})
	}
}
