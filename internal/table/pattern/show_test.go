package pattern

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
	"postern/internal/table/text"
)

func TestShowRules(t *testing.T) {
	types := map[string]table.Constructor{"regexp": Regexp, "pcre": Pcre, "cidr": Cidr}
	for spec, want := range map[string][]string{
		"pcre:{{if !/a/ix more}, {/b/ b}, {IF /c d/}, {if !!/e/}, {/f/ f}, {endif}, {/g/ g}, {if /h/}, {/h/ h}, {endif}, {endif}, {endif}, {if /(/}, {/i/ i}, {endif}, {if /k/}, {/l/ l}}": {
			"if !/a/ix: /b/ -> b", "if !/a/ix: if /c d/: if !!/e/: /f/ -> f", "if !/a/ix: if /c d/: /g/ -> g", "if !/a/ix: if /c d/: if /h/: /h/ -> h",
			"/i/ -> i", "if /k/: /l/ -> l"},
		"regexp:{{if /a b/}, {/c/ c}, {endif}}":                                                {"if /a b/: /c/ -> c"},
		"cidr:{{if ! 10.0.0.0/8}, {192.0.2.1 one}, {endif}, {::1 six}}":                        {"if !10.0.0.0/8: 192.0.2.1 -> one", "::1 -> six"},
		"regexp:{{/^a b/i   two words}, {!/x/!/y/ no}, {if /z/}, {/z\\/z/ z}, {endif}, {bad}}": {"/^a b/i -> two words", "!/x/!/y/ -> no", `if /z/: /z\/z/ -> z`},
		"pcre:{{!/x/ a!b}, {/(/ broken}}":                                                      {"!/x/ -> a!b"},
		"cidr:{{192.0.2.0/24 OK}, {! 192.0.2.1  no  such}, {192.0.2.1/24 bits}}":               {"192.0.2.0/24 -> OK", "!192.0.2.1 -> no  such"},
	} {
		typ, name, _ := strings.Cut(spec, ":")
		tab, err := types[typ](t.Context(), &table.Opener{}, name, table.Use{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range tab.(table.Ruled).Rules() {
			within := ""
			for _, c := range r.Within {
				within += "if " + c.Pattern + ": "
			}
			got = append(got, within+r.Pattern+" -> "+r.Result)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", spec, diff)
		}
	}
}

// TestProblems shows the lines that are left out; what is only warned of is none.
func TestProblems(t *testing.T) {
	types := map[string]table.Constructor{"regexp": Regexp, "pcre": Pcre, "cidr": Cidr}
	for typ, file := range map[string]struct {
		text string
		want []string
	}{
		"regexp": {"  /indented/ first\n/a/ one\n/(/ broken\n/b/ $1\n/c/\n", []string{"1 orphan", "3 unusable", "4 unusable"}},
		"pcre":   {"/a/X one\n/^(b/ broken\nendif\n", []string{"2 unusable"}},
		"cidr":   {"192.0.2.0/24 OK\n192.0.2.1/24 OK\n192.0.2.9\n", []string{"2 unusable", "3 unusable"}},
	} {
		path := filepath.Join(t.TempDir(), "rules")
		if err := os.WriteFile(path, []byte(file.text), 0o600); err != nil {
			t.Fatal(err)
		}
		tab, err := types[typ](t.Context(), &table.Opener{}, path, table.Use{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range tab.(interface{ Problems() []text.Problem }).Problems() {
			got = append(got, fmt.Sprint(p.At.Line, map[text.Kind]string{text.Orphan: " orphan", text.Unusable: " unusable"}[p.Kind]))
			if !strings.HasSuffix(p.Text, text.Ignoring) || p.At.File != path || p.At.Text == "" {
				t.Errorf("%s: problem %+v", typ, p)
			}
		}
		if diff := cmp.Diff(file.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", typ, diff)
		}
	}
}
