package explain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"postern/internal/explain"
	"postern/internal/finding"
)

// several has more than one table for a parameter, one of them a database.
const several = `
mydestination = localhost
myorigin = localhost
recipient_delimiter = +
virtual_alias_domains =
virtual_mailbox_domains = mbox.test, xn--bcher-kva.test
virtual_mailbox_maps = inline:{john@mbox.test=john/}
virtual_mailbox_base = /var/vmail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
virtual_alias_maps = sqlite:{dir}/alias.cf, texthash:{dir}/virtual
recipient_canonical_maps = inline:{old@mbox.test=new@mbox.test}
smtpd_recipient_restrictions = check_recipient_access texthash:{dir}/access
smtpd_data_restrictions = check_recipient_access texthash:{dir}/late
-- alias.cf --
dbpath = DATABASE
query = SELECT destination FROM alias WHERE source = '%s'
-- access --
hold@mbox.test  HOLD
drop@mbox.test  DISCARD
copy@mbox.test  BCC fred@other.test
away@mbox.test  REDIRECT john@mbox.test
-- late --
later@mbox.test  450 4.7.1 not now
-- virtual --
jill@mbox.test   jill@mbox.test, john@mbox.test, twice@mbox.test
twice@mbox.test  john@mbox.test
new@mbox.test    john@mbox.test
hold@mbox.test   john@mbox.test
drop@mbox.test   john@mbox.test
copy@mbox.test   john@mbox.test
away@mbox.test   jill@mbox.test
later@mbox.test  john@mbox.test
`

func newSeveral(t *testing.T) *world {
	t.Helper()
	database := filepath.Join(t.TempDir(), "alias.db")
	cmd := exec.Command("sqlite3", database)
	cmd.Stdin = strings.NewReader(`CREATE TABLE alias (id INTEGER PRIMARY KEY, source TEXT, destination TEXT);
INSERT INTO alias VALUES (7, 'team@mbox.test', 'john@mbox.test'), (8, 'team@mbox.test', 'fred@other.test');`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return newWorld(t, strings.Replace(several, "DATABASE", database, 1))
}

// TestPrintSeveral: tables have their numbers, rows their columns, an address what
// it was given as, and access tables their say.
func TestPrintSeveral(t *testing.T) {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs sqlite3")
		}
		t.Skip("needs sqlite3")
	}
	w := newSeveral(t)
	var b bytes.Buffer
	for _, in := range []string{"Team+x@Mbox.test", "jill@mbox.test", "old@mbox.test", "ann@xn--bcher-kva.test",
		"hold@mbox.test", "drop@mbox.test", "copy@mbox.test", "away@mbox.test", "later@mbox.test"} {
		w.explain(t, in).Print(&b, explain.Style{})
		b.WriteString("\n")
	}
	golden(t, "several.txt", strings.ReplaceAll(b.String(), w.Dir, "DIR"))
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// TestStyle: colours change nothing but colours, a narrow terminal nothing but where
// lines end, and what was given cannot speak to the terminal.
func TestStyle(t *testing.T) {
	w := newWorld(t, example)
	for _, in := range []string{"many@alias.test", "loop1@alias.test", "half@localhost", "fred@other.test", "a\x1b[31m\n@b.test"} {
		e := w.explain(t, in)
		e.Findings = []finding.Finding{{Code: "VD201", Severity: finding.Error, Message: "no row", Fix: "add one"}}
		var plain, coloured, narrow bytes.Buffer
		e.Print(&plain, explain.Style{})
		e.Print(&coloured, explain.Style{Colour: true})
		e.Findings = nil
		e.Print(&narrow, explain.Style{Width: 50})
		if strings.Contains(plain.String(), "\x1b") {
			t.Errorf("%q: escape sequences in a plain text", in)
		}
		if !strings.Contains(coloured.String(), "\x1b") || escape.ReplaceAllString(coloured.String(), "") != plain.String() {
			t.Errorf("%q: colours change the text:\n%s", in, coloured.String())
		}
		if got, want := words(narrow.String()), words(plain.String()[:strings.Index(plain.String(), "VD201")]); got != want {
			t.Errorf("%q: a narrow terminal changes the words:\n%s\nwant\n%s", in, got, want)
		}
		for line := range strings.Lines(narrow.String()) {
			// A word that is longer than the terminal is wide stands alone.
			if text := strings.TrimRight(line, "\n"); utf8.RuneCountInString(text) > 50 && len(strings.Fields(strings.TrimLeft(text, "|`- "))) > 1 {
				t.Errorf("%q: %q is wider than 50 columns", in, text)
			}
		}
	}
}

// words are the words of a tree without its branches.
func words(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		out = append(out, strings.Fields(strings.TrimLeft(line, "|`- "))...)
	}
	return strings.Trim(strings.ReplaceAll(strings.Join(out, " "), " - ", " "), " ")
}

// TestFate: without a trace the answer is the same.
func TestFate(t *testing.T) {
	w := newWorld(t, example)
	for _, in := range []string{"john@mbox.test", "chain@alias.test", "many@alias.test", "info@localhost", "half@localhost", "prog@localhost",
		"fred@other.test", "loop1@alias.test", "syntax@alias.test", "bad@mbox.test", "", "@"} {
		full, short := w.explain(t, in), w.x.Fate(context.Background(), in)
		if !full.SameFate(short) || len(full.Recipients) != len(short.Recipients) || len(short.Steps) > 0 {
			t.Errorf("%q: %+v\nwant %+v", in, short, full)
		}
	}
	if w.explain(t, "john@mbox.test").SameFate(w.explain(t, "jack@mbox.test")) {
		t.Error("two mailboxes are one fate")
	}
}

// TestMilliseconds: the time of an answer is that of the first time it was asked for.
func TestMilliseconds(t *testing.T) {
	w := newWorld(t, example)
	now := time.Unix(0, 0)
	w.x.Clock = func() time.Time { now = now.Add(7 * time.Millisecond); return now }
	e := w.explain(t, "john@mbox.test")
	var b bytes.Buffer
	e.Print(&b, explain.Style{})
	if !strings.Contains(b.String(), "john/   boxes:1   (7 ms)\n") {
		t.Errorf("no time in\n%s", b.String())
	}
	text, err := json.Marshal(e.Steps)
	if err != nil || !strings.Contains(string(text), `"ms":7`) {
		t.Errorf("no time in %s, %v", text, err)
	}
}

// TestLongTree: an expansion that fills the screen is cut.
func TestLongTree(t *testing.T) {
	var members []string
	for i := range 150 {
		members = append(members, "u"+strings.Repeat("x", i)+"@other.test")
	}
	w := newWorld(t, "virtual_alias_domains = alias.test\nvirtual_alias_maps = texthash:{dir}/virtual\nline_length_limit = 100000\n"+
		"-- virtual --\nbig@alias.test "+strings.Join(members, ",")+"\n")
	var b bytes.Buffer
	w.explain(t, "big@alias.test").Print(&b, explain.Style{})
	if !strings.Contains(b.String(), "... and 50 more\n") {
		t.Errorf("not cut:\n%s", b.String()[:min(b.Len(), 500)])
	}
}
