package cli

import (
	"strings"
	"testing"

	"postern/internal/check"
)

// TestCheckNotes: notes are lines of their own before the summary, and no findings.
func TestCheckNotes(t *testing.T) {
	var out strings.Builder
	printResult(&out, check.Result{Notes: []string{"main.cf:1: unused parameter: x=y"}, Unfinished: []string{"tables"}}, false)
	want := "note: main.cf:1: unused parameter: x=y\n" +
		"not examined to the end: tables\n" +
		"no errors in 0 domains, 0 tables with 0 entries\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
