package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// mailUID and mailGID own the mailboxes of virtual domains when the runner is
// root; no account of that number is needed.
const mailUID, mailGID = 5000, 5000

// level is what is compared: replies, places and the header fields that agents
// add.
const level = "headers"

// options say how a case is played.
type options struct {
	kind kind
	want string // what to wait for, reduced to the level; "" to wait for quiet
	keep bool
	// explain is the explain command, whose predictions are compared with what
	// happens; nil: nothing is compared.
	explain []string
}

// played is what came of a case.
type played struct {
	seen     string   // all that was seen
	wrong    []string // where explain was wrong
	compared int      // probes that explain was asked about
}

// missing says why the case cannot run here, or nothing.
func missing(a archive) string {
	for _, need := range strings.Fields(a.get("needs")) {
		switch need {
		case "localusers":
			if os.Geteuid() != 0 {
				return "needs system users, which only root can make"
			}
			for _, name := range []string{"pfjohn", "pfjack"} {
				if _, err := user.Lookup(name); err == nil {
					continue
				}
				if err := command("", "useradd", "-M", "-d", "/nonexistent", "-s", "/usr/sbin/nologin", name); err != nil {
					if _, again := user.Lookup(name); again != nil {
						return err.Error()
					}
				}
			}
		default:
			if _, err := exec.LookPath(need); err != nil {
				return "needs " + need
			}
		}
	}
	return ""
}

// play lays out the case, starts sinks and server, runs the probes, waits
// until nothing moves any more and returns what was seen.
func play(ctx context.Context, o options, a archive) (p played, err error) {
	s, err := prepare(o, a)
	if err != nil {
		return p, err
	}
	defer s.close()
	argv := make([]string, len(o.kind.argv))
	for i, arg := range o.kind.argv {
		argv[i] = expand(arg, s.w.vars)
	}
	srv, err := startServer(ctx, s.w, argv)
	if err != nil {
		return p, err
	}
	defer srv.stop()
	if err := s.run(ctx); err != nil {
		return p, err
	}
	var all []foreseen
	if o.explain != nil {
		if all, err = (explainer{o.explain, s}).foresee(); err != nil {
			return p, err
		}
	}
	if p.seen, err = s.wait(ctx, o, all); err != nil {
		return p, err
	}
	p.wrong, p.compared = s.differences(all), s.compared(all)
	return p, nil
}

// wait waits until what is expected has happened, and no more.
func (s *session) wait(ctx context.Context, o options, all []foreseen) (string, error) {
	quiet := 2 * time.Second // something expected may still be on its way
	switch {
	case o.kind.postfix:
		return settle(ctx, s.look, 6*time.Second, 120*time.Millisecond, func(string) bool { return queueIdle(s.w.dir) })
	case o.want == "" && all != nil:
		return settle(ctx, s.look, quiet, 300*time.Millisecond, func(string) bool { return len(s.differences(all)) == 0 })
	}
	return settle(ctx, s.look, quiet, 300*time.Millisecond, func(seen string) bool { return reduce(level, seen) == o.want })
}

// A session is one run of one case.
type session struct {
	w       *world
	kind    kind
	keep    bool
	sinks   []*sink
	probes  []probe
	replies [][]string   // of each probe
	open    map[int]bool // probes whose message was accepted
}

// prepare makes the folder of a session, its sinks, files and tables.
func prepare(o options, a archive) (s *session, err error) {
	dir, err := os.MkdirTemp("", "conf")
	if err != nil {
		return nil, err
	}
	made := &session{w: &world{dir: dir}, kind: o.kind, keep: o.keep, open: map[int]bool{}}
	s = made
	defer func() {
		if err != nil {
			made.close() // s is nil by now
		}
	}()
	if o.keep {
		fmt.Println(dir)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "lmtp.sock")
	for _, d := range []struct{ name, network, addr string }{
		{"smtp", "tcp", "127.0.0.1:0"},
		{"smtp2", "tcp", "127.0.0.1:0"},
		{"lmtp", "tcp", "127.0.0.1:0"},
		{"lmtp", "unix", socket},
	} {
		k, err := newSink(d.name, d.network, d.addr, d.name == "lmtp")
		if err != nil {
			return nil, err
		}
		s.sinks = append(s.sinks, k)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		return nil, err
	}
	if s.w.port, err = freePort(); err != nil {
		return nil, err
	}
	uid, gid := mailUID, mailGID
	if os.Geteuid() != 0 {
		uid, gid = os.Getuid(), os.Getgid()
	}
	s.w.vars = map[string]string{
		"dir": dir, "mail": filepath.Join(dir, "mail"), "spool": filepath.Join(dir, "spool"),
		"port": s.w.port, "uid": strconv.Itoa(uid), "gid": strconv.Itoa(gid),
		"sink": "[127.0.0.1]:" + s.sinks[0].port(), "sink2": "[127.0.0.1]:" + s.sinks[1].port(),
		"lmtptcp": "127.0.0.1:" + s.sinks[2].port(), "lmtp": socket,
	}
	if s.probes, err = parseProbes(a.get("probe"), s.w.vars); err != nil {
		return nil, err
	}
	if err := s.w.lay(a, o.kind.prologue, uid, gid); err != nil {
		return nil, err
	}
	if o.kind.postfix {
		if err := layQueue(dir); err != nil {
			return nil, err
		}
	}
	return s, compile(s.w, o.kind, a.get("compile"))
}

func (s *session) close() {
	for _, k := range s.sinks {
		k.close()
	}
	if !s.keep {
		os.RemoveAll(s.w.dir)
	}
}

// run sends the probes one after the other.
func (s *session) run(ctx context.Context) error {
	addr := net.JoinHostPort("127.0.0.1", s.w.port)
	nonce := make([]byte, 6)
	rand.Read(nonce)
	s.replies = make([][]string, len(s.probes))
	for i := range s.probes {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := &s.probes[i]
		p.token = fmt.Sprintf("mark-%s-%d-end", hex.EncodeToString(nonce), i)
		var ok bool
		var err error
		switch {
		case p.query != nil:
			s.replies[i], err = postmapQuery(s.w, s.kind, *p)
		case p.raw != nil:
			s.replies[i], ok, err = dialogue(addr, *p)
		default:
			s.replies[i], ok, err = transact(addr, *p)
		}
		if err != nil {
			return fmt.Errorf("probe %d: %w\n%s", i+1, err, tail(s.w.dir))
		}
		if ok {
			s.open[i] = true
		}
	}
	return nil
}

// look shows what has arrived so far, and whether every accepted probe has
// left a trace.
func (s *session) look() (seen string, accounted bool) {
	parts := s.byProbe()
	var b strings.Builder
	accounted = true
	for i, p := range s.probes {
		fmt.Fprintf(&b, "probe %d: %s\n", i+1, p.title)
		for _, line := range s.replies[i] {
			b.WriteString("  " + line + "\n")
		}
		for _, line := range render(parts[i]) {
			b.WriteString(line + "\n")
		}
		if s.open[i] && len(parts[i]) == 0 {
			accounted = false
		}
	}
	if rest := render(parts[len(s.probes)]); rest != nil {
		b.WriteString("other\n" + strings.Join(rest, "\n") + "\n")
	}
	return normalise(b.String(), s.w), accounted
}

// byProbe are the deliveries so far of each probe, and behind them those of none.
func (s *session) byProbe() [][]delivery {
	list := append(scan(s.w.vars["mail"], ""), scan(s.w.vars["spool"], "spool:")...)
	for _, k := range s.sinks {
		list = append(list, k.deliveries()...)
	}
	parts := make([][]delivery, len(s.probes)+1)
	for _, d := range list {
		if d.refused != "" && d.msg == "" && d.from == "" {
			continue // a question without a message, as check asks an LMTP server, or a report that bounced
		}
		i := owner(d, s.probes)
		parts[i] = append(parts[i], d)
	}
	return parts
}

// settle looks until nothing new appears: for the time still while done is
// true, or for the time quiet if every accepted probe left a trace, and in no
// case longer than 6 s.
func settle(ctx context.Context, look func() (string, bool), quiet, still time.Duration, done func(string) bool) (string, error) {
	start := time.Now()
	changed, since := start, time.Time{}
	last, _ := look()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(40 * time.Millisecond):
		}
		seen, accounted := look()
		now := time.Now()
		if seen != last {
			last, changed, since = seen, now, time.Time{}
		}
		switch {
		case !done(seen):
			since = time.Time{}
		case since.IsZero():
			since = now
		case now.Sub(since) >= still:
			return seen, nil
		}
		if now.Sub(start) >= 6*time.Second || accounted && now.Sub(changed) >= quiet {
			return seen, nil
		}
	}
}

// owner returns the index of the probe a delivery comes from, or the number
// of probes for none.
func owner(d delivery, probes []probe) int {
	for i, p := range probes {
		if strings.Contains(d.msg, p.token) {
			return i
		}
	}
	return len(probes)
}

var taken sync.Map // server ports of this process

// freePort picks a port for a server. It stays below the range from which the
// system hands out ports, so that no sink or connection takes it meanwhile.
func freePort() (string, error) {
	for range 1000 {
		port := strconv.Itoa(10000 + mrand.IntN(20000))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		l.Close()
		if _, used := taken.LoadOrStore(port, true); !used {
			return port, nil
		}
	}
	return "", fmt.Errorf("no free port")
}

// compile builds the tables named in the compile section, "hash:file" each,
// or "postalias hash:file".
func compile(w *world, k kind, text string) error {
	if len(k.postmap) == 0 {
		return nil
	}
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		argv := append([]string(nil), k.postmap...)
		if f[0] == "postalias" && len(f) > 1 {
			for i, arg := range argv {
				if filepath.Base(arg) == "postmap" {
					argv[i] = filepath.Join(filepath.Dir(arg), "postalias")
				}
			}
			f = f[1:]
		}
		typ, name, ok := strings.Cut(f[0], ":")
		if !ok {
			return fmt.Errorf("compile: want type:file, not %q", line)
		}
		argv = append(argv, "-c", w.dir, typ+":"+filepath.Join(w.dir, name))
		if err := command("", argv[0], argv[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// postmapQuery runs the table query of a probe.
func postmapQuery(w *world, k kind, p probe) ([]string, error) {
	if len(k.postmap) == 0 {
		return nil, fmt.Errorf("a query needs -postmap")
	}
	argv := append(append([]string(nil), k.postmap...), "-c", w.dir, "-q", p.query[0], p.query[1])
	out, status, err := output("", argv[0], argv[1:]...)
	if status < 0 {
		return nil, err
	}
	lines := []string{fmt.Sprintf("exit %d", status)}
	for _, l := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		if l != "" {
			lines = append(lines, "| "+l)
		}
	}
	return lines, nil
}
