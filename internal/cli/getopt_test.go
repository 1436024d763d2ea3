package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGetopt(t *testing.T) {
	tests := []struct {
		args []string
		opts []option
		rest []string
		err  string
	}{
		{[]string{"-ti", "-fme", "you"}, []option{{'t', ""}, {'i', ""}, {'f', "me"}}, []string{"you"}, ""},
		{[]string{"-f", "me", "--", "-x"}, []option{{'f', "me"}}, []string{"-x"}, ""},
		{[]string{"-q", "x"}, []option{{'q', ""}}, []string{"x"}, ""},
		{[]string{"-q30m", "x"}, []option{{'q', "30m"}}, []string{"x"}, ""},
		{[]string{"-"}, nil, []string{"-"}, ""},
		{[]string{"-f"}, nil, nil, "option requires an argument -- 'f'"},
		{[]string{"-z"}, nil, nil, "invalid option -- 'z'"},
		{[]string{"-:"}, nil, nil, "invalid option -- ':'"},
	}
	for _, tt := range tests {
		opts, rest, err := getopt(tt.args, "f:ti", "q")
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("getopt(%q) = %v, want %q", tt.args, err, tt.err)
			}
			continue
		}
		if err != nil || !cmp.Equal(opts, tt.opts, cmp.AllowUnexported(option{})) || !cmp.Equal(rest, tt.rest) {
			t.Errorf("getopt(%q) = %v, %q, %v, want %v, %q", tt.args, opts, rest, err, tt.opts, tt.rest)
		}
	}
}
