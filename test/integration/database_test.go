package integration

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/table/sql/sqltest"
)

// mailTables are the tables of a mail server as the usual tutorials have them.
var mailTables = []string{
	"CREATE TABLE virtual_domains (id INT NOT NULL PRIMARY KEY, name VARCHAR(50) NOT NULL)",
	"CREATE TABLE virtual_users (id INT NOT NULL PRIMARY KEY, email VARCHAR(100) NOT NULL, box VARCHAR(100) NOT NULL)",
	"CREATE TABLE virtual_aliases (id INT NOT NULL PRIMARY KEY, source VARCHAR(100) NOT NULL, destination VARCHAR(100) NOT NULL)",
	"INSERT INTO virtual_domains VALUES (1, 'example.org')",
	"INSERT INTO virtual_users VALUES (1, 'john@example.org', 'john/'), (2, 'jack@example.org', 'jack/')",
	"INSERT INTO virtual_aliases VALUES (1, 'team@example.org', 'john@example.org'), (2, 'team@example.org', 'jack@example.org')",
}

// TestMariaDBOutage and TestPostgreSQLOutage kill the database under a server
// with traffic, and start it again.
func TestMariaDBOutage(t *testing.T) {
	db := sqltest.NewMariaDB(t)
	db.Exec(t, append([]string{"CREATE DATABASE mail", "CREATE USER mail@'127.0.0.1' IDENTIFIED BY 'secret'",
		"GRANT SELECT ON mail.* TO mail@'127.0.0.1'", "USE mail"}, mailTables...)...)
	databaseOutage(t, "mysql", db)
}

func TestPostgreSQLOutage(t *testing.T) {
	db := sqltest.NewPostgreSQL(t)
	db.Exec(t, append([]string{"CREATE ROLE mail LOGIN PASSWORD 'secret'", "CREATE DATABASE mail OWNER mail", `\c mail`, "SET ROLE mail"}, mailTables...)...)
	databaseOutage(t, "pgsql", db)
}

func databaseOutage(t *testing.T, typ string, db *sqltest.Server) {
	w := newWorld(t, strings.ReplaceAll(`virtual_mailbox_domains = TYPE:{dir}/etc/domains.cf
virtual_mailbox_maps = TYPE:{dir}/etc/users.cf
virtual_alias_maps = proxy:TYPE:{dir}/etc/aliases.cf
`, "TYPE", typ))
	for name, query := range map[string]string{
		"domains": "SELECT 1 FROM virtual_domains WHERE name='%s'",
		"users":   "SELECT box FROM virtual_users WHERE email='%s'",
		"aliases": "SELECT destination FROM virtual_aliases WHERE source='%s'",
	} {
		w.write("etc/"+name+".cf", fmt.Sprintf("hosts = %s\nuser = mail\npassword = secret\ndbname = mail\nquery = %s\n", db.Addr, query))
	}
	w.start()
	traffic := w.startTraffic("team@example.org", 4)
	traffic.await("accepted mail", func() bool { return len(traffic.accepted) >= 20 })
	db.Kill()
	traffic.await("mail that is put off", func() bool { return traffic.deferred >= 20 })
	db.Start(t)
	before := traffic.count()
	traffic.await("accepted mail after the restart", func() bool { return len(traffic.accepted) >= before+20 })
	sent := traffic.finish()
	w.eventually("an empty queue", func() bool {
		w.command("flush")
		return len(maildir(t, w.path("mail/john"))) >= len(sent) && len(maildir(t, w.path("mail/jack"))) >= len(sent)
	})
	for _, box := range []string{"john", "jack"} {
		w.holds(box, sent)
	}
	w.toldOnce(typ+" server "+db.Addr, traffic.began)
}

// toldOnce holds that the log says what is wrong with a server and when it is
// well again, once a minute and not once a message.
func (w *world) toldOnce(server string, began time.Time) {
	w.t.Helper()
	minutes := int(time.Since(began)/time.Minute) + 1
	if n := strings.Count(w.log(), "connect to "+server+": "); n < 1 || n > minutes {
		w.t.Errorf("%d log lines about %s, want one a minute", n, server)
	}
	w.logged(regexp.QuoteMeta(server) + " answers again")
	w.notLogged("lookup failure for")
}

// holds holds that a mailbox has each message once.
func (w *world) holds(box string, sent map[string]bool) {
	w.t.Helper()
	subject := regexp.MustCompile(`(?m)^Subject: (\S+)`)
	seen := make(map[string]int)
	for _, text := range maildir(w.t, w.path("mail", box)) {
		if m := subject.FindStringSubmatch(text); m != nil {
			seen[m[1]]++
		}
	}
	for name := range sent {
		if seen[name] != 1 {
			w.t.Errorf("%s has message %s %d times", box, name, seen[name])
		}
		delete(seen, name)
	}
	for name := range seen {
		w.t.Errorf("%s has message %s, which was not accepted", box, name)
	}
}

// traffic is clients that send mail until they are told to stop.
type traffic struct {
	w     *world
	began time.Time
	stop  chan struct{}
	wait  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	accepted map[string]bool
	deferred int
	wrong    []string // replies that should not be
}

func (w *world) startTraffic(to string, clients int) *traffic {
	tr := &traffic{w: w, began: time.Now(), stop: make(chan struct{}), accepted: make(map[string]bool)}
	for client := range clients {
		tr.wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-tr.stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				tr.send(to, fmt.Sprintf("m%d.%d", client, i))
			}
		})
	}
	return tr
}

// send sends one message in a session of its own.
func (tr *traffic) send(to, name string) {
	c, err := net.Dial("tcp", tr.w.addr())
	if err != nil {
		tr.note(name, err.Error())
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	for _, step := range []struct{ say, want string }{
		{"", "220"}, {"HELO client.example\r\n", "250"}, {"MAIL FROM:<a@sender.example>\r\n", "250"}, {"RCPT TO:<" + to + ">\r\n", "250"},
		{"DATA\r\n", "354"}, {"Subject: " + name + "\r\n\r\ntext\r\n.\r\n", "250"},
	} {
		fmt.Fprint(c, step.say)
		reply, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(reply, step.want) {
			tr.note(name, strings.TrimSpace(fmt.Sprint(reply, err)))
			return
		}
	}
	tr.note(name, "")
}

// note counts the end of a session: "" is an accepted message.
func (tr *traffic) note(name, reply string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	switch {
	case reply == "":
		tr.accepted[name] = true
	case strings.HasPrefix(reply, "451 4.3.0 "): // to RCPT, or to the text when the database goes in between
		tr.deferred++
	default:
		tr.wrong = append(tr.wrong, reply)
	}
}

func (tr *traffic) count() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.accepted)
}

// await waits until something holds of the traffic.
func (tr *traffic) await(what string, holds func() bool) {
	tr.w.t.Helper()
	tr.w.eventually(what, func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return holds() || len(tr.wrong) > 0
	})
}

// finish ends the traffic and returns what was accepted.
func (tr *traffic) finish() map[string]bool {
	tr.w.t.Helper()
	close(tr.stop)
	tr.wait.Wait()
	if len(tr.wrong) > 0 {
		tr.w.t.Errorf("replies %q", tr.wrong)
	}
	return tr.accepted
}
