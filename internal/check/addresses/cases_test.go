package addresses_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	_ "modernc.org/sqlite"

	"postern/internal/check/addresses"
	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/setup"
)

// The cases are configurations in testdata: broken ones, sound ones, and those in
// which what is wrong is the business of other rooms. Each has a section "expect":
//
//	check: VD204 error virtual:3          an error or warning; all of them are named
//	check: VD502 info                     at least this one
//	explain a@example.org: VD201 near=b@example.org, VD517
//	explain a@example.org: none, !VD517           nor that information
//
// DIR is the directory. What main.cf does not set of tail is added at its end;
// mail.sql makes the database mail.db.
const tail = `compatibility_level = 3.6
myhostname = mail.example.net
mydestination = localhost
alias_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
virtual_mailbox_base = /var/vmail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
`

// open makes a directory of an archive and opens it.
func open(t *testing.T, file string) (*inventory.Inventory, string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir, expect := t.TempDir(), ""
	for _, d := range []string{dir, filepath.Dir(dir)} { // started by root, default_privs reads :include: files
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range archive.Files {
		text := strings.ReplaceAll(string(f.Data), "DIR", dir)
		switch f.Name {
		case "expect":
			expect = text
			continue
		case "mail.sql":
			fill(t, filepath.Join(dir, "mail.db"), text)
			continue
		case "main.cf":
			text += missing(text)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return openDir(t, dir), expect
}

func openDir(t testing.TB, dir string) *inventory.Inventory {
	t.Helper()
	s, err := setup.Open(context.Background(), dir, setup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Router == nil {
		t.Fatal(s.Fault)
	}
	t.Cleanup(func() { s.Close() })
	return inventory.New(s)
}

// missing are the lines of tail that a main.cf does not have.
func missing(text string) string {
	var b strings.Builder
	for line := range strings.Lines(tail) {
		name, _, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(text, name+" =") && !strings.Contains(text, "\n"+name+" =") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func fill(t *testing.T, file, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
}

// short is a finding as the cases write it.
func short(f finding.Finding) string {
	text := f.Code + " " + string(f.Severity)
	if len(f.At) > 0 {
		text += " " + place(f.At[0])
	}
	return text
}

func place(at origin.At) string {
	if at.Table != "" {
		return fmt.Sprintf("%s[%s]", filepath.Base(at.Table), at.Key)
	}
	return fmt.Sprintf("%s:%d", filepath.Base(at.File), at.Line)
}

func TestCases(t *testing.T) {
	for _, folder := range []string{"broken", "sound", "others"} {
		files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases in %s: %v", folder, err)
		}
		for _, file := range files {
			t.Run(folder+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
				t.Parallel()
				i, expect := open(t, file)
				all := examine(i)
				checkExpected(t, i, expect, all)
				for line := range strings.Lines(expect) {
					if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "explain "); ok {
						checkExplained(t, i, rest)
					}
				}
			})
		}
	}
}

// examine returns the findings of a whole configuration.
func examine(i *inventory.Inventory) []finding.Finding {
	list := &finding.List{}
	addresses.Examine(context.Background(), i, func(f finding.Finding) { list.Add(f.RelativeTo(i.Setup.Dir)) })
	return list.Sorted()
}

func checkExpected(t *testing.T, i *inventory.Inventory, expect string, all []finding.Finding) {
	t.Helper()
	var got, want []string
	for _, f := range all {
		if f.Severity != finding.Info {
			got = append(got, short(f))
		}
		if f.Message == "" || f.Fix == "" || len(f.At) == 0 || strings.Contains(f.Message+f.Fix, "%!") || strings.Contains(f.Fix, "{") ||
			strings.Contains(f.Message+f.Fix, "nosuchuser7") || len(f.Message) > 1000 {
			t.Errorf("finding is not for reading: %+v", f)
		}
		if (f.Code == "VD202" || f.Code == "VD208") && len(f.At) > 0 {
			if words := strings.Fields(f.At[0].Text); len(words) > 0 && slices.Contains(f.Near, words[0]) {
				t.Errorf("%s proposes the key of its own row: %q", short(f), f.Near)
			}
		}
	}
	for line := range strings.Lines(expect) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "check: ")
		if !ok {
			continue
		}
		if code, info := strings.CutSuffix(rest, " info"); info {
			if !slices.ContainsFunc(all, func(f finding.Finding) bool { return f.Code == code && f.Severity == finding.Info }) {
				t.Errorf("no %s", rest)
			}
			continue
		}
		rest, near, _ := strings.Cut(rest, " near=")
		want = append(want, rest)
		if near != "" && !slices.ContainsFunc(all, func(f finding.Finding) bool { return short(f) == rest && slices.Contains(f.Near, near) }) {
			t.Errorf("%s: no near miss %s", rest, near)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
		for _, f := range all {
			t.Logf("%s: %s (fix: %s)", short(f), f.Message, f.Fix)
		}
	}
}

// checkExplained explains one address: "john@example.org: VD204, VD205 near=x".
// "none" is no error and no warning.
func checkExplained(t *testing.T, i *inventory.Inventory, text string) {
	t.Helper()
	addr, rest, _ := strings.Cut(text, ": ")
	x := explain.Explainer{Dir: i.Setup.Dir, Settings: i.Setup.Service, Router: i.Setup.Router, Policy: i.Setup.Policy}
	e, err := x.Explain(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	var all []finding.Finding
	addresses.Address(context.Background(), i, &e, func(f finding.Finding) { all = append(all, f) })
	for want := range strings.SplitSeq(rest, ", ") {
		if unwanted, none := strings.CutPrefix(want, "!"); none || want == "none" {
			for _, f := range all {
				if f.Code == unwanted || want == "none" && f.Severity != finding.Info {
					t.Errorf("explain %s: %s: %s", addr, short(f), f.Message)
				}
			}
			continue
		}
		code, near, _ := strings.Cut(want, " near=")
		code, severity, _ := strings.Cut(code, " ")
		if !slices.ContainsFunc(all, func(f finding.Finding) bool {
			return f.Code == code && (severity == "" || string(f.Severity) == severity) && (near == "" || slices.Contains(f.Near, near))
		}) {
			t.Errorf("explain %s: no %s among %v", addr, want, all)
		}
	}
}
