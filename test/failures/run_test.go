package failures

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
)

// run lays the case out and compares what is said about it.
func (c *testCase) run(t *testing.T) {
	p := c.layOut(t)
	before := snapshot(t, p.dir)
	c.runCheck(t, p)
	if len(c.expect.explain) > 0 {
		c.runExplain(t, p)
	}
	if diff := cmp.Diff(before, snapshot(t, p.dir)); diff != "" {
		t.Errorf("the directory was written to:\n%s", diff)
	}
}

// postern runs a command and returns its output and its exit status.
func (p place) postern(t *testing.T, args ...string) ([]byte, int) {
	t.Helper()
	program, err := exec.LookPath("postern")
	must(t, err)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, &stdout, &stderr
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if stdout.Len() == 0 {
		t.Fatalf("%v: no output; %s", args, stderr.String())
	}
	return stdout.Bytes(), cmd.ProcessState.ExitCode()
}

func (c *testCase) runCheck(t *testing.T, p place) {
	out, status := p.postern(t, "check", "-c", p.dir, "--json")
	var result struct{ Findings []finding.Finding }
	must(t, json.Unmarshal(out, &result))
	if want := min(1, finding.Count(result.Findings, finding.Error)); status != want {
		t.Errorf("check ended with %d, want %d", status, want)
	}
	c.noSecrets(t, out)
	left := slices.Clone(c.expect.findings)
	for _, f := range result.Findings {
		complete(t, f)
		n := slices.IndexFunc(left, func(w wanted) bool { return p.matches(w, f) })
		switch {
		case n >= 0:
			left = slices.Delete(left, n, n+1)
		case f.Severity != finding.Info && !slices.Contains(c.expect.allowed, f.Code):
			t.Errorf("check: not expected: %s", show(f))
		}
	}
	for _, w := range left {
		t.Errorf("check: missing: %s\n%s", w, out)
	}
}

// complete reports what a finding lacks.
func complete(t *testing.T, f finding.Finding) {
	t.Helper()
	if _, ok := finding.Page(f.Code); !ok || f.Severity == "" || f.Message == "" || f.Fix == "" || len(f.At) == 0 {
		t.Errorf("something is missing in %s", show(f))
	}
}

func show(f finding.Finding) string {
	var text strings.Builder
	f.Print(&text, false)
	return text.String()
}

func (p place) matches(w wanted, f finding.Finding) bool {
	if w.code != f.Code || w.severity != string(f.Severity) || w.near != "" && !slices.Contains(f.Near, p.replace.Replace(w.near)) {
		return false
	}
	for _, name := range w.places {
		if slices.ContainsFunc(f.At, func(at origin.At) bool { return p.names(name, at) }) {
			return true
		}
	}
	return len(w.places) == 0
}

// names reports whether a place is the one that a case calls by that name.
func (p place) names(name string, at origin.At) bool {
	if tab, key, ok := strings.Cut(name, "["); ok {
		return strings.HasSuffix(at.Table, ":"+filepath.Join(p.dir, tab)) && (at.Key+"]" == key || key == "]")
	}
	file, text, _ := strings.Cut(name, ": ")
	text = p.replace.Replace(text)
	return at.File == file && (strings.Contains(at.Text, text) || strings.Contains(p.line(at), text))
}

// line is the text of a line of a file.
func (p place) line(at origin.At) string {
	name := at.File
	if !filepath.IsAbs(name) {
		name = filepath.Join(p.dir, name)
	}
	text, err := os.ReadFile(name)
	lines := strings.Split(string(text), "\n")
	if err != nil || at.Line < 1 || at.Line > len(lines) {
		return ""
	}
	return lines[at.Line-1]
}

func (c *testCase) runExplain(t *testing.T, p place) {
	args := []string{"explain", "-c", p.dir, "--json"}
	for _, x := range c.expect.explain {
		args = append(args, x.address)
	}
	out, status := p.postern(t, args...)
	c.noSecrets(t, out)
	worst := 0
	dec := json.NewDecoder(bytes.NewReader(out))
	for _, x := range c.expect.explain {
		var e explain.Explanation
		must(t, dec.Decode(&e))
		worst = max(worst, map[int]int{2: 0, 5: 1, 4: 2}[e.Reply.Code/100])
		for _, f := range e.Findings {
			complete(t, f)
		}
		for _, kv := range x.want {
			if got := answer(kv[0], kv[1], &e); got != p.replace.Replace(kv[1]) {
				t.Errorf("explain %s: %s is %s, want %s", x.address, kv[0], got, kv[1])
			}
		}
	}
	if status != worst {
		t.Errorf("explain ended with %d, want %d", status, worst)
	}
}

// answer is what explain said, in the form of the wish when it fulfils it.
func answer(key, want string, e *explain.Explanation) string {
	switch key {
	case "class":
		return e.Class
	case "reply":
		if strings.Contains(want, "/") {
			return strconv.Itoa(e.Reply.Code) + "/" + e.Reply.Enhanced
		}
		return strconv.Itoa(e.Reply.Code)
	case "recipients":
		return ofRecipients(e, func(r explain.Recipient) string { return r.Address })
	case "transport":
		return ofRecipients(e, func(r explain.Recipient) string { return r.Transport })
	case "nexthop":
		return ofRecipients(e, func(r explain.Recipient) string { return r.NextHop })
	case "mailbox":
		return ofRecipients(e, func(r explain.Recipient) string { return r.Mailbox })
	case "near":
		return ofNear(want, e.Findings)
	case "findings":
		return ofFindings(want, e.Findings)
	}
	return "(no such question)"
}

// ofRecipients are the different values of the final recipients, in order.
func ofRecipients(e *explain.Explanation, value func(explain.Recipient) string) string {
	var list []string
	for _, r := range e.Recipients {
		list = append(list, value(r))
	}
	sort.Strings(list)
	list = slices.Compact(list)
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ",")
}

func ofNear(want string, list []finding.Finding) string {
	var all []string
	for _, f := range list {
		if slices.Contains(f.Near, want) {
			return want
		}
		all = append(all, f.Near...)
	}
	return strings.Join(all, ",")
}

func ofFindings(want string, list []finding.Finding) string {
	var codes []string
	for _, f := range list {
		if want != "none" || f.Severity != finding.Info {
			codes = append(codes, f.Code)
		}
	}
	if want == "none" && len(codes) == 0 {
		return want
	}
	for code := range listed(want) {
		if !slices.Contains(codes, code) {
			return strings.Join(codes, ",") + " (without " + code + ")"
		}
	}
	return want
}

// noSecrets fails when the output has a password of one of the case's files.
func (c *testCase) noSecrets(t *testing.T, out []byte) {
	t.Helper()
	for _, f := range c.files {
		for line := range strings.Lines(f.text) {
			key, value, _ := strings.Cut(line, "=")
			if value = strings.TrimSpace(value); strings.TrimSpace(key) == "password" && value != "" && bytes.Contains(out, []byte(value)) {
				t.Errorf("the password of %s is in the output", f.name)
			}
		}
	}
}

// snapshot is the content of a directory, but for sockets.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			all[name] = "."
			return nil
		}
		text, _ := os.ReadFile(name)
		all[name] = string(text)
		return nil
	}))
	return all
}
