package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// mailUID owns the mailboxes.
const mailUID = 5000

const mainCF = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
myhostname = mx.host.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
virtual_mailbox_domains = bench.example
virtual_mailbox_maps = hash:%[1]s/users
virtual_alias_maps = hash:%[1]s/lists
virtual_mailbox_base = %[1]s/mail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtp_dns_support_level = disabled
maillog_file = %[1]s/maillog
maillog_file_prefixes = %[1]s
`

const masterCF = `127.0.0.1:%s inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// lay writes the configuration and the mailbox table, and returns the port.
func (b *bench) lay(dir, extra string) (port string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	for _, d := range []string{"mail", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(dir, "mail"), mailUID, mailUID); err != nil {
			return "", err
		}
	}
	var users, lists strings.Builder
	for i := range boxes {
		fmt.Fprintf(&users, "box%d@bench.example  box%d/\n", i, i)
	}
	for i := range boxes / 10 {
		fmt.Fprintf(&lists, "list%d@bench.example", i)
		for k := range 10 {
			fmt.Fprintf(&lists, " box%d@bench.example", i*10+k)
		}
		lists.WriteByte('\n')
	}
	files := map[string]string{
		"main.cf": fmt.Sprintf(mainCF, dir) + extra, "master.cf": fmt.Sprintf(masterCF, port), "users": users.String(), "lists": lists.String(),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return port, nil
}

// startPostern runs the program in the foreground of this one.
func startPostern(ctx context.Context, b *bench, dir string) (*process, error) {
	return start(ctx, dir, b.postern, "serve", "-c", dir)
}

// startPostfix runs a private instance of the installed Postfix.
func startPostfix(ctx context.Context, b *bench, dir string) (*process, error) {
	names := []string{"daemon_directory", "command_directory", "shlib_directory", "meta_directory", "mail_owner", "setgid_group"}
	out, err := exec.CommandContext(ctx, "postconf", append([]string{"-dh"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("postconf: %w", err)
	}
	values := strings.Split(strings.TrimSpace(string(out)), "\n")
	f, err := os.OpenFile(filepath.Join(dir, "main.cf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	for i, n := range names {
		fmt.Fprintf(f, "%s = %s\n", n, values[i])
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := layPostfixQueue(dir); err != nil {
		return nil, err
	}
	if err := command(ctx, "postmap", "-c", dir, "hash:"+filepath.Join(dir, "users"), "hash:"+filepath.Join(dir, "lists")); err != nil {
		return nil, err
	}
	return start(ctx, dir, filepath.Join(values[0], "master"), "-c", dir, "-d")
}

// layPostfixQueue makes the folders that "postfix start" would make.
func layPostfixQueue(dir string) error {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	drop, err := user.LookupGroup("postdrop")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(drop.Gid)
	if err := os.Chown(filepath.Join(dir, "data"), uid, -1); err != nil {
		return err
	}
	modes := map[string]os.FileMode{
		"active": 0o700, "bounce": 0o700, "corrupt": 0o700, "defer": 0o700, "deferred": 0o700, "flush": 0o700,
		"hold": 0o700, "incoming": 0o700, "private": 0o700, "saved": 0o700, "trace": 0o700,
		"maildrop": 0o730 | os.ModeSticky, "public": 0o710 | os.ModeSetgid, "pid": 0o755,
	}
	for name, mode := range modes {
		path := filepath.Join(dir, "queue", name)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		u, g := uid, -1
		switch name {
		case "pid":
			u = 0
		case "maildrop", "public":
			g = gid
		}
		if err := os.Chown(path, u, g); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return nil
}
