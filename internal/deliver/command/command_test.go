package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
)

// me is the identity that tests can have: a user without rights for root.
func me() privsep.Identity {
	if os.Geteuid() == 0 {
		return privsep.Identity{UID: 4711, GID: 4712}
	}
	return privsep.Identity{UID: os.Geteuid(), GID: os.Getegid()}
}

// text is a Body in memory.
type text string

func (b text) Size() int64 { return int64(len(b)) }

func (b text) ReadAt(p []byte, off int64) (int, error) {
	return strings.NewReader(string(b)).ReadAt(p, off)
}

// sh is a Spec for a shell script.
func sh(script string) Spec {
	return Spec{As: me(), Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=" + searchPath, "A=b c"},
		Dir: "/", Limit: time.Minute, Output: 4096}
}

func run(t *testing.T, s Spec, input string) Result {
	t.Helper()
	r, err := Feed(t.Context(), Direct{privsep.New()}, s, Input{Text: text(input)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRun(t *testing.T) {
	tests := []struct {
		name, script, input string
		status, signal      int
		output              string
	}{
		{"nothing", "exit 0", "", 0, 0, ""},
		{"status", "exit 75", "", 75, 0, ""},
		{"signal", "kill -TERM $$", "", -1, 15, ""},
		{"both outputs", "echo out; echo err >&2", "", 0, 0, "out\nerr\n"},
		{"input", "cat", "line\nline\n", 0, 0, "line\nline\n"},
		{"input is not read", "exit 3", strings.Repeat("x", 1<<20), 3, 0, ""},
		{"output is bounded", "yes | head -c 100000", "", 0, 0, strings.Repeat("y\n", 2048)},
		{"environment", "env | grep -v ^PWD= | grep -v ^_= | grep -v ^SHLVL= | grep -v ^OLDPWD= | sort", "", 0, 0, "A=b c\nPATH=/usr/bin:/bin\n"},
		{"directory", "pwd", "", 0, 0, "/\n"},
		{"descriptors", "for n in 3 4 5 6 7 8 9; do test -e /proc/$$/fd/$n && echo $n; done; true", "", 0, 0, ""},
		{"what is left in the background", "sleep 60 & echo done", "", 0, 0, "done\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, sh(tt.script), tt.input)
			if got.Status != tt.status || got.Signal != tt.signal || got.TimedOut || string(got.Output) != tt.output {
				t.Errorf("result is %+v with output %.200q", got, got.Output)
			}
		})
	}
}

// TestIdentity: all ids are those of the user, and the session is its own.
func TestIdentity(t *testing.T) {
	id := me()
	s := sh(`grep -E '^(Uid|Gid|CapEff|CapPrm|Groups):' /proc/self/status; ps -o sid= -p $$; echo $$`)
	if os.Geteuid() == 0 {
		id.Groups = []int{4712, 4713}
		s.As = id
	}
	out := strings.Fields(string(run(t, s, "").Output))
	four := func(n int) string { return strings.Repeat(" "+strconv.Itoa(n), 4) }
	joined := strings.Join(out, " ")
	if !strings.Contains(joined, "Uid:"+four(id.UID)) || !strings.Contains(joined, "Gid:"+four(id.GID)) ||
		!strings.Contains(joined, "CapPrm: 0000000000000000 CapEff: 0000000000000000") {
		t.Errorf("the command runs as %s, want %v", joined, id)
	}
	if os.Geteuid() == 0 && !strings.Contains(joined, "Groups: 4712 4713 ") {
		t.Errorf("groups are those of %s", joined)
	}
	if sid, pid := out[len(out)-2], out[len(out)-1]; sid != pid {
		t.Errorf("session %s of process %s", sid, pid)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		as   privsep.Identity
		want error
	}{
		{privsep.Identity{UID: 0, GID: 5}, privsep.ErrRoot},
		{privsep.Identity{UID: 5, GID: 0}, privsep.ErrRoot},
		{privsep.Identity{UID: 5, GID: 5, Groups: []int{0}}, privsep.ErrRoot},
	} {
		s := sh("touch /tmp/never")
		s.As = tt.as
		if _, err := Feed(t.Context(), Direct{privsep.New()}, s, Input{Text: text("")}); !errors.Is(err, tt.want) {
			t.Errorf("as %v: %v, want %v", tt.as, err, tt.want)
		}
	}
	if os.Geteuid() != 0 {
		s := sh("true")
		s.As.UID++
		if _, err := Feed(t.Context(), Direct{privsep.New()}, s, Input{Text: text("")}); !errors.Is(err, privsep.ErrNotRoot) {
			t.Errorf("as another user: %v", err)
		}
	}
}

func TestNotStarted(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func(*Spec)
		want   error
	}{
		{func(s *Spec) { s.Argv = []string{"/no/such/file"} }, unix.ENOENT},
		{func(s *Spec) { s.Argv = []string{"no-such-program"} }, unix.ENOENT},
		{func(s *Spec) { s.Argv = nil }, unix.ENOENT},
		{func(s *Spec) { s.Env = nil; s.Argv = []string{"sh"} }, unix.ENOENT},
		{func(s *Spec) { s.Argv = []string{plain} }, unix.EACCES},
		{func(s *Spec) { s.Dir = "/no/such/dir" }, unix.ENOENT},
	} {
		s := sh("true")
		tt.change(&s)
		if _, err := Feed(t.Context(), Direct{privsep.New()}, s, Input{Text: text("some text")}); !errors.Is(err, tt.want) {
			t.Errorf("%v in %s: %v, want %v", s.Argv, s.Dir, err, tt.want)
		}
	}
}

// children reports whether a process with the marker in its command line lives.
func children(marker string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range all {
		line, err := os.ReadFile(name)
		if err == nil && bytes.Contains(line, []byte(marker)) && !strings.Contains(name, fmt.Sprintf("/%d/", os.Getpid())) {
			return true
		}
	}
	return false
}

// TestLimit kills the whole group, children that ignore signals included.
func TestLimit(t *testing.T) {
	s := sh("trap '' TERM; echo early; sleep 987651 & sleep 987651; true")
	s.Limit = 200 * time.Millisecond
	r := run(t, s, "")
	if !r.TimedOut || string(r.Output) != "early\n" || r.Signal != int(syscall.SIGKILL) {
		t.Errorf("result is %+v", r)
	}
	if children("987651") {
		t.Error("a child is still there")
	}
}

// TestContext: the end of the context ends the command, and so does a text that
// cannot be read; the command must not take it for the whole.
func TestContext(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "started")
	if err := unix.Mkfifo(fifo, 0o622); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(fifo, 0o622), os.Chmod(filepath.Dir(fifo), 0o755), os.Chmod(filepath.Dir(filepath.Dir(fifo)), 0o755)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		f, err := os.Open(fifo) // returns when the command has opened it too
		if err == nil {
			f.Close()
		}
		cancel()
	}()
	_, err = Direct{privsep.New()}.Run(ctx, sh("exec 3>"+fifo+"; cat; sleep 987652"), read)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	write.Close()
	if children("987652") {
		t.Error("the command is still there")
	}

	file := filepath.Join(t.TempDir(), "taken")
	_, err = Feed(t.Context(), Direct{privsep.New()}, sh("cat >/dev/null; touch "+file), Input{Text: torn{"half of it", 100}})
	var torn *TextError
	if !errors.As(err, &torn) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the command took half of the text for the whole")
	}
}

// torn is a text that claims to be longer than it is.
type torn struct {
	text
	size int64
}

func (b torn) Size() int64 { return b.size }

func TestArgv(t *testing.T) {
	env := []string{"PATH=" + searchPath}
	for _, tt := range []struct{ line, shell, want string }{
		{"/usr/bin/procmail -a x", "", "/usr/bin/procmail|-a|x"},
		{"sh\t-c  true", "", "sh|-c|true"},
		{"/no/such/program x", "", "/no/such/program|x"},
		{"exit 65", "", "/bin/sh|-c|exit 65"}, // no program of that name
		{"cat >file", "", "/bin/sh|-c|cat >file"},
		{"echo $HOME", "", "/bin/sh|-c|echo $HOME"},
		{"echo 'a b'", "", "/bin/sh|-c|echo 'a b'"},
		{"", "", "/bin/sh|-c|"},
		{" \t", "", "/bin/sh|-c| \t"},
		{"cat", "/bin/restricted -c", "/bin/restricted|-c|cat"},
	} {
		if got := strings.Join(Argv(tt.line, tt.shell, env), "|"); got != tt.want {
			t.Errorf("Argv(%q, %q) = %s, want %s", tt.line, tt.shell, got, tt.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	get := func(name string) (string, bool) { return "value of " + name, name == "TZ" }
	got := strings.Join(Environment([]string{"TZ", "MISSING", "LANG=C", "EMPTY="}, get), "|")
	if want := "PATH=/usr/bin:/bin|TZ=value of TZ|LANG=C|EMPTY="; got != want {
		t.Errorf("Environment = %s, want %s", got, want)
	}
	for _, tt := range []struct{ value, allowed, want string }{
		{"a$b`c", "abc", "a_b_c"}, {"ä", "abc", "__"}, {"a\x00b", "", "a_b"}, {"a\nb", "", "a\nb"},
	} {
		if got := Censor(tt.value, tt.allowed); got != tt.want {
			t.Errorf("Censor(%q, %q) = %q, want %q", tt.value, tt.allowed, got, tt.want)
		}
	}
}
