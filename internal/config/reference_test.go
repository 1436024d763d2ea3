package config

import (
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/parameters.md anew")

// TestReference keeps docs/parameters.md, which is made from the catalogue.
func TestReference(t *testing.T) {
	var names []string
	for name, p := range catalogue() {
		if p.Doc != "" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var b strings.Builder
	b.WriteString("# Parameters\n\nThe parameters of main.cf that Postern acts on, with their defaults. Made from\n" +
		"`internal/config/catalogue.tsv` by `go test ./internal/config -run TestReference -update`.\n" +
		"Other parameters of Postfix are known and have no effect.\n\n| parameter | default | |\n|---|---|---|\n")
	for _, name := range names {
		p := catalogue()[name]
		def := "`" + strings.ReplaceAll(p.Default, "|", `\|`) + "`"
		switch {
		case p.Default == "":
			def = "(empty)"
		case len(p.Default) > 300:
			def = "(long: see `postconf -d " + name + "`)"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, def, p.Doc)
	}
	const file = "../../docs/parameters.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != b.String() {
		t.Errorf("%s does not fit the catalogue (%v): run the test with -update", file, err)
	}
}
