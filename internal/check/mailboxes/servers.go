package mailboxes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/finding"
	"postern/internal/privsep"
)

// servers looks at destinations beside each other.
func (x *examination) servers(ctx context.Context, list []*destination) []finding.Finding {
	found := make([][]finding.Finding, len(list))
	var all sync.WaitGroup
	room := make(chan struct{}, parallel)
	for n, d := range list {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			ctx, cancel := context.WithTimeout(ctx, x.ServerTime)
			defer cancel()
			found[n] = x.server(ctx, d)
		})
	}
	all.Wait()
	var out []finding.Finding
	for _, f := range found {
		out = append(out, f...)
	}
	return out
}

// server looks at one destination: is there a service, can it be reached, does it
// know its users?
func (x *examination) server(ctx context.Context, d *destination) []finding.Finding {
	if d.program == "" {
		return []finding.Finding{x.noService(d)}
	}
	e, err := parseEndpoint(d.nextHop, x.i.Setup.Settings.String("lmtp_tcp_port"))
	if err != nil {
		return []finding.Finding{d.finding(fmt.Sprintf("%s: %v", d.written, err), "write "+d.service+":unix:PATH or "+d.service+":inet:HOST:PORT")}
	}
	if e.unix == "" {
		return x.network(ctx, d, e)
	}
	path := e.unix
	if !filepath.IsAbs(path) {
		path = filepath.Join(x.i.Setup.Settings.String("queue_directory"), path)
	} else if x.confined(d.service) && !isSocket(filepath.Join(x.i.Setup.Settings.String("queue_directory"), path)) {
		return []finding.Finding{x.unreachable(d, path)}
	}
	conn, err := x.Dial(ctx, "unix", path)
	if err == nil {
		found := x.converse(ctx, d, conn)
		if os.Geteuid() == 0 { // who could connect all the same
			found = append(found, x.permission(d, path)...)
		}
		return found
	}
	return x.noSocket(ctx, d, e, path, err)
}

// noService is the finding for a service that master.cf does not have.
func (x *examination) noService(d *destination) finding.Finding {
	f := d.finding(fmt.Sprintf("%s: master.cf has no delivery service %q, so the mail waits", d.written, d.service),
		"name a service of master.cf, or add a line for "+d.service+" there")
	if f.Near = x.near(d.service); len(f.Near) > 0 {
		f.Fix = fmt.Sprintf("write %s instead of %s, or add a line for %s to master.cf", f.Near[0], d.service, d.service)
	}
	return f
}

func (d *destination) finding(message, fix string) finding.Finding {
	return finding.Finding{Code: "VD403", Severity: finding.Error, At: d.at, Message: message, Fix: fix}
}

// confined reports a service that Postfix runs with queue_directory as its root, where
// Postern is to do as Postfix does. Postern itself confines no service like that.
func (x *examination) confined(service string) bool {
	s := x.i.Setup.Settings
	return s.String("compatibility") == "postfix" && slices.ContainsFunc(s.Services(), func(m config.Service) bool {
		return m.Name == service && m.Type == "unix" && m.Chroot
	})
}

// unreachable is the finding for a socket that a confined service cannot see.
func (x *examination) unreachable(d *destination, path string) finding.Finding {
	queue := x.i.Setup.Settings.String("queue_directory")
	fix := fmt.Sprintf("let the mailbox server listen below queue_directory, and name the socket relative to it: %s:unix:private/%s; or write n in the field chroot of %s in master.cf",
		d.service, filepath.Base(path), d.service)
	if rel, err := filepath.Rel(queue, path); err == nil && filepath.IsLocal(rel) {
		fix = fmt.Sprintf("write %s:unix:%s", d.service, rel)
	}
	f := d.finding(fmt.Sprintf("%s: the service %s is confined to queue_directory %s (chroot in master.cf), where there is no %s: the mail waits", d.written, d.service, queue, path), fix)
	for _, m := range x.i.Setup.Settings.Services() {
		if m.Name == d.service && m.Type == "unix" {
			f.At = withPlace(f.At, m.At)
		}
	}
	return f
}

// noSocket says why a socket could not be connected to.
func (x *examination) noSocket(ctx context.Context, d *destination, e endpoint, path string, err error) []finding.Finding {
	where := d.written + " leads to " + path
	if !filepath.IsAbs(e.unix) {
		where += " (relative to queue_directory)"
	}
	var f finding.Finding
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		f = x.absent(d, e, where, path)
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTSOCK):
		f = d.finding(where+": "+refused(path), "start the mailbox server, or let it listen at "+path)
	case errors.Is(err, unix.EPROTOTYPE):
		f = d.finding(where+": it is a socket for datagrams, not for connections", "name the LMTP socket of the mailbox server")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return x.permission(d, path)
	default:
		return nil // a server that is busy, or too slow
	}
	if f.Near = x.otherSockets(ctx, e.unix, path); len(f.Near) > 0 {
		f.Fix = fmt.Sprintf("an LMTP server listens at %s: write %s:unix:%[1]s, or let the mailbox server listen at %[3]s", f.Near[0], d.service, path)
	}
	return []finding.Finding{f}
}

func refused(path string) string {
	var e element
	if lstat(path, &e.st) == nil && e.isRegular() {
		return "it is a file, not a socket"
	}
	return "nobody listens there (connection refused)"
}

// absent is the finding for a socket that does not exist.
func (x *examination) absent(d *destination, e endpoint, where, path string) finding.Finding {
	message := where + ": no such file or directory"
	if w, err := climb("/", path, false); err == nil && w.missing != "" && w.missing != path {
		message = where + ": " + w.missing + " does not exist"
	}
	fix := fmt.Sprintf("let the mailbox server listen at %s (Dovecot: service lmtp { unix_listener %[1]s { mode = 0600 user = %s group = %[2]s } }), and start it",
		path, x.i.Setup.Settings.String("mail_owner"))
	if host, port, err := net.SplitHostPort(strings.TrimPrefix(e.unix, "inet:")); err == nil && host != "" && port != "" {
		fix = fmt.Sprintf("write %s:inet:%s:%s for a server on the network", d.service, host, port)
	}
	return d.finding(message, fix)
}

// deliverer is who talks to mailbox servers: mail_owner, or where there is no such
// user, whoever starts the server.
func (x *examination) deliverer() (name string, id identity, ok bool) {
	name = x.i.Setup.Settings.String("mail_owner")
	if who, err := privsep.LookupUser(name); err == nil {
		return name, identity{who.UID, append([]int{who.GID}, who.Groups...)}, true
	}
	groups, err := os.Getgroups()
	uid := os.Geteuid()
	return userName(uid), identity{uid, append([]int{os.Getegid()}, groups...)}, uid != 0 && err == nil
}

// permission judges whether the server may connect to a socket.
func (x *examination) permission(d *destination, path string) []finding.Finding {
	owner, id, ok := x.deliverer()
	if !ok {
		return nil
	}
	w, unseen := climb("/", path, false)
	e := w.barrier(id)
	if e == nil && unseen == nil && w.end != nil && w.end.isSocket() && id.denied(w.end, write) {
		e = w.end
	}
	if e == nil {
		return nil
	}
	fix := fmt.Sprintf("give the socket to %s (Dovecot: unix_listener { user = %[1]s, group = %[1]s, mode = 0600 })", owner)
	if e.isDir() {
		fix = fmt.Sprintf("let %s enter %s: chmod a+x %[2]s, or let the mailbox server listen in another directory", owner, e.path)
	}
	return []finding.Finding{d.finding(fmt.Sprintf("%s leads to %s: %s (uid %d), who delivers, may not %s %s; the way is %s",
		d.written, path, owner, id.uid, doing(e), e.path, w.String()), fix)}
}

func doing(e *element) string {
	if e.isDir() {
		return "enter"
	}
	return "connect to"
}

// network looks at a server that is reached by TCP.
func (x *examination) network(ctx context.Context, d *destination, e endpoint) []finding.Finding {
	if strings.Contains(e.host, "/") {
		f := d.finding(fmt.Sprintf("%s: %q is looked up as the name of a host", d.written, e.host), fmt.Sprintf("write %s:unix:%s for a socket", d.service, e.host))
		f.Near = []string{"unix:" + e.host}
		return []finding.Finding{f}
	}
	addr, ok := x.hostAddress(e.host)
	if !ok {
		return nil
	}
	conn, err := x.Dial(ctx, "tcp", net.JoinHostPort(addr.String(), e.port))
	if err == nil {
		return x.converse(ctx, d, conn)
	}
	reason := ""
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		reason = "nobody listens there (connection refused)"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		reason = "no answer within " + x.ServerTime.String()
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		reason = "no way there"
	default:
		return nil
	}
	f := d.finding(fmt.Sprintf("%s leads to %s: %s", d.written, net.JoinHostPort(addr.String(), e.port), reason),
		"start the mailbox server there, or write the address and port at which it listens")
	if f.Near = x.otherSockets(ctx, "", ""); len(f.Near) > 0 {
		f.Fix = fmt.Sprintf("an LMTP server listens at %s: write %s:unix:%[1]s", f.Near[0], d.service)
	}
	return []finding.Finding{f}
}

// hostAddress is the address of a host that need not be asked of the DNS.
func (x *examination) hostAddress(host string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a, true
	}
	if strings.EqualFold(host, "localhost") {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	addrs := dns.HostsFile(x.Hosts, host)
	if len(addrs) == 0 {
		return netip.Addr{}, false
	}
	return addrs[0], true
}
