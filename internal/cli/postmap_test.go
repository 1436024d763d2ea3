package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mapRun runs a command in the folder dir, which is also the configuration
// directory.
func mapRun(t *testing.T, dir string, stdin io.Reader, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := commands[args[0]](t.Context(), Env{
		Args: args, Stdin: stdin, Stdout: &stdout, Stderr: &stderr, Getenv: mapEnv(dir),
	})
	return outcome{stdout.String(), stderr.String(), status}
}

// mapEnv is an environment with that configuration directory.
func mapEnv(dir string) func(string) string {
	return func(name string) string { return map[string]string{"MAIL_CONFIG": dir}[name] }
}

// Keys of many blocks, one of them longer than a block, are answered in their
// order.
func TestPostmapManyKeys(t *testing.T) {
	dir := mapFolder(t, "")
	long := strings.Repeat("x", 3*blockSize)
	put(t, filepath.Join(dir, "rows"), "a 1\nb 2\n"+long+" 3\n")
	var keys, want strings.Builder
	for i := range 100_000 {
		switch i % 3 {
		case 0:
			keys.WriteString("a\n")
			want.WriteString("a\t1\n")
		case 1:
			keys.WriteString("none\n")
		default:
			keys.WriteString("b\n")
			want.WriteString("b\t2\n")
		}
		if i == 50_000 {
			keys.WriteString(long + "\n")
			want.WriteString(long + "\t3\n")
		}
	}
	got := mapRun(t, dir, strings.NewReader(keys.String()+"a"), "postmap", "-q", "-", "texthash:"+dir+"/rows")
	if got.Status != 0 || got.Stderr != "" || got.Stdout != want.String()+"a\t1\n" {
		t.Errorf("status %d, %q, %d bytes, want %d", got.Status, got.Stderr, len(got.Stdout), want.Len()+4)
	}
}

// What was found before the trouble is printed, and nothing after it.
func TestPostmapTroubleInTheMiddle(t *testing.T) {
	dir := mapFolder(t, "")
	got := mapRun(t, dir, strings.NewReader("a\nb\na\n"), "postmap", "-q", "-", "inline:{a=1}", "fail:x")
	if got.Stdout != "a\t1\n" || got.Status != 1 || !strings.HasPrefix(got.Stderr, "postmap: fatal: table fail:x: query error: ") {
		t.Errorf("%+v", got)
	}
}

// The empty key is a key like others: static: and patterns answer it.
func TestPostmapEmptyKey(t *testing.T) {
	dir := mapFolder(t, "")
	for spec, want := range map[string]string{"static:x": "x\n", "pcre:{{/^$/ x}}": "x\n", "inline:{a=x}": "", "hash:small": ""} {
		if got := mapRun(t, dir, nil, "postmap", "-q", "", spec); got.Stdout != want {
			t.Errorf("%s: %+v, want %q", spec, got, want)
		}
		if want != "" {
			want = "\t" + want
		}
		if got := mapRun(t, dir, strings.NewReader("\n"), "postmap", "-q", "-", spec); got.Stdout != want {
			t.Errorf("%s: %+v, want %q", spec, got, want)
		}
	}
}

// A key is answered although no other follows.
func TestPostmapInteractive(t *testing.T) {
	dir := mapFolder(t, "")
	keys, user := io.Pipe()
	program, answers := io.Pipe()
	done := make(chan int)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		status := postmap(ctx, Env{Args: []string{"postmap", "-q", "-", "inline:{a=1,b=2}"}, Stdin: keys, Stdout: answers,
			Stderr: t.Output(), Getenv: mapEnv(dir)})
		answers.Close()
		done <- status
	}()
	out := bufio.NewReader(program)
	for _, key := range []string{"a", "b", "a"} {
		fmt.Fprintln(user, key)
		if line, err := out.ReadString('\n'); !strings.HasPrefix(line, key+"\t") {
			t.Fatalf("%q was answered %q, %v", key, line, err)
		}
	}
	cancel() // SIGINT: the program must not wait for the terminal
	go io.Copy(io.Discard, out)
	if status := <-done; status != 130 {
		t.Errorf("interrupted: exit status %d", status)
	}
	user.Close()
}

// postmap -m alone lists the types, one of which is what -q answers to.
func TestPostmapTypes(t *testing.T) {
	got := mapRun(t, "/nonesuch", nil, "postmap", "-m")
	types := strings.Fields(got.Stdout)
	if got.Status != 0 || !slices.IsSorted(types) || !slices.Contains(types, "hash") || !slices.Contains(types, "regexp") {
		t.Errorf("%+v", got)
	}
}

func TestPostmapDidYouMean(t *testing.T) {
	dir := mapFolder(t, "")
	for _, args := range [][]string{{"hahs:small"}, {"-q", "k", "hahs:small"}, {"-d", "k", "hahs:small"}, {"-s", "hahs:small"}} {
		got := mapRun(t, dir, nil, append([]string{"postmap"}, args...)...)
		if want := "postmap: fatal: unsupported dictionary type: hahs, did you mean \"hash\"?\n"; got.Stderr != want || got.Status != 1 {
			t.Errorf("postmap %q: %+v", args, got)
		}
	}
}

// A relative name is that of a file here, or else of one in the configuration
// directory.
func TestPostmapRelativeNames(t *testing.T) {
	dir := mapFolder(t, "")
	t.Chdir(t.TempDir())
	ask := func(want string) {
		t.Helper()
		if got := mapRun(t, dir, nil, "postmap", "-q", "k", "hash:small"); got.Stdout != want {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	if got := mapRun(t, dir, nil, "postmap", "small"); got.Status != 0 {
		t.Errorf("postmap small: %+v", got)
	}
	ask("v\n")
	put(t, "small", "k here\n")
	if got := mapRun(t, dir, nil, "postmap", "small"); got.Status != 0 {
		t.Errorf("postmap small: %+v", got)
	}
	ask("here\n")
	for _, index := range []string{"small.db", filepath.Join(dir, "small.db")} {
		if _, err := os.Stat(index); err != nil {
			t.Error(err)
		}
	}
}

func TestNewaliases(t *testing.T) {
	dir := mapFolder(t, "")
	main := filepath.Join(dir, "main.cf")
	put(t, main, fmt.Sprintf("alias_database = hash:%s/one, lmdb:%[1]s/two\n", dir))
	put(t, filepath.Join(dir, "one"), "root: jack\n")
	put(t, filepath.Join(dir, "two"), "jack: john\n")
	for _, args := range [][]string{{"newaliases"}, {"sendmail", "-bi"}, {"sendmail", "-I"}} {
		if got := mapRun(t, dir, nil, args...); got != (outcome{}) {
			t.Errorf("%q: %+v", args, got)
		}
		for spec, want := range map[string]string{"hash:" + dir + "/one": "jack\n", "lmdb:" + dir + "/two": "john\n"} {
			key := map[string]string{"jack\n": "root", "john\n": "jack"}[want]
			if got := mapRun(t, dir, nil, "postalias", "-q", key, spec); got != (outcome{Stdout: want}) {
				t.Errorf("postalias -q %s %s: %+v", key, spec, got)
			}
		}
		os.Remove(filepath.Join(dir, "one.db"))
		os.Remove(filepath.Join(dir, "two.lmdb"))
	}
	put(t, main, "alias_database = hash:"+dir+"/none\n")
	want := outcome{Stderr: "newaliases: fatal: open " + dir + "/none: No such file or directory\n", Status: 1}
	if got := mapRun(t, dir, nil, "newaliases"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A build that is interrupted leaves everything as it was.
func TestPostmapInterrupted(t *testing.T) {
	dir := mapFolder(t, "")
	mapRun(t, dir, nil, "postmap", dir+"/small")
	before := mapNames(t, dir)
	put(t, filepath.Join(dir, "small"), "k new\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	status := postmap(ctx, Env{Args: []string{"postmap", dir + "/small"}, Stderr: &stderr, Getenv: mapEnv(dir)})
	if status != 130 || stderr.String() != "postmap: interrupted\n" {
		t.Errorf("exit status %d, %q", status, &stderr)
	}
	if after := mapNames(t, dir); !slices.Equal(before, after) {
		t.Errorf("files before %q, after %q", before, after)
	}
	put(t, filepath.Join(dir, "small"), "k new\n") // an hour old: older than the index
	if got := mapRun(t, dir, nil, "postmap", "-q", "k", dir+"/small"); got.Stdout != "v\n" {
		t.Errorf("%+v", got)
	}
}

// An interrupt ends what waits for a terminal.
func TestPostmapInterruptedWaiting(t *testing.T) {
	dir := mapFolder(t, "")
	mapRun(t, dir, nil, "postmap", dir+"/small")
	for _, args := range [][]string{{"-i"}, {"-d", "-"}, {"-q", "-"}, {"-h", "-q", "-"}} {
		ctx, cancel := context.WithCancel(t.Context())
		in, end := io.Pipe()
		time.AfterFunc(20*time.Millisecond, cancel)
		var stderr bytes.Buffer
		status := postmap(ctx, Env{Args: append(append([]string{"postmap"}, args...), dir+"/small"), Stdin: in, Stderr: &stderr, Stdout: io.Discard, Getenv: mapEnv(dir)})
		end.Close()
		if status != 130 || stderr.String() != "postmap: interrupted\n" {
			t.Errorf("%q: exit status %d, %q", args, status, &stderr)
		}
	}
}

func mapNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Root builds the table of a user with the rights of that user.
func TestPostmapAsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root has rights to give away")
	}
	const user, group = 12345, 23456
	dir := mapFolder(t, "")
	secret := filepath.Join(dir, "secret")
	put(t, secret, "k secret\n")
	put(t, filepath.Join(dir, "leak"), "k secret\n")
	err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(secret, 0o600))
	for _, name := range []string{"", "small", "leak"} {
		err = errors.Join(err, os.Chown(filepath.Join(dir, name), user, group))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	owner := func(name string) [2]int {
		t.Helper()
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		return [2]int{int(st.Uid), int(st.Gid)}
	}
	for _, tt := range []struct {
		args []string
		file string
		want [2]int
	}{
		{[]string{"postmap", "small"}, "small.db", [2]int{user, group}},
		{[]string{"postmap", "-o", "lmdb:small"}, "small.lmdb", [2]int{0, 0}},
		{[]string{"postmap", "u"}, "u.db", [2]int{0, 0}},
	} {
		mapRun(t, dir, nil, tt.args...)
		if got := owner(tt.file); got != tt.want {
			t.Errorf("%q: the owner of %s is %v, want %v", tt.args, tt.file, got, tt.want)
		}
	}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 || gid != 0 {
		t.Fatalf("still user %d, group %d", uid, gid)
	}
	got := mapRun(t, dir, nil, "postmap", "-F", "leak")
	if want := "postmap: warning: leak, line 1: open secret: Permission denied: skipping this entry\n"; got.Stderr != want {
		t.Errorf("postmap -F leak: %+v", got)
	}
	if err := os.Chown(dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	got = mapRun(t, dir, nil, "postmap", "cdb:small")
	if got.Status != 1 || !strings.Contains(got.Stderr, "user 12345") {
		t.Errorf("postmap cdb:small: %+v", got)
	}
}

// A bar is shown on a terminal only, and only for large files or when it takes
// long.
func TestBuildBar(t *testing.T) {
	terminal, screen := openTerminal(t)
	for _, tt := range []struct {
		name    string
		w       io.Writer
		large   bool
		seconds int
		want    bool
	}{
		{"small and quick", terminal, false, 0, false},
		{"large", terminal, true, 0, true},
		{"long", terminal, false, 2, true},
		{"no terminal", io.Discard, true, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBuildBar(tt.w, "hash:virtual", "/nonesuch")
			b.large = tt.large
			b.now = func() time.Time { return b.start.Add(time.Duration(tt.seconds) * time.Second) }
			b.progress(0.1)
			b.progress(0.5)
			fmt.Fprintln(b, "a warning")
			b.progress(1)
			b.end(nil)
			if tt.w != terminal {
				return
			}
			fmt.Fprintln(terminal, "END")
			var seen string
			for !strings.Contains(seen, "END") {
				seen += screen()
			}
			if got := strings.Contains(seen, "hash:virtual"); got != tt.want || !strings.Contains(seen, "a warning") {
				t.Errorf("on the screen: %q", seen)
			}
		})
	}
}

// openTerminal returns a terminal and what reads the next piece on its screen.
func openTerminal(t *testing.T) (terminal *os.File, screen func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	buf := make([]byte, 4096)
	return terminal, func() string {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

// Of a message, every line and field is given away once, in its order.
func FuzzMessageScan(f *testing.F) {
	f.Add(fixture["msg"], true)
	f.Add(fixture["broken"], false)
	f.Add("A: b\n c\nContent-Type: message/rfc822\n\nContent-Type: multipart/x; boundary=\"a\\\"\n b\"(x\\)\n", true)
	f.Fuzz(func(t *testing.T, message string, mime bool) {
		var got []string
		keep := func(key string) error {
			got = append(got, key)
			return nil
		}
		scan := messageScan{mime: mime, header: keep, body: keep}
		var want []string
		for line := range strings.Lines(message) {
			line, _, _ = strings.Cut(strings.TrimSuffix(line, "\n"), "\x00")
			if err := scan.line(line); err != nil {
				t.Fatal(err)
			}
			if line != "" {
				want = append(want, strings.ReplaceAll(line, " ", ""))
			}
		}
		if err := scan.end(); err != nil {
			t.Fatal(err)
		}
		if len(message) > maxField {
			return
		}
		// Blanks before a colon are lost, and empty lines may be added.
		squeeze := strings.NewReplacer("\n", "", " ", "", "\t", "")
		if a, b := squeeze.Replace(strings.Join(want, "")), squeeze.Replace(strings.Join(got, "")); a != b {
			t.Errorf("%q was cut into %q", message, got)
		}
	})
}
