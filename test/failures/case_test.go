package failures

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// archive is a file of testdata.
type archive struct {
	name  string
	cases []*testCase
}

// testCase is one configuration and what must be said about it.
type testCase struct {
	name   string
	files  []file
	expect expectation
}

type file struct{ name, text string }

// parseArchive reads an archive: the cases in the order of their first files.
func parseArchive(name, text string) (archive, error) {
	a := archive{name: name}
	var common []file
	for _, f := range sections(text) {
		folder, rest, ok := strings.Cut(f.name, "/")
		if !ok {
			common = append(common, f)
			continue
		}
		n := slices.IndexFunc(a.cases, func(c *testCase) bool { return c.name == folder })
		if n < 0 {
			n = len(a.cases)
			a.cases = append(a.cases, &testCase{name: folder})
		}
		a.cases[n].files = append(a.cases[n].files, file{rest, f.text})
	}
	for _, c := range a.cases {
		for _, f := range common {
			if c.file(f.name) == nil {
				c.files = append(c.files, f)
			}
		}
		expect, main := c.file("expect"), c.file("main.cf")
		if expect == nil || main == nil {
			return a, fmt.Errorf("the case %s needs expect and main.cf", c.name)
		}
		var err error
		if c.expect, err = parseExpect(expect.text); err != nil {
			return a, fmt.Errorf("%s: %w", c.name, err)
		}
		main.text = host(main.text, c.expect.without) + main.text
	}
	return a, nil
}

// sections are the files of an archive in the txtar format.
func sections(text string) []file {
	var list []file
	for line := range strings.Lines(text) {
		name, ok := strings.CutPrefix(line, "-- ")
		name, end := strings.CutSuffix(name, " --\n")
		if ok && end {
			list = append(list, file{name: name})
		} else if len(list) > 0 {
			list[len(list)-1].text += line
		}
	}
	return list
}

// file is one of the case's, nil when it is not there.
func (c *testCase) file(name string) *file {
	for n := range c.files {
		if c.files[n].name == name {
			return &c.files[n]
		}
	}
	return nil
}

// hostLines are what main.cf says on every host of these cases.
const hostLines = `compatibility_level = 3.6
myhostname = mail.host.test
mydestination = localhost
alias_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
queue_directory = {dir}/spool
virtual_mailbox_base = {dir}/vmail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
`

// host are those of hostLines that main.cf does not set, and may have.
func host(main string, without []string) string {
	var kept string
	for line := range strings.Lines(hostLines) {
		name, _, _ := strings.Cut(line, " =")
		if !strings.Contains("\n"+main, "\n"+name+" =") && !slices.Contains(without, name) {
			kept += line
		}
	}
	return kept
}

// place is where a case is laid out.
type place struct {
	dir      string
	uid, gid int
	replace  *strings.Replacer
}

// layOut writes the files of a case, starts its servers and runs its commands.
func (c *testCase) layOut(t *testing.T) place {
	t.Helper()
	p := place{dir: newDir(t), uid: os.Getuid(), gid: os.Getgid()}
	if p.uid == 0 {
		p.uid, p.gid = 5000, 5000
	}
	for _, d := range []string{"vmail", "spool/private"} {
		must(t, os.MkdirAll(filepath.Join(p.dir, d), 0o755))
	}
	must(t, os.Chown(filepath.Join(p.dir, "vmail"), p.uid, p.gid))
	p.replace = strings.NewReplacer("{dir}", p.dir, "{uid}", strconv.Itoa(p.uid), "{gid}", strconv.Itoa(p.gid),
		"{dns}", c.dns(t), "{lmtp}", c.lmtp(t, filepath.Join(p.dir, "spool/private/lmtp")))
	var setup string
	for _, f := range c.files {
		switch text := p.replace.Replace(f.text); f.name {
		case "expect", "dns", "lmtp":
		case "setup":
			setup = text
		case "sql":
			makeDatabase(t, filepath.Join(p.dir, "mail.db"), text)
		case "certs":
			makeCertificates(t, p.dir, text)
		default:
			name := filepath.Join(p.dir, f.name)
			must(t, os.MkdirAll(filepath.Dir(name), 0o755))
			must(t, os.WriteFile(name, []byte(text), 0o644))
		}
	}
	cmd := exec.Command("sh", "-e", "-c", setup)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "MAIL_CONFIG="+p.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("setup: %v\n%s", err, out)
	}
	return p
}

// newDir is a directory that the owner of mailboxes can reach. Its path is short
// enough for sockets below it.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "failures")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
