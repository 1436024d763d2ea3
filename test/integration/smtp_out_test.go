package integration

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// receiverCF is a private Postfix that has mailboxes for ann and bob at
// remote.example.
const receiverCF = `compatibility_level = 3.6
myhostname = remote.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = {dir}/postfix/queue
data_directory = {dir}/postfix/data
maillog_file = {dir}/postfix/log
maillog_file_prefixes = {dir}
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = remote.example
virtual_mailbox_maps = inline:{ { ann@remote.example=ann/ }, { bob@remote.example=bob/ } }
virtual_mailbox_base = {dir}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
in_flow_delay = 0
`

// receiverMaster are its services.
const receiverMaster = `127.0.0.1:{port2} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
smtp unix - - n - - smtp
relay unix - - n - - smtp
anvil unix - - n - 1 anvil
tlsmgr unix - - n - 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`

// receiver starts a private Postfix at port2, with mainCF behind its own, and
// what main.cf of w needs to send everything to it.
func (w *world) receiver(mainCF string) {
	t := w.t
	t.Helper()
	needRoot(t)
	need(t, "postfix")
	names := []string{"daemon_directory", "command_directory", "shlib_directory", "meta_directory", "mail_owner", "setgid_group"}
	installed, err := exec.Command("postconf", append([]string{"-d"}, names...)...).Output()
	must(t, err)
	must(t, os.MkdirAll(w.path("postfix/etc"), 0o755))
	w.write("postfix/etc/main.cf", receiverCF+string(installed)+mainCF)
	w.write("postfix/etc/master.cf", receiverMaster)
	w.layPostfix()
	background(t, w.path("postfix.out"), w.daemon(string(installed)), "-c", w.path("postfix/etc"), "-d")
	w.eventually("Postfix", func() bool { return greets("127.0.0.1:" + w.port2) })
}

// daemon is the path of Postfix's master.
func (w *world) daemon(installed string) string {
	w.t.Helper()
	m := regexp.MustCompile(`(?m)^daemon_directory = (.+)$`).FindStringSubmatch(installed)
	if m == nil {
		w.t.Fatalf("no daemon_directory in %q", installed)
	}
	return filepath.Join(m[1], "master")
}

// layPostfix makes the folders that the postfix command would make.
func (w *world) layPostfix() {
	owner, err := user.Lookup("postfix")
	must(w.t, err)
	drop, err := user.LookupGroup("postdrop")
	must(w.t, err)
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(drop.Gid)
	lay := func(name string, uid, gid int, mode os.FileMode) {
		path := w.path("postfix", name)
		must(w.t, os.MkdirAll(path, 0o755))
		must(w.t, os.Chown(path, uid, gid))
		must(w.t, os.Chmod(path, mode))
	}
	lay("queue", 0, 0, 0o755)
	lay("data", uid, -1, 0o755)
	lay("queue/pid", 0, 0, 0o755)
	for _, name := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		lay("queue/"+name, uid, -1, 0o700)
	}
	lay("queue/maildrop", uid, gid, 0o730|os.ModeSticky)
	lay("queue/public", uid, gid, 0o710|os.ModeSetgid)
}

// outCF lets everybody here send to the receiver.
const outCF = "mynetworks = 127.0.0.0/8\nrelayhost = [127.0.0.1]:{port2}\n"

func TestPostfixTakesMail(t *testing.T) {
	for name, test := range map[string]struct{ mainCF, receiver, verb string }{
		"chunks":          {"", "", "bdat"},
		"data":            {"smtp_discard_ehlo_keywords = chunking\n", "", "data"},
		"one by one":      {"", "smtpd_discard_ehlo_keywords = pipelining\n", "bdat"},
		"nothing offered": {"smtp_never_send_ehlo = yes\n", "", "data"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, outCF+test.mainCF)
			w.receiver(test.receiver)
			w.start()
			const n = 10
			for i := range n {
				c := w.hello()
				c.begin("john@example.org", "ann@remote.example", "nobody@remote.example", "bob@remote.example")
				c.want(fmt.Sprintf("Subject: number %d\r\n\r\n..dot\r\n%send\r\n.\r\n", i, strings.Repeat("line\r\n", i*i*i*20)), "250 ")
				c.Close()
			}
			for _, box := range []string{"ann", "bob"} {
				found := map[string]bool{}
				for _, text := range w.arrived(box, n) {
					for i := range n {
						_, body, _ := strings.Cut(text, "\n\n")
						if strings.Contains(text, fmt.Sprintf("\nSubject: number %d\n", i)) && body == ".dot\n"+strings.Repeat("line\n", i*i*i*20)+"end\n" {
							found[strconv.Itoa(i)] = true
						}
					}
				}
				if len(found) != n {
					t.Errorf("%s has whole texts of %v", box, found)
				}
			}
			w.eventually("reports", func() bool { return strings.Count(w.log(), "sender non-delivery notification") == n })
			w.logged(`to=<nobody@remote\.example>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:` + w.port2 +
				`, .*dsn=5\.1\.1, status=bounced \(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 550 5\.1\.1 .*User unknown in virtual mailbox table \(in reply to RCPT TO command\)\)`)
			w.logged(`to=<bob@remote\.example>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:` + w.port2 + `, (conn_use=\d+, )?delay=.*dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok: (\d+ bytes )?queued as [0-9A-Za-z]+\)`)
			w.stop() // ends the connections, and Postfix counts their commands
			w.eventually(test.verb+" in the log of Postfix", func() bool { return strings.Contains(w.read("postfix/log"), " "+test.verb+"=") })
		})
	}
}

// TestPostfixWithoutEightBit: what Postfix does not want to have as 8-bit text
// becomes quoted-printable.
func TestPostfixWithoutEightBit(t *testing.T) {
	w := newWorld(t, outCF)
	w.receiver("smtpd_discard_ehlo_keywords = 8bitmime\n")
	w.start()
	c := w.hello()
	c.want("MAIL FROM:<john@example.org> BODY=8BITMIME\r\n", "250 ")
	c.want("RCPT TO:<ann@remote.example>\r\n", "250 ")
	c.want("DATA\r\n", "354 ")
	c.want("Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n.\r\n", "250 ")
	c.Close()
	text := w.arrived("ann", 1)[0]
	for _, want := range []string{"\nContent-Transfer-Encoding: quoted-printable\n", "\n\nGr=C3=BC=C3=9Fe\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}

// TestPostfixHangsUp: Postfix answers 421 when a client has had its time, and
// the next message goes out over a new connection at once.
func TestPostfixHangsUp(t *testing.T) {
	w := newWorld(t, outCF+"smtp_connection_cache_time_limit = 60s\n")
	w.receiver("smtpd_timeout = 1s\n")
	w.start()
	w.send("john@example.org", "ann@remote.example")
	w.arrived("ann", 1)
	w.eventually("Postfix hangs up", func() bool { return strings.Contains(w.read("postfix/log"), "timeout after ") })
	w.send("john@example.org", "ann@remote.example")
	w.arrived("ann", 2)
	w.notLogged(`status=deferred`)
}

// eightBitMails are messages with parts that a server without 8BITMIME does not
// take as they are.
var eightBitMails = map[string]string{
	"text":         "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße = gut \nund\tTab\t\n.\n" + strings.Repeat("lang ü ", 40) + "\n",
	"binary":       "MIME-Version: 1.0\nContent-Transfer-Encoding: binary\n\nü\n",
	"not labelled": "MIME-Version: 1.0\nContent-Type: text/plain\n\nü\n",
	"no MIME":      "X-Test: ü\n\nü\n",
	"multipart": "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"a b\"\nContent-Transfer-Encoding: 8bit\n\nvor ü\n--a b\nContent-Type: text/plain\nContent-Transfer-Encoding: 8bit\nX-Test: 1\n\nü\n" +
		"--a b\nContent-Type: multipart/alternative;\n boundary=in\nContent-Transfer-Encoding: 8bit\n\n--in\nContent-Transfer-Encoding: base64\n\nw7w=\n--in\nContent-Transfer-Encoding: 8bit\n\nö\n--in--\nnach ü\n--a b--\nnach ü\n",
	"message": "MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: drin\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\nä\n",
	"digest":  "MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=d\nContent-Transfer-Encoding: 8bit\n\n--d\n\nSubject: drin\nContent-Transfer-Encoding: 8bit\n\nä\n--d--\n",
}

// TestConversionIsThatOfPostfix sends the same messages through Postfix and
// through us to a server without 8BITMIME.
func TestConversionIsThatOfPostfix(t *testing.T) {
	sink := need(t, "smtp-sink")
	sinkPort := freePort(t)
	w := newWorld(t, "mynetworks = 127.0.0.0/8\nrelayhost = [127.0.0.1]:"+sinkPort+"\n")
	w.receiver("relayhost = [127.0.0.1]:" + sinkPort + "\n")
	must(t, os.Mkdir(w.path("sunk"), 0o777))
	must(t, os.Chmod(w.path("sunk"), 0o777))
	background(t, w.path("sink.log"), sink, "-u", "nobody", "-8", "-d", w.path("sunk/m."), "127.0.0.1:"+sinkPort, "100")
	w.eventually("smtp-sink", func() bool { return greets("127.0.0.1:" + sinkPort) })
	w.start()
	for name, text := range eightBitMails {
		for from, addr := range map[string]string{"postfix": "127.0.0.1:" + w.port2, "us": w.addr()} {
			c := w.connect(addr)
			c.want("", "220 ")
			c.want("EHLO client.example\r\n", "250-")
			c.want("MAIL FROM:<john@example.org> BODY=8BITMIME\r\n", "250 ")
			c.want("RCPT TO:<someone@far.example>\r\n", "250 ")
			c.want("DATA\r\n", "354 ")
			c.want("Subject: "+name+" by "+from+"\r\nX-Mark: here\r\n"+strings.ReplaceAll(strings.ReplaceAll(text, "\n", "\r\n"), "\r\n.", "\r\n..")+".\r\n", "250 ")
			c.Close()
		}
		var got map[string]string
		w.eventually(name+" at the sink", func() bool { got = w.sunk(name); return len(got) == 2 })
		if got["us"] != got["postfix"] {
			t.Errorf("%s becomes\n%q, from Postfix\n%q", name, got["us"], got["postfix"])
		}
	}
}

// sunk are the messages of a name that the sink has, behind their mark, by who
// sent them. What Postfix puts between mark and text is left out.
func (w *world) sunk(name string) map[string]string {
	entries, err := os.ReadDir(w.path("sunk"))
	must(w.t, err)
	added := regexp.MustCompile(`(?m)^(Message-Id|Date|From|To): .*\n`)
	got := map[string]string{}
	for _, e := range entries {
		text := strings.ReplaceAll(w.read("sunk/"+e.Name()), "\r\n", "\n")
		_, text, ok := strings.Cut(text, "\nSubject: "+name+" by ")
		from, rest, marked := strings.Cut(text, "\nX-Mark: here\n")
		if head, body, whole := strings.Cut(rest, "\n\n"); ok && marked && whole {
			got[from] = added.ReplaceAllString(head+"\n", "") + "\n" + body
		}
	}
	return got
}
