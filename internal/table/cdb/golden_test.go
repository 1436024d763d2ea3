package cdb_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "make the files in testdata again, with Debian's postmap")

// golden are files that postmap wrote.
var golden = []string{"empty", "three", "long", "many"}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".cdb")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// contents is what is in a golden file.
func contents(name string) map[string]string {
	rows := map[string]string{}
	switch name {
	case "three":
		rows["john@example.test"] = "john/"
		rows["a"] = "b"
		rows["@example.test"] = "catch@example.test, all@example.test"
	case "long":
		rows["3000"] = strings.Repeat("x", 3000)
		rows["20000"] = strings.Repeat("user@example.test,", 1111) + "ab"
		rows[strings.Repeat("k", 5000)] = "a long key"
	case "many":
		for i := range 2000 {
			rows[fmt.Sprintf("user%04d@example%d.test", i*7%2000, i%10)] = fmt.Sprintf("example%d/user%d/", i%10, i)
		}
	}
	return rows
}

func TestGolden(t *testing.T) {
	if *update {
		makeGolden(t)
	}
	for _, name := range golden {
		t.Run(name, func(t *testing.T) {
			want := rows(contents(name))
			compare(t, open(t, read(t, name)), want)
		})
	}
}

func makeGolden(t *testing.T) {
	p := newPostfix(t)
	for _, name := range golden {
		source := p.write(name, lines(contents(name)))
		p.run("", "postmap", "cdb:"+source)
		data, err := os.ReadFile(source + ".cdb")
		if err == nil {
			err = os.WriteFile("testdata/"+name+".cdb", data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// lines is a source text, in the order of the keys.
func lines(rows map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&b, "%s %s\n", key, rows[key])
	}
	return b.String()
}

// postfix is Debian's programs and a directory for their files.
type postfix struct {
	*testing.T
	dir string
}

func newPostfix(t *testing.T) *postfix {
	t.Helper()
	for _, program := range []string{"postmap", "cdb"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	p := &postfix{t, t.TempDir()}
	main := p.write("main.cf", "compatibility_level = 3.6\nqueue_directory = "+p.dir+"\n")
	// Postfix waits until a file that it reads stands still.
	if err := os.Chtimes(main, time.Time{}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *postfix) write(name, content string) (path string) {
	p.Helper()
	path = filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		p.Fatal(err)
	}
	return path
}

// try runs a program; those of Postfix get the configuration directory. What it
// says on its standard error is an error.
func (p *postfix) try(stdin, program string, args ...string) (stdout string, err error) {
	if strings.HasPrefix(program, "post") {
		args = append([]string{"-c", p.dir}, args...)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		err = fmt.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

// run runs a program that must succeed.
func (p *postfix) run(stdin, program string, args ...string) (stdout string) {
	p.Helper()
	out, err := p.try(stdin, program, args...)
	if err != nil {
		p.Fatal(err)
	}
	return out
}
