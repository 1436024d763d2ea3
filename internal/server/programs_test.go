package server

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/deliver/local"
)

// ordinary is a system user that is neither root nor of root's group.
func ordinary(t *testing.T) *user.User {
	t.Helper()
	for _, name := range []string{"nobody", "daemon", "mail"} {
		if u, err := user.Lookup(name); err == nil && u.Uid != "0" && u.Gid != "0" {
			return u
		}
	}
	t.Fatal("this system has no user nobody, daemon or mail")
	return nil
}

func TestPipeIdentity(t *testing.T) {
	u := ordinary(t)
	group, err := user.LookupGroupId(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, group, owner, setgid, fault string }{
		{u.Username, "", "no-such-owner", "no-such-group", ""},
		{u.Username, group.Name, "no-such-owner", "no-such-group", ""},
		{"no-such-user", "", "", "", "unknown username: no-such-user"},
		{u.Username, "no-such-group", "", "", "unknown group: no-such-group"},
		{"root", "", "", "", "specifies root privileges"},
		{u.Username, "root", "", "", "specifies privileged group id 0"},
		{u.Username, "", u.Username, "", "specifies mail system owner " + u.Username},
		{u.Username, "", "", group.Name, "specifies mail system " + group.Name + " group id " + u.Gid},
	} {
		id, err := pipeIdentity(tt.name, tt.group, tt.owner, tt.setgid)
		if tt.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("pipeIdentity(%q, %q): %v, want %s", tt.name, tt.group, err, tt.fault)
			}
			continue
		}
		if err != nil || strconv.Itoa(id.UID) != u.Uid || strconv.Itoa(id.GID) != u.Gid || len(id.Groups) > 0 {
			t.Errorf("pipeIdentity(%q, %q) = %+v, %v", tt.name, tt.group, id, err)
		}
	}
}

func TestPlainTargets(t *testing.T) {
	for text, want := range map[string]local.Places{
		"command, file, forward": 0, "": local.Commands | local.Files | local.Forwards, "Command forward": local.Files,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("prepend_delivered_header = "+text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		v, err := config.Load(dir, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := plainTargets(v); got != want {
			t.Errorf("prepend_delivered_header = %s: %b, want %b", text, got, want)
		}
	}
}
