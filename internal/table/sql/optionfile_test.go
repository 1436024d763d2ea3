package sql

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
)

const optionText = `# a comment
[client]
user = mail
a1 = "p'w\"d #\\%s@/"
a2 = "x#y" # c
a3 = x y  # c
a4 = 'it''s'
a5=\s\tab\\
a6 = "abc
a7
a8 =
a9 = "a" b "c"
a10 = a"b#c"d #e
; another
a11 = x;y
  a14   =   lead
a15 = a=b
a17 = "a#b
a18 = \#x
a19 = x\
a20 = 'a"b'
a21 = "p'w"d #x"
a22 = ab\qc\"d
[other]
b=1
user = nobody
[client] # again
user = last
!include {dir}/inc/one.cnf
d = 1
!includedir {dir}/inc
e = 1
`

// TestOptionFile compares with MySQL's own reader of option files.
func TestOptionFile(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"my.cnf": strings.ReplaceAll(optionText, "{dir}", dir), "inc/one.cnf": "[client]\none=1\n[x]\ntwo=2\n",
		"inc/two.cnf": "[client]\none=2\n", "inc/three.conf": "[client]\nthree=3\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := &optionReader{opener: &table.Opener{}, groups: []string{"client"}, values: make(map[string]string)}
	if err := r.readFile(dir+"/my.cnf", 0); err != nil {
		t.Fatal(err)
	}
	if r.values["user"] != "last" || r.values["one"] != "2" || r.values["e"] != "1" || r.values["three"] != "" {
		t.Errorf("options %q", r.values)
	}
	program, err := exec.LookPath("my_print_defaults")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	out, err := exec.Command(program, "--defaults-file="+dir+"/my.cnf", "client").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "--"), "=")
		want[name] = value
	}
	if diff := cmp.Diff(want, r.values); diff != "" {
		t.Errorf("options (-my_print_defaults +ours)\n%s", diff)
	}
}

// TestOptionLoop holds that files that include one another come to an end.
func TestOptionLoop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "my.cnf")
	if err := os.WriteFile(path, []byte("[client]\n!include my.cnf\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := &optionReader{opener: &table.Opener{}, groups: []string{"client"}, values: make(map[string]string)}
	if err := r.readFile(path, 0); err == nil || !strings.Contains(err.Error(), "more than 10 files that include one another") {
		t.Errorf("readFile: %v", err)
	}
}

// FuzzOptionFile holds that any text is an option file or an error that names
// it, and that options come from the groups that were asked for.
func FuzzOptionFile(f *testing.F) {
	f.Add(optionText)
	f.Add("[client]\nx='\\\n!include\n!includedir /\n[")
	f.Fuzz(func(t *testing.T, text string) {
		r := &optionReader{opener: &table.Opener{}, groups: []string{"client"}, values: make(map[string]string)}
		err := r.read(strings.NewReader(text), "my.cnf", maxIncludes)
		if err != nil && !strings.HasPrefix(err.Error(), "my.cnf, line ") {
			t.Errorf("error %q does not name the file", err)
		}
		if !strings.Contains(text, "[client]") && len(r.values) > 0 {
			t.Errorf("options %q without their group", r.values)
		}
	})
}

func TestHosts(t *testing.T) {
	for text, want := range map[string]string{
		"": "localhost:5432", " , ": "localhost:5432", "db": "db:5432", "db:1 inet:db:2,inet:db": "db:1|db:2|db:5432",
		"unix:/run/x/": "/run/x", "/run/x": "/run/x", "[::1]:5 ::1 inet:[::1]": "[::1]:5|[::1]:5432|[::1]:5432",
		"postgresql://u:p@h/d?x=y": "postgresql://h/d", "postgres:///d": "postgres:///d",
		"db:0": `"db:0": port "0" is not a number from 1 to 65535`, "db:": `"db:": port "" is not a number from 1 to 65535`, "db:65536": `"db:65536": port "65536" is not a number from 1 to 65535`,
		":1": `":1": names no host`, "inet:": `"inet:": names no host`, "[::1": `"[::1": no ] behind the address`,
		"[::1:1": `"[::1:1": no ] behind the address`, "[::1]x": `"[::1]x": no ] behind the address`, "unix:x": `"unix:x": unix: is followed by the full path of a socket`,
	} {
		hosts, err := parseHosts(text, pgsqlPort, true)
		var names []string
		for _, h := range hosts {
			names = append(names, h.name)
		}
		got := strings.Join(names, "|")
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("parseHosts(%q) = %s, want %s", text, got, want)
		}
	}
}

// FuzzHosts holds that any text is a list of hosts that can be dialled, or an
// error, and that no password gets into a name.
func FuzzHosts(f *testing.F) {
	f.Add("db inet:db:1 unix:/x [::1]:3, postgresql://u:secret@h:1,i:2/d?x=y")
	f.Add("[x unix: : ::")
	f.Fuzz(func(t *testing.T, text string) {
		for _, uris := range []bool{false, true} {
			hosts, err := parseHosts(text, "1", uris)
			if err == nil && len(hosts) == 0 {
				t.Errorf("parseHosts(%q): neither hosts nor an error", text)
			}
			for _, h := range hosts {
				if h.network == "unix" {
					socketDirectory(&h)
				}
				if h.name == "" || h.host == "" && h.network != "unix" || h.address("1") == "" && h.network != "unix" {
					t.Errorf("parseHosts(%q): %+v", text, h)
				}
			}
		}
	})
}
