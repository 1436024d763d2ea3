package failures

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/finding"
)

// untried are the codes whose example in the manual is not for check alone: they need
// the DNS, a server, rights or a certificate, or are for explain.
var untried = []string{"VD104", "VD105", "VD203", "VD306", "VD403", "VD504", "VD505", "VD507", "VD508", "VD509", "VD512", "VD515", "VD517"}

// The examples of the manual are what they say: check finds the code before, and
// afterwards neither it nor anything else that is wrong.
func TestExamples(t *testing.T) {
	for _, code := range finding.Codes() {
		if slices.Contains(untried, code) {
			continue
		}
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			page, _ := finding.Page(code)
			_, page, _ = strings.Cut(page, "\n## Example\n")
			before, after, ok := strings.Cut(page, "\nAfter:\n")
			if !ok {
				t.Fatal("the page has no Before and After")
			}
			if list := examined(t, before); !slices.ContainsFunc(list, func(f finding.Finding) bool { return f.Code == code }) {
				t.Errorf("before: no %s in %v", code, list)
			}
			for _, f := range examined(t, after) {
				if f.Code == code || f.Severity != finding.Info {
					t.Errorf("after: %s", show(f))
				}
			}
		})
	}
}

// examined is what check says about an example.
func examined(t *testing.T, example string) []finding.Finding {
	t.Helper()
	c := exampleCase(example)
	c.files[0].text = host(c.files[0].text, nil) + c.files[0].text
	p := c.layOut(t)
	out, _ := p.postern(t, "check", "-c", p.dir, "--json")
	var result struct{ Findings []finding.Finding }
	must(t, json.Unmarshal(out, &result))
	return result.Findings
}

// exampleCase makes a case of the indented lines of an example. "# NAME" begins a
// file, "# commands" what is run at last; without any the lines are main.cf.
func exampleCase(example string) *testCase {
	c := &testCase{files: []file{{name: "main.cf"}}}
	n := 0
	paths := strings.NewReplacer("/etc/postfix", "{dir}", "/var/vmail", "{dir}/vmail")
	for line := range strings.Lines(example) {
		line, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "# "); ok && !strings.Contains(name, " ") {
			n = c.begin(name)
			continue
		}
		c.files[n].text += paths.Replace(line)
	}
	return c
}

// begin adds a file that an example names, and returns its place.
func (c *testCase) begin(name string) int {
	switch name = filepath.Base(name); name {
	case "main.cf":
		return 0
	case "commands":
		name = "setup"
	case "mail.sql":
		name = "sql"
	}
	c.files = append(c.files, file{name: name})
	return len(c.files) - 1
}
