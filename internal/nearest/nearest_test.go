package nearest

import (
	"slices"
	"testing"
)

func TestWords(t *testing.T) {
	known := []string{"hash", "btree", "cdb", "cidr", "pcre", "static", "dbm"}
	tests := []struct {
		word  string
		limit int
		want  []string
	}{
		{"hahs", 1, []string{"hash"}},
		{"hash", 1, []string{"hash"}},
		{"Hash", 1, []string{"hash"}},
		{"bdm", 1, []string{"dbm"}},
		{"cdm", 1, []string{"cdb"}},
		{"dbb", 2, []string{"dbm", "cdb"}},
		{"db", 2, []string{"cdb", "dbm"}},
		{"statics", 1, []string{"static"}},
		{"sttic", 1, []string{"static"}},
		{"qqqq", 2, nil},
		{"", 2, nil},
		{"", 3, []string{"cdb", "dbm"}},
	}
	for _, tt := range tests {
		if got := Words(tt.word, slices.Values(known), tt.limit); !slices.Equal(got, tt.want) {
			t.Errorf("Words(%q, %d) = %q, want %q", tt.word, tt.limit, got, tt.want)
		}
	}
	if got := Word("hahs", slices.Values(known), 1); got != "hash" {
		t.Errorf("Word = %q", got)
	}
	if got := Word("x", slices.Values(known), 0); got != "" {
		t.Errorf("Word = %q", got)
	}
}
