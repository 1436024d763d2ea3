package sqltest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that has to happen.
const patience = 60 * time.Second

// Server is a running database server.
type Server struct {
	Dir    string // holds everything that belongs to it
	Socket string // its socket; for PostgreSQL the directory of it
	Addr   string // on loopback, host:port
	Port   string
	CA     string // file with the authority that signed its certificate, which is for 127.0.0.1

	program string
	args    []string
	cred    *syscall.Credential
	execute func(s *Server, statements []string) error // as the administrator
	stopBy  os.Signal                                  // of an orderly end

	process *os.Process
	ended   chan struct{} // closed when the process has
}

// shared are the servers of the whole test program.
var shared struct {
	sync.Mutex
	servers map[string]*Server
}

// Main runs the tests and ends the servers that they shared.
func Main(m *testing.M) int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		for _, s := range shared.servers {
			s.remove()
		}
		shared.servers = nil
	}()
	return m.Run()
}

// share returns the shared server of that name, which it starts the first time.
func share(t testing.TB, name string, start func(t testing.TB) *Server) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if s := shared.servers[name]; s != nil {
		return s
	}
	s := start(t)
	if shared.servers == nil {
		shared.servers = make(map[string]*Server)
	}
	shared.servers[name] = s
	return s
}

// need finds a program, or ends the test.
func need(t testing.TB, name string) string {
	t.Helper()
	places := []string{"", "/usr/sbin/", "/usr/lib/postgresql/*/bin/"}
	for _, dir := range places {
		found, _ := filepath.Glob(dir + name)
		for _, path := range append(found, dir+name) {
			if p, err := exec.LookPath(path); err == nil {
				return p
			}
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// newServer makes the directory of a server, for the system user of that name
// when the tests run as root.
func newServer(t testing.TB, systemUser string) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "sqltest")
	must(t, err)
	s := &Server{Dir: dir, Port: freePort(t), stopBy: syscall.SIGTERM}
	s.Addr = net.JoinHostPort("127.0.0.1", s.Port)
	if os.Geteuid() == 0 {
		u, err := user.Lookup(systemUser)
		if err != nil {
			u, err = user.Lookup("nobody")
		}
		must(t, err)
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		must(t, os.Chown(dir, int(uid), int(gid)))
	}
	must(t, os.Chmod(dir, 0o755))
	s.certificate(t)
	return s
}

// give writes a file that belongs to the user of the server.
func (s *Server) give(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(s.Dir, name)
	must(t, os.WriteFile(path, text, 0o600))
	if s.cred != nil {
		must(t, os.Chown(path, int(s.cred.Uid), int(s.cred.Gid)))
	}
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// install runs the program that makes the data directory, as the user of the
// server. It is given a second chance.
func (s *Server) install(t testing.TB, data, program string, args ...string) {
	t.Helper()
	var out []byte
	var err error
	for range 2 {
		must(t, os.RemoveAll(data))
		cmd := exec.Command(program, args...)
		cmd.Dir = s.Dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
		if out, err = cmd.CombinedOutput(); err == nil {
			return
		}
		t.Logf("%s: %v\n%s", program, err, out)
	}
	s.remove()
	t.Fatalf("%s: %v", program, err)
}

// Start starts the server, the first time or after Stop or Kill, and waits
// until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.launch(t)
	launched := 1
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := s.execute(s, []string{"SELECT 1"})
		if err == nil {
			return
		}
		select {
		case <-s.ended:
			// After a kill the children of the old server may still hold its memory.
			if launched++; launched > 20 {
				t.Fatalf("the server ended:\n%s", s.tail())
			}
			time.Sleep(100 * time.Millisecond)
			s.launch(t)
		default:
		}
		if time.Now().After(deadline) {
			s.Kill()
			t.Fatalf("the server does not answer: %v\n%s", err, s.tail())
		}
	}
}

func (s *Server) launch(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	must(t, err)
	defer log.Close()
	cmd := exec.Command(s.program, s.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the server dies with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(ended)
	}()
	must(t, <-started)
	s.process, s.ended = cmd.Process, ended
}

// tail is the end of the server's log.
func (s *Server) tail() []byte {
	text, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
	return bytes.TrimSpace(text[max(0, len(text)-2000):])
}

// Exec runs statements as the administrator of the server.
func (s *Server) Exec(t testing.TB, statements ...string) {
	t.Helper()
	must(t, s.execute(s, statements))
}

// Kill ends the server, with all its processes, without a warning.
func (s *Server) Kill() {
	if s.process != nil {
		s.signal(syscall.SIGKILL, "ZX")
		<-s.ended
		s.process = nil
	}
}

// Freeze makes the server hang, until Thaw.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP, "T") }

// Thaw lets the server go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT, "RSD") }

// signal sends a signal to all processes of the server and waits until each is
// in one of the states (proc(5), /proc/pid/stat), or gone.
func (s *Server) signal(sig syscall.Signal, states string) {
	pids := []int{s.process.Pid}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if _, parent := processState(pid); parent == s.process.Pid {
				pids = append(pids, pid)
			}
		}
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
	for _, pid := range pids {
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if state, _ := processState(pid); strings.Contains(states, state) {
				break
			}
		}
	}
}

// processState is the state letter and the parent of a process, "" and 0 when
// there is none.
func processState(pid int) (state string, parent int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if i := bytes.LastIndexByte(text, ')'); i >= 0 { // behind the name, which may hold anything
		if fields := strings.Fields(string(text[i+1:])); len(fields) > 1 {
			state = fields[0]
			parent, _ = strconv.Atoi(fields[1])
		}
	}
	return state, parent
}

// Stop ends the server in order.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Signal(s.stopBy)
	select {
	case <-s.ended:
		s.process = nil
	case <-time.After(patience):
		s.Kill()
	}
}

// remove ends the server for good.
func (s *Server) remove() {
	s.Kill()
	_ = os.RemoveAll(s.Dir)
}

// failed says which statement failed.
func failed(statement string, err error) error {
	return fmt.Errorf("%.200s: %w", statement, err)
}
