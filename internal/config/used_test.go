package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// asked finds the parameters that the code asks for by their whole name.
var asked = regexp.MustCompile(`\.(?:String|Bool|Int|Int64|Duration|Raw|List|Value)\("([a-z0-9][A-Za-z0-9_]+)"\)`)

// TestUsedParametersAreDocumented keeps code and catalogue together: what the
// code asks for has an entry with a line of documentation.
func TestUsedParametersAreDocumented(t *testing.T) {
	n := 0
	err := filepath.WalkDir("..", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		if strings.HasPrefix(name, "../check/") || strings.HasPrefix(name, "../plan/") {
			return nil // which judge parameters that nothing acts on
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, m := range asked.FindAllStringSubmatch(string(text), -1) {
			n++
			if p, ok := LookupParam(m[1]); !ok {
				t.Errorf("%s asks for %s, which the catalogue does not have", name, m[1])
			} else if p.Doc == "" {
				t.Errorf("%s asks for %s, which has no documentation", name, m[1])
			}
		}
		return nil
	})
	if err != nil || n < 100 {
		t.Fatalf("%d questions found, %v", n, err)
	}
}
