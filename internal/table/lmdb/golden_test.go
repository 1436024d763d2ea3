package lmdb_test

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
var golden = []string{"empty", "three", "long", "many", "deleted"}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".lmdb")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// contents is what is in a golden file, without the NUL bytes at the ends.
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
		rows["2028"] = strings.Repeat("y", 2028-len("2028")) // the longest that fits on a leaf
		rows[strings.Repeat("k", 510)] = "the longest key"
	case "many", "deleted":
		for i := range 2000 {
			rows[fmt.Sprintf("user%04d@example%d.test", i*7%2000, i%10)] = fmt.Sprintf("example%d/user%d/", i%10, i)
		}
	}
	if name == "deleted" {
		for _, key := range deletedKeys(rows) {
			delete(rows, key)
		}
		for i := range 50 {
			rows[fmt.Sprintf("new%d@example.test", i*13%50)] = strings.Repeat("new ", i*20) + "value"
		}
	}
	return rows
}

func deletedKeys(rows map[string]string) []string {
	var keys []string
	for i, key := range slices.Sorted(maps.Keys(rows)) {
		if i%20 != 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

func TestGolden(t *testing.T) {
	if *update {
		makeGolden(t)
	}
	for _, name := range golden {
		t.Run(name, func(t *testing.T) {
			want := rows{}
			for k, v := range contents(name) {
				want[k+"\x00"] = v + "\x00"
			}
			compare(t, open(t, read(t, name)), want)
		})
	}
}

func makeGolden(t *testing.T) {
	p := newPostfix(t)
	for _, name := range golden {
		rows := contents(name)
		if name == "deleted" {
			rows = contents("many")
		}
		source := p.write(name, lines(rows))
		p.run("", "postmap", "lmdb:"+source)
		if name == "deleted" {
			p.run(strings.Join(deletedKeys(rows), "\n")+"\n", "postmap", "-d", "-", "lmdb:"+source)
			p.run(lines(contents(name)), "postmap", "-i", "-r", "lmdb:"+source)
		}
		data, err := os.ReadFile(source + ".lmdb")
		if err == nil {
			err = os.WriteFile("testdata/"+name+".lmdb", data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// lines is a source text, in no particular order.
func lines(rows map[string]string) string {
	var b strings.Builder
	for key, value := range rows {
		fmt.Fprintf(&b, "%s %s\n", key, value)
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
	for _, program := range []string{"postmap", "mdb_stat", "mdb_dump"} {
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
