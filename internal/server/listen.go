package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"postern/internal/config"
	"postern/internal/smtpd"
)

// listeners are the open sockets of the smtpd services. A reload keeps those
// whose address stays, with their sessions, opens new ones and closes the rest.
type listeners struct {
	s  *Server
	wg sync.WaitGroup

	mu     sync.Mutex
	open   map[string]*listener // by network and address
	closed bool                 // for good: the server is stopping
}

// listener is one socket and its sessions.
type listener struct {
	net.Listener
	server  *smtpd.Server
	profile atomic.Pointer[smtpd.Profile]
	cancel  context.CancelFunc
}

func newListeners(s *Server) *listeners { return &listeners{s: s, open: map[string]*listener{}} }

// endpoints are the sockets that an inet service wants, one for each address of
// inet_interfaces when its own address has no host.
func endpoints(v *config.Settings, address string, own []netip.Addr) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	v4, v6 := protocols(v)
	if host != "" {
		return []string{address}, nil
	}
	var out []string
	for _, w := range v.List("inet_interfaces") {
		switch w {
		case "all":
			return []string{net.JoinHostPort("", port)}, nil
		case "loopback-only":
			for _, a := range own {
				if a.IsLoopback() && (a.Is4() && v4 || a.Is6() && v6) {
					out = append(out, net.JoinHostPort(a.String(), port))
				}
			}
		default:
			w = strings.Trim(w, "[]")
			if a, err := netip.ParseAddr(w); err == nil && (a.Is4() && !v4 || a.Is6() && !v6) {
				continue
			}
			out = append(out, net.JoinHostPort(w, port))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%v: inet_interfaces and inet_protocols leave no address to listen on",
			v.Value("inet_interfaces").At)
	}
	return out, nil
}

// inetNetwork is tcp, tcp4 or tcp6 by inet_protocols.
func inetNetwork(v *config.Settings) string {
	switch v4, v6 := protocols(v); {
	case !v6:
		return "tcp4"
	case !v4:
		return "tcp6"
	}
	return "tcp"
}

// wanted lists the sockets of a generation.
func wanted(g *generation) (map[string]*service, error) {
	want := map[string]*service{}
	for _, sv := range g.services {
		network, list := "unix", []string{sv.address}
		if sv.network != "unix" {
			var err error
			network = inetNetwork(sv.settings)
			if list, err = endpoints(sv.settings, sv.address, g.own); err != nil {
				return nil, err
			}
		}
		for _, a := range list {
			key := network + " " + a
			if other, ok := want[key]; ok {
				return nil, fmt.Errorf("master.cf: services %s and %s both listen on %s", other.name, sv.name, a)
			}
			want[key] = sv
		}
	}
	return want, nil
}

// apply makes the open sockets those of the generation. When an address cannot
// be listened on, that is an error, and the sockets and their services stay as
// they were, but for those that had to make way for others on the same port.
func (ls *listeners) apply(ctx context.Context, g *generation) error {
	want, err := wanted(g)
	if err != nil {
		return err
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return errors.New("the server is stopping")
	}
	sockets, err := ls.bind(want)
	if err != nil {
		return err
	}
	for key := range ls.open {
		if _, stays := want[key]; !stays {
			ls.end(key)
		}
	}
	for key, sv := range want {
		if l, ok := ls.open[key]; ok {
			l.profile.Store(sv.profile)
		} else {
			ls.start(ctx, key, sv, sockets[key])
		}
	}
	return nil
}

// bind opens the sockets that are wanted and not open yet: all of them or none.
func (ls *listeners) bind(want map[string]*service) (map[string]net.Listener, error) {
	sockets := map[string]net.Listener{}
	var errs []error
	for key, sv := range want {
		if _, ok := ls.open[key]; ok {
			continue
		}
		socket, err := ls.s.listen(key)
		if errors.Is(err, syscall.EADDRINUSE) && ls.makeWay(key, want) {
			socket, err = ls.s.listen(key)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: service %s: %w", sv.at, sv.name, listenHint(err)))
			continue
		}
		sockets[key] = socket
	}
	if len(errs) == 0 {
		return sockets, nil
	}
	for _, socket := range sockets {
		errs = append(errs, socket.Close())
	}
	return nil, errors.Join(errs...)
}

// listen opens the socket of a key of listeners.open, by the helper where there
// is one.
func (s *Server) listen(key string) (net.Listener, error) {
	network, addr, _ := strings.Cut(key, " ")
	if network != "unix" && s.helper != nil {
		return s.helper.Listen(network, addr)
	}
	if network == "unix" {
		if err := os.Remove(addr); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return net.Listen(network, addr)
}

// makeWay ends the sockets on the port of key that are no longer wanted: one for
// all addresses and one for a single address exclude each other.
func (ls *listeners) makeWay(key string, want map[string]*service) (ended bool) {
	port := key[strings.LastIndexByte(key, ':')+1:]
	for other := range ls.open {
		if _, stays := want[other]; !stays && strings.HasSuffix(other, ":"+port) {
			ls.end(other)
			ended = true
		}
	}
	return ended
}

// end closes a socket; its sessions end after their transactions.
func (ls *listeners) end(key string) {
	l := ls.open[key]
	l.cancel()
	_ = l.Close()
	delete(ls.open, key)
}

// start serves a socket until ctx ends.
func (ls *listeners) start(ctx context.Context, key string, sv *service, socket net.Listener) {
	l := &listener{Listener: socket}
	l.profile.Store(sv.profile)
	var lctx context.Context
	lctx, l.cancel = context.WithCancel(ctx)
	ls.open[key] = l
	log := ls.s.log.Named(sv.settings.String("syslog_name"), "smtpd")
	l.server = &smtpd.Server{Profile: l.profile.Load, Log: log, MaxConnections: sv.maxProc}
	ls.wg.Go(func() {
		if err := l.server.Serve(lctx, socket); err != nil {
			log.Errorf("listener %s: %v", socket.Addr(), err)
		}
	})
}

// listenHint adds the cure to the usual reasons.
func listenHint(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program listens there; stop it or change the port in master.cf", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: ports below 1024 need root, or change the port in master.cf", err)
	}
	return err
}

// addresses lists what is listened on.
func (ls *listeners) addresses() []string {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var out []string
	for _, l := range ls.open {
		out = append(out, l.Addr().String())
	}
	sort.Strings(out)
	return out
}

// sessions counts those of the sockets that are listened on.
func (ls *listeners) sessions() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	n := 0
	for _, l := range ls.open {
		n += l.server.Sessions()
	}
	return n
}

// close ends all sockets for good and returns when their sessions are over.
func (ls *listeners) close() {
	ls.mu.Lock()
	ls.closed = true
	for _, l := range ls.open {
		l.cancel()
	}
	ls.mu.Unlock()
	ls.wg.Wait()
}
