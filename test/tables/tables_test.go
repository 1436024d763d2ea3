// Package tables asks the same questions of Debian's postmap and of ours, about
// the same tables, and compares the answers byte by byte. The rows and the keys
// are random and as odd as a text file allows: quotes, blanks, backslashes,
// percent signs, NUL bytes, text that is not UTF-8, 20 kB. Each side also builds
// the index that the other one reads.
//
// The seed is printed; POSTERN_SEED repeats a run, POSTERN_SOAK=1 makes it long.
package tables

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern/internal/cli"
	"postern/internal/table/builtin"
)

// asPostern makes the test program the program under test.
const asPostern = "TABLES_TEST_AS_POSTERN"

func TestMain(m *testing.M) {
	if os.Getenv(asPostern) != "" {
		os.Exit(cli.Main(cli.Env{Args: os.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}))
	}
	os.Exit(m.Run())
}

// side is one of the two postmaps.
type side struct {
	name string
	dir  string // its configuration directory, and the tables
	call func(args ...string) *exec.Cmd
}

func sides(t *testing.T, settings string) (theirs, ours side) {
	t.Helper()
	real, err := exec.LookPath("postmap")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("postmap of Debian's postfix is not installed")
		}
		t.Skip("postmap of Debian's postfix is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	theirs = side{"postmap", t.TempDir(), func(args ...string) *exec.Cmd { return exec.CommandContext(t.Context(), real, args...) }}
	ours = side{"Postern", t.TempDir(), func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), self, append([]string{"postmap"}, args...)...)
		cmd.Env = append(os.Environ(), asPostern+"=1")
		return cmd
	}}
	for _, s := range []side{theirs, ours} {
		text := settings
		if s.name == "Postern" {
			text += "compatibility = postfix\n"
		}
		if err := os.WriteFile(filepath.Join(s.dir, "main.cf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return theirs, ours
}

// run returns what a call prints on standard output and its exit status.
func (s side) run(t *testing.T, stdin []byte, args ...string) (string, int) {
	t.Helper()
	cmd := s.call(append([]string{"-c", s.dir}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", s.name, err)
	}
	if strings.Contains(log.String(), "fatal") || strings.Contains(log.String(), "panic") {
		t.Logf("%s %v says: %.500s", s.name, args, log.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv("POSTERN_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d (POSTERN_SEED=%d repeats this)", n, n)
	return n
}

// rounds is how many random tables of each type are compared.
func rounds() int {
	if os.Getenv("POSTERN_SOAK") != "" {
		return 500
	}
	return 8
}

// generator makes odd texts.
type generator struct{ *rand.Rand }

// pieces are what keys and values are made of.
var pieces = []string{"john", "JOHN", "info", "example.test", "EXAMPLE.test", "@", "+ext", ".", "x", "%", "%s", "%%", "$1", "${1}",
	"'", "\"", "\\", "\\\\", "\\\"", "#", ":", ",", ";", "\u00e9", "\u00c9", "\u00df", "\u0130", "\xff", "\xc3", "\t", " ", "  ", "\x00", "\x01", "\x7f", "\r", "\v", "{", "}", "!", "/", "|"}

func (g generator) text(most int) string {
	var b strings.Builder
	for range g.IntN(most + 1) {
		b.WriteString(pieces[g.IntN(len(pieces))])
	}
	if g.IntN(60) == 0 {
		b.WriteString(strings.Repeat("long", 5000/4*(1+g.IntN(4))))
	}
	return b.String()
}

// source is a random source text.
func (g generator) source() []byte {
	var b bytes.Buffer
	for range g.IntN(60) {
		switch g.IntN(12) {
		case 0:
			b.WriteString("# " + g.text(4) + "\n")
		case 1:
			b.WriteString("  " + g.text(4) + "\n")
		case 2:
			b.WriteString(g.text(6) + "\n")
		default:
			fmt.Fprintf(&b, "%s%s%s\n", g.text(4), []string{" ", "\t", " \t "}[g.IntN(3)], g.text(6))
		}
	}
	return b.Bytes()
}

// keys are those of the text, cut in the obvious way, and others, one a line.
func (g generator) keys(source []byte) []byte {
	var b bytes.Buffer
	for line := range strings.Lines(string(source)) {
		line = strings.TrimRight(line, "\n")
		key, _, _ := strings.Cut(line, " ")
		for _, k := range []string{key, strings.Fields(line + " x")[0], strings.ToUpper(key), line, g.text(4)} {
			b.WriteString(strings.ReplaceAll(k, "\n", "") + "\n")
		}
	}
	b.WriteString("\n" + strings.Repeat("x", 20<<10) + "\n" + g.text(5))
	return b.Bytes()
}

// TestLikePostmap builds random tables with both, reads each with both, and
// compares what -q - finds.
func TestLikePostmap(t *testing.T) {
	theirs, ours := sides(t, "")
	random := seed(t)
	for _, typ := range []string{"hash", "btree", "lmdb", "cdb", "texthash"} {
		t.Run(typ, func(t *testing.T) {
			g := generator{rand.New(rand.NewPCG(random, 0))}
			for round := range rounds() {
				source := g.source()
				if typ == "lmdb" {
					source = short(source)
				}
				keys := g.keys(source)
				if typ == "lmdb" {
					keys = short(keys)
				}
				compare(t, theirs, ours, typ, source, keys, []string{"", "-f", "-u", "-U"}[round%4])
			}
		})
	}
}

// short drops the lines whose keys are too long for LMDB, or empty in C: they end the
// build, and with Postfix the questions too.
func short(source []byte) []byte {
	lines := bytes.SplitAfter(source, []byte("\n"))
	return bytes.Join(slices.DeleteFunc(lines, func(line []byte) bool { return len(line) > 400 || len(line) < 2 || line[0] == 0 }), nil)
}

func compare(t *testing.T, theirs, ours side, typ string, source, keys []byte, flag string) {
	t.Helper()
	flags := slices.DeleteFunc([]string{flag}, func(f string) bool { return f == "" })
	for _, s := range []side{theirs, ours} {
		if err := os.WriteFile(filepath.Join(s.dir, "rows"), source, 0o644); err != nil {
			t.Fatal(err)
		}
		if typ == "texthash" {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, "rows"+builtin.Formats()[typ].Suffix)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if _, status := s.run(t, nil, append(flags, typ+":"+filepath.Join(s.dir, "rows"))...); status != 0 {
			t.Fatalf("%s cannot build %s: exit status %d\nsource %q", s.name, typ, status, source)
		}
	}
	var first string
	for i, writer := range []side{theirs, ours} {
		for j, reader := range []side{theirs, ours} {
			got, status := reader.run(t, keys, append(flags, "-q", "-", typ+":"+filepath.Join(writer.dir, "rows"))...)
			got = fmt.Sprintf("exit status %d\n%s", status, got)
			if i+j == 0 {
				first = got
			}
			if got != first {
				t.Fatalf("%s file of %s, read by %s, flags %q: %s\nsource %q", typ, writer.name, reader.name, flag, difference(first, got), clip(source))
			}
		}
	}
}

// difference is the first line in which two outputs differ.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "(end)", "(end)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d is %.300q, want %.300q", i+1, b, a)
		}
	}
	return "the same"
}

func clip(b []byte) []byte { return b[:min(len(b), 2000)] }
