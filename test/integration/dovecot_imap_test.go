package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// imapConf adds IMAP at {port3}, and a quota that two short messages fit in.
const imapConf = `
protocols = lmtp imap
disable_plaintext_auth = no
mail_plugins = quota
plugin {
  quota = maildir:User quota
  quota_rule = *:bytes=3000
}
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = {port3}
  }
  inet_listener imaps {
    port = 0
  }
}
`

// imap starts Dovecot with IMAP, and returns the address of that.
func (w *world) imap(more string) string {
	w.t.Helper()
	if _, err := os.Stat("/usr/lib/dovecot/imap"); err != nil {
		need(w.t, "dovecot-imap")
	}
	port := freePort(w.t)
	w.dovecot(strings.ReplaceAll(imapConf+more, "{port3}", port))
	return "127.0.0.1:" + port
}

// fetch reads the messages of a mailbox by IMAP (RFC 3501), one string for each.
func (w *world) fetch(addr, user string) []string {
	w.t.Helper()
	var conn net.Conn
	w.eventually("IMAP", func() bool {
		var err error
		conn, err = net.Dial("tcp", addr)
		return err == nil
	})
	defer conn.Close()
	must(w.t, conn.SetDeadline(time.Now().Add(patience)))
	r := bufio.NewReader(conn)
	var texts []string
	for i, command := range []string{"LOGIN " + user + " secret", "SELECT INBOX", "FETCH 1:* BODY.PEEK[]", "LOGOUT"} {
		_, err := fmt.Fprintf(conn, "%d %s\r\n", i, command)
		must(w.t, err)
		for {
			line, err := r.ReadString('\n')
			must(w.t, err)
			if at := strings.LastIndexByte(line, '{'); at >= 0 && strings.Contains(line, " FETCH ") {
				var n int
				_, err := fmt.Sscanf(line[at:], "{%d}", &n)
				must(w.t, err)
				text := make([]byte, n)
				_, err = io.ReadFull(r, text)
				must(w.t, err)
				texts = append(texts, string(text))
			}
			if status, ok := strings.CutPrefix(line, fmt.Sprint(i, " ")); ok {
				if !strings.HasPrefix(status, "OK") && i < 2 {
					w.t.Fatalf("%s: %s", command, line)
				}
				break
			}
		}
	}
	return texts
}

// TestReadByIMAP: what LMTP brought is what the users of Dovecot read.
func TestReadByIMAP(t *testing.T) {
	for name, target := range dovecotTargets {
		for _, chunks := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, chunks %v", name, chunks), func(t *testing.T) {
				cf := dovecotCF + target[0] + "\n"
				if !chunks {
					cf += "lmtp_discard_lhlo_keywords = chunking\n"
				}
				w := newWorld(t, cf)
				addr := w.imap("")
				w.start()
				c := w.hello()
				c.want("MAIL FROM:<sender@example.org> BODY=8BITMIME\r\n", "250 ")
				for _, to := range []string{"john", "nobody", "jack"} {
					c.want("RCPT TO:<"+to+"@example.org>\r\n", "250 ")
				}
				c.want("DATA\r\n", "354 ")
				c.want("Subject: for two\r\n\r\nGrüße\r\n..dot\r\n..\r\nend\r\n.\r\n", "250 ")
				for _, user := range []string{"john", "jack"} {
					w.logged(`to=<` + user + `@example.org>, .*dsn=2\.0\.0, status=sent \(250 2\.0\.0 .*Saved\)`)
					texts := w.fetch(addr, user+"@example.org")
					if len(texts) != 1 || !strings.HasSuffix(texts[0], "\r\nSubject: for two\r\n\r\nGrüße\r\n.dot\r\n.\r\nend\r\n") {
						t.Errorf("%s reads %q", user, texts)
					}
				}
				w.logged(`to=<nobody@example.org>, .*dsn=5\.1\.1, status=bounced \(host .* said: 550 5\.1\.1 .*User doesn't exist`)
				w.eventually("the report", func() bool { return len(w.fetch(addr, "sender@example.org")) == 1 })
				report := w.fetch(addr, "sender@example.org")[0]
				for _, want := range []string{"Final-Recipient: rfc822; nobody@example.org", "Status: 5.1.1", "Diagnostic-Code: smtp; 550 5.1.1"} {
					if !strings.Contains(report, want) {
						t.Errorf("no %q in the report:\n%s", want, report)
					}
				}
			})
		}
	}
}

// TestOverQuota: who has no room left is deferred or bounced, as Dovecot says,
// and the other recipient of the same message has it.
func TestOverQuota(t *testing.T) {
	for name, test := range map[string]struct{ dovecot, status string }{
		"452": {"quota_full_tempfail = yes\n", `dsn=4\.2\.2, status=deferred \(host .* said: 452 4\.2\.2 .*\(in reply to end of DATA command\)\)`},
		"552": {"", `dsn=5\.2\.2, status=bounced \(host .* said: 552 5\.2\.2 .*\(in reply to end of DATA command\)\)`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, dovecotCF+dovecotTargets["unix"][0]+"\n")
			addr := w.imap(test.dovecot)
			w.start()
			fill := strings.Repeat(strings.Repeat("x", 60)+"\r\n", 30)
			for _, to := range [][]string{{"john@example.org"}, {"john@example.org", "jack@example.org"}} {
				c := w.hello()
				c.begin("sender@example.org", to...)
				c.want("Subject: big\r\n\r\n"+fill+".\r\n", "250 ")
				c.Close()
				w.logged(`to=<` + to[len(to)-1] + `>, .*status=sent`)
			}
			w.logged(`to=<john@example.org>, .*` + test.status)
			for user, n := range map[string]int{"john": 1, "jack": 1} {
				if texts := w.fetch(addr, user+"@example.org"); len(texts) != n {
					t.Errorf("%s has %d messages, want %d", user, len(texts), n)
				}
			}
		})
	}
}
