// Package failures holds configurations that are broken, each in one way, and what
// check and explain must say about them; and sound ones, of which nothing may be
// said. Every archive in testdata is about one code; a case needs no Go.
//
// An archive (txtar) begins with a comment. A file "NAME/main.cf" belongs to the
// case NAME, one without a folder to every case of the archive. main.cf is put
// behind a few lines that every host has, less those whose parameter it sets
// itself; "without: PARAMETER..." in the comment of expect leaves out more. {dir}
// is the directory, {uid} and {gid} own the mailboxes, {dns} and {lmtp} are the
// addresses of the test's servers. Some names are not files of the configuration:
//
//	expect   what must be said, below
//	setup    shell commands, run in the directory at last
//	sql      makes the SQLite database mail.db
//	certs    lines "CERT KEY NAME DAYS": a certificate that ends in so many days
//	dns      a zone; other names do not exist
//	lmtp     lines "ADDRESS REPLY", "*" for all others: a server on spool/private/lmtp
//
// expect has one line for each finding and each address that is explained:
//
//	check: none
//	check: VD204 error at virtual: @example.test
//	check: VD309 error at users.cf[John@Example.test] near john@example.test
//	check: VD102 error at virtual: anything | main.cf: (default)
//	allow: VD103
//	explain john@example.test: class=local reply=550/5.1.1 findings=VD101
//
// A place is a file and what is written on its line, or a table and a key; "|"
// separates places one of which must be named. "allow" are codes that may be said
// too. Of explain, class, reply, recipients, findings (all must be there; none: no
// error or warning), near, transport, nexthop and mailbox can be asked for.
//
// It imports cli and dns/dnstest.
package failures

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"postern/internal/cli"
	"postern/internal/finding"
)

func TestMain(m *testing.M) {
	run := func(name string) func() {
		return func() {
			args := append([]string{name}, os.Args[1:]...)
			os.Exit(cli.Main(cli.Env{Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}))
		}
	}
	testscript.Main(m, map[string]func(){"postern": run("postern"), "postmap": run("postmap")})
}

func TestFailures(t *testing.T) {
	for _, a := range archives(t) {
		t.Run(a.name, func(t *testing.T) {
			for _, c := range a.cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t)
				})
			}
		})
	}
}

// unseen are codes without a case: VD504 needs a verifier of passwords, which there
// is none of, and VD505 is only to be seen in a log.
var unseen = map[string]bool{"VD504": true, "VD505": true}

// Every code has at least two cases, and there are twenty sound configurations.
func TestEveryCode(t *testing.T) {
	cases := map[string]int{}
	sound := 0
	for _, a := range archives(t) {
		for _, c := range a.cases {
			if strings.HasPrefix(a.name, "sound") {
				sound++
			}
			for code := range c.expect.codes() {
				cases[code]++
			}
		}
	}
	for _, code := range finding.Codes() {
		if n := cases[code]; n < 2 && !unseen[code] {
			t.Errorf("%s has %d cases, want 2 at least", code, n)
		}
	}
	if sound < 20 {
		t.Errorf("there are %d sound configurations, want 20 at least", sound)
	}
}

func archives(t *testing.T) []archive {
	t.Helper()
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	var list []archive
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseArchive(strings.TrimSuffix(filepath.Base(name), ".txtar"), string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, a)
	}
	return list
}
