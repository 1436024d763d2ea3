package cli

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
)

// TestInterrupted: who is interrupted has no answer.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "main.cf"), "compatibility_level = 3.6\nmydestination = localhost\nalias_maps =\n")
	log := filepath.Join(dir, "log")
	put(t, log, "550 5.1.1 <john@example.org>: Recipient address rejected: User unknown in virtual mailbox table\n")
	for _, tt := range []struct {
		args   []string
		status int
	}{
		{[]string{"check"}, 2},
		{[]string{"plan", dir}, 2},
		{[]string{"explain", "john@example.org"}, 3},
		{[]string{"explain", "--log", log}, 3},
		{[]string{"explain", "--log", "550 5.1.1 <john@example.org>: Recipient address rejected: User unknown in virtual mailbox table"}, 3},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var stdout, stderr bytes.Buffer
		args := append([]string{"postern", tt.args[0], "-c", dir}, tt.args[1:]...)
		got := execute(ctx, Env{Args: args, Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" }})
		if got != tt.status || stderr.String() != "postern: interrupted\n" || stdout.Len() > 0 {
			t.Errorf("%q: exit status %d, %q, %q", tt.args, got, &stderr, &stdout)
		}
	}
}
