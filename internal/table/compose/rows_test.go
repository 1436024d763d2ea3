package compose

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
)

func TestRows(t *testing.T) {
	for spec, want := range map[string][]string{
		"unionmap:{inline:{a=1,b=2} debug:inline:{a=3}}":          {"a=1", "b=2", "a=3"},
		"unionmap:{inline:{a=1} static:x inline:{b=2}}":           {"a=1", table.ErrNotListed.Error()},
		"pipemap:{inline:{a=x,b=y,c=z} inline:{x=1,z=3}}":         {"a=1", "c=3"},
		"pipemap:{unionmap:{inline:{a=x} inline:{a=y}} static:1}": {"a=1"},
		"pipemap:{static:x inline:{x=1}}":                         {table.ErrNotListed.Error()},
		"pipemap:{inline:{a=x} fail:always}":                      {"fail:always lookup error for \"x\": tables of type fail always fail"},
	} {
		var got []string
		for e, err := range open(t, spec, table.Use{}).(table.Enumerable).All(t.Context()) {
			if err != nil {
				got = append(got, err.Error())
				break
			}
			got = append(got, e.Key+"="+e.Value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", spec, diff)
		}
	}
}

func TestRules(t *testing.T) {
	var got []string
	for _, spec := range []string{"static:x", "randmap:{a,b}"} {
		for _, r := range open(t, spec, table.Use{}).(table.Ruled).Rules() {
			got = append(got, r.Pattern+"="+r.Result)
		}
	}
	if diff := cmp.Diff([]string{"=x", "=a", "=b"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
