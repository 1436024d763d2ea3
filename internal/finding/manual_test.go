package finding

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/failures.md anew")

// docs/failures.md is all pages, behind a list by what one sees.
func TestManual(t *testing.T) {
	const name = "../../docs/failures.md"
	want := manual()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the pages say; go test ./internal/finding -run TestManual -update", name)
	}
}

// Every page says where to go on, and names only codes that there are.
func TestSeeAlso(t *testing.T) {
	for _, code := range Codes() {
		also := section(code, "See also")
		if also == "" {
			t.Errorf("%s has no section See also", code)
		}
		for _, other := range regexp.MustCompile(`VD\d+`).FindAllString(also, -1) {
			if _, ok := Page(other); !ok || other == code {
				t.Errorf("%s refers to %s", code, other)
			}
		}
	}
}

const preface = `# What goes wrong with virtual domains

` + "`postern check`" + ` and ` + "`postern explain`" + ` name each failure by a code. This is what the codes
mean; ` + "`postern check --explain VD101`" + ` prints one page. It is made of
internal/finding/pages (go test ./internal/finding -run TestManual -update).

## By what one sees

Look for a part of the reply or of the line in the log.

| seen | code |
|---|---|
`

func manual() string {
	var b strings.Builder
	b.WriteString(preface)
	for _, s := range symptoms() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", s.text, link(s.code))
	}
	b.WriteString("\n## By code\n\n| code | what it means |\n|---|---|\n")
	for _, code := range Codes() {
		fmt.Fprintf(&b, "| %s | %s |\n", link(code), Title(code))
	}
	for _, code := range Codes() {
		page, _ := Page(code)
		fmt.Fprintf(&b, "\n<a id=%q></a>\n\n#%s", strings.ToLower(code), strings.ReplaceAll(page, "\n## ", "\n### "))
	}
	return b.String()
}

func link(code string) string { return fmt.Sprintf("[%s](#%s)", code, strings.ToLower(code)) }

// symptom is a text that somebody sees.
type symptom struct{ text, code string }

// symptoms are the quotations of the pages, in alphabetical order. One word is a name
// and not a message.
func symptoms() []symptom {
	var list []symptom
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, code := range Codes() {
		for _, m := range quoted.FindAllStringSubmatch(section(code, "Symptom"), -1) {
			if strings.Contains(m[1], " ") {
				list = append(list, symptom{strings.ReplaceAll(m[1], "|", `\|`), code})
			}
		}
	}
	slices.SortFunc(list, func(a, b symptom) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.text), strings.ToLower(b.text)), strings.Compare(a.code, b.code))
	})
	return list
}
