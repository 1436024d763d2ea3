package pattern

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
)

func TestShowRules(t *testing.T) {
	types := map[string]table.Constructor{"regexp": Regexp, "pcre": Pcre, "cidr": Cidr}
	for spec, want := range map[string][]string{
		"regexp:{{/^a b/i   two words}, {!/x/!/y/ no}, {if /z/}, {/z\\/z/ z}, {endif}, {bad}}": {"/^a b/i -> two words", "!/x/!/y/ -> no", `/z\/z/ -> z`},
		"pcre:{{!/x/ a!b}, {/(/ broken}}":                                        {"!/x/ -> a!b"},
		"cidr:{{192.0.2.0/24 OK}, {! 192.0.2.1  no  such}, {192.0.2.1/24 bits}}": {"192.0.2.0/24 -> OK", "!192.0.2.1 -> no  such"},
	} {
		typ, name, _ := strings.Cut(spec, ":")
		tab, err := types[typ](t.Context(), &table.Opener{}, name, table.Use{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range tab.(table.Ruled).Rules() {
			got = append(got, r.Pattern+" -> "+r.Result)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", spec, diff)
		}
	}
}
