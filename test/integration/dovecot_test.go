package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// dovecotConf is a Dovecot that takes LMTP and nothing else, with john, jack and
// sender as its users.
const dovecotConf = `base_dir = {dir}/run
state_dir = {dir}/run
log_path = {dir}/dovecot.log
protocols = lmtp
ssl = no
listen = 127.0.0.1
mail_location = maildir:~/Maildir
first_valid_uid = {uid}
first_valid_gid = {gid}
auth_username_format = %Lu
postmaster_address = postmaster@example.org
userdb {
  driver = passwd-file
  args = username_format=%u {dir}/etc/dovecot-users
}
passdb {
  driver = passwd-file
  args = username_format=%u {dir}/etc/dovecot-users
}
service lmtp {
  unix_listener {dir}/queue/private/lmtp {
    mode = 0666
  }
  inet_listener lmtp {
    address = 127.0.0.1
    port = {port2}
  }
}
`

// dovecot starts the private Dovecot, with more lines in its configuration, and
// waits for its sockets; what it returns stops it.
func (w *world) dovecot(more ...string) (stop func()) {
	w.t.Helper()
	program := need(w.t, "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		need(w.t, "dovecot-lmtp")
	}
	extra := ""
	if os.Getuid() != 0 {
		user, err := exec.Command("id", "-un").Output()
		must(w.t, err)
		group, err := exec.Command("id", "-gn").Output()
		must(w.t, err)
		extra = fmt.Sprintf("default_internal_user = %sdefault_login_user = %sdefault_internal_group = %s", user, user, group) +
			"service anvil {\n  chroot =\n}\nservice stats {\n  chroot =\n}\n"
	}
	must(w.t, os.MkdirAll(w.path("queue/private"), 0o755))
	var users strings.Builder
	for _, name := range []string{"john", "jack", "sender"} {
		users.WriteString(name + "@example.org:{plain}secret:{uid}:{gid}::{dir}/mail/" + name + "::\n")
	}
	w.write("etc/dovecot-users", users.String())
	w.write("etc/dovecot.conf", dovecotConf+extra+strings.Join(more, ""))
	end := background(w.t, w.path("dovecot.out"), program, "-F", "-c", w.path("etc/dovecot.conf"))
	w.eventually("Dovecot", func() bool {
		for _, a := range [][2]string{{"unix", w.path("queue/private/lmtp")}, {"tcp", "127.0.0.1:" + w.port2}} {
			c, err := net.Dial(a[0], a[1])
			if err != nil {
				return false
			}
			c.Close()
		}
		return true
	})
	return func() {
		end()
		_ = os.Remove(w.path("queue/private/lmtp"))
	}
}

// dovecotTargets are the ways to the LMTP server, and what the log says after
// relay=.
var dovecotTargets = map[string][2]string{
	"unix": {"lmtp:unix:private/lmtp", `mx\.host\.example\[private/lmtp\]`},
	"inet": {"lmtp:inet:127.0.0.1:{port2}", `127\.0\.0\.1\[127\.0\.0\.1\]:{port2}`},
}

// dovecotCF leaves it to Dovecot who has a mailbox.
const dovecotCF = "virtual_mailbox_maps =\nvirtual_transport = "

func TestDovecot(t *testing.T) {
	for name, target := range dovecotTargets {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, dovecotCF+target[0]+"\n")
			w.dovecot()
			w.start()
			c := w.hello()
			c.begin("sender@example.org", "john@example.org", "nobody@example.org", "jack@example.org")
			c.want("Subject: dots\r\n\r\nline\r\n..dot\r\nend\r\n.\r\n", "250 ")
			for _, box := range []string{"john", "jack"} {
				text := w.arrived(box+"/Maildir", 1)[0]
				if !strings.Contains(text, "\nline\n.dot\nend\n") && !strings.Contains(text, "\nline\r\n.dot\r\nend\r\n") {
					t.Errorf("text in Dovecot's Maildir of %s:\n%s", box, text)
				}
			}
			relay := w.fill(target[1])
			w.logged(`postfix/lmtp\[\d+\]: [0-9A-F]+: to=<john@example.org>, relay=` + relay + `, .*dsn=2\.0\.0, status=sent \(250 2\.0\.0 .*Saved\)`)
			w.logged(`to=<nobody@example.org>, relay=` + relay + `, .*dsn=5\.1\.1, status=bounced \(host ` +
				relay[:strings.LastIndex(relay, `]`)+1] + ` said: 550 5\.1\.1 .*User doesn't exist.* \(in reply to RCPT TO command\)\)`)
			report := w.arrived("sender/Maildir", 1)[0]
			for _, part := range []string{"Final-Recipient: rfc822; nobody@example.org", "Status: 5.1.1", "Diagnostic-Code: smtp; 550 5.1.1"} {
				if !strings.Contains(report, part) {
					t.Errorf("no %q in the report:\n%s", part, report)
				}
			}
			for _, other := range []string{"john", "jack"} {
				if strings.Contains(report, "Final-Recipient: rfc822; "+other) {
					t.Errorf("%s is reported:\n%s", other, report)
				}
			}
		})
	}
}

func TestDovecotDown(t *testing.T) {
	reasons := map[string]string{
		"unix": `connect to mx\.host\.example\[private/lmtp\]: No such file or directory`,
		"inet": `connect to 127\.0\.0\.1\[127\.0\.0\.1\]:{port2}: Connection refused`,
	}
	for name, target := range dovecotTargets {
		t.Run(name, func(t *testing.T) {
			need(t, "dovecot")
			w := newWorld(t, dovecotCF+target[0]+"\n")
			w.start()
			w.send("sender@example.org", "john@example.org")
			w.logged(`to=<john@example.org>, relay=none, .*dsn=4\.4\.1, status=deferred \(` + w.fill(reasons[name]) + `\)`)
			stop := w.dovecot()
			w.command("flush")
			w.arrived("john/Maildir", 1)
			w.logged(`to=<john@example.org>, .*status=sent`) // Dovecot answers after the file is there
			// It goes and comes back while a connection to it may be cached.
			stop()
			w.send("sender@example.org", "jack@example.org")
			w.logged(`to=<jack@example.org>, .*dsn=4\.4\.[12], status=deferred`)
			w.dovecot()
			w.command("flush")
			w.arrived("jack/Maildir", 1)
			w.arrived("john/Maildir", 1)
		})
	}
}
