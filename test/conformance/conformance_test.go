package conformance

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var (
	keep    = flag.Bool("keep", false, "keep the folders of the runs")
	program = flag.String("postern", "", "the program; default bin/postern of this tree")
)

// TestMain plays more cases at a time than there are processors: most of a case
// is waiting. A -parallel on the command line still counts.
func TestMain(m *testing.M) {
	flag.Parse()
	own := true
	flag.Visit(func(f *flag.Flag) { own = own && f.Name != "test.parallel" })
	if own {
		flag.Set("test.parallel", "6")
	}
	os.Exit(m.Run())
}

// kinds are the two servers, and the program.
func kinds(t *testing.T) (postfix, postern kind, bin string) {
	t.Helper()
	if _, err := exec.LookPath("postfix"); err != nil || os.Geteuid() != 0 {
		why := "needs root and Debian's postfix, which is started privately"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	postfix, err := postfixKind()
	if err != nil {
		t.Fatal(err)
	}
	bin = *program
	if bin == "" {
		if bin, err = filepath.Abs("../../bin/postern"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v: make build first", err)
	}
	return postfix, kind{argv: []string{bin, "serve", "-c", "{dir}"}, postmap: []string{bin, "postmap"}}, bin
}

// TestSameAsPostfix plays every case against both servers, and asks explain about
// its probes.
func TestSameAsPostfix(t *testing.T) {
	postfix, postern, bin := kinds(t)
	names, err := filepath.Glob("cases/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			a := parseArchive(string(text))
			if why := missing(a); why != "" {
				if os.Getenv("CI") == "true" {
					t.Fatal(why)
				}
				t.Skip(why)
			}
			theirs, err := play(t.Context(), options{kind: postfix, keep: *keep}, a)
			if err != nil {
				t.Fatalf("postfix: %v", err)
			}
			want := reduce(level, theirs.seen)
			ours, err := play(t.Context(), options{kind: postern, want: want, keep: *keep, explain: []string{bin, "explain"}}, a)
			if err != nil {
				t.Fatalf("postern: %v", err)
			}
			if got := reduce(level, ours.seen); got != want {
				t.Errorf("postfix (-) and postern (+) differ:\n%s", diff(want, got))
			}
			for _, text := range ours.wrong {
				t.Errorf("explain is wrong: %s", text)
			}
		})
	}
}
