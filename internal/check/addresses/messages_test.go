package addresses_test

import (
	"strings"
	"testing"

	"postern/internal/finding"
)

// What stands in the place of a name is never looked at again.
func TestPlaceholders(t *testing.T) {
	i, _ := open(t, "testdata/placeholders.txtar")
	for _, tt := range []struct{ address, code, message, fix string }{
		{"john+%s@example.org", "VD512", "the extension +%s goes on to jeff+%s@example.com, and", "take virtual out of"},
		{"{names}@example.org", "VD208", "{names}@example.org -> %s@example.org: ", "or take it out of the row for {names}@example.org"},
		{"%s@example.org", "VD201", "no row for %s@example.org in ", "add %s@example.org to virtual_mailbox_maps"},
	} {
		var found finding.Finding
		for _, f := range explained(t, i, tt.address) {
			if f.Code == tt.code {
				found = f
			}
		}
		if !strings.HasPrefix(found.Message, tt.message) || !strings.Contains(found.Fix, tt.fix) {
			t.Errorf("explain %s: %s: %q, fix %q", tt.address, tt.code, found.Message, found.Fix)
		}
	}
}
