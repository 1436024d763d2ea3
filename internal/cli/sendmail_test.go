package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSendmailConfig: -C takes the directory as well as the main.cf in it.
func TestSendmailConfig(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(main, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		main:                  dir,
		dir:                   dir,
		dir + "/none":         dir + "/none",
		dir + "/none/main.cf": dir + "/none",
	} {
		call, err := parseSendmail(Env{Args: []string{"sendmail", "-C", name, "john@example.test"}, Getenv: os.Getenv})
		if err != nil || call.dir != want {
			t.Errorf("-C %s: directory %q, %v; want %q", name, call.dir, err, want)
		}
	}
}
