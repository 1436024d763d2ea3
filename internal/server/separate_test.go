package server

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/helper"
	"postern/internal/privsep"
)

func TestAddFiles(t *testing.T) {
	dir := t.TempDir()
	cf := filepath.Join(dir, "sql.cf")
	for name, text := range map[string]string{
		cf:                  "hosts = db\n tls_key_file = /keys/client.pem\n# x = /no\nunix = /no\nquery = SELECT '/no'\noption_file = my.cnf\ntls_CApath = /keys/ca\n",
		dir + "/my.cnf":     "[client]\nssl_ca = \"/keys/ca.pem\"\n!include more/a.cnf\n!includedir more\n!include my.cnf\n",
		dir + "/more/a.cnf": "ssl-key=/keys/a.key\nsocket=/no\n",
		dir + "/more/b":     "ssl-key=/no\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	all := func(names ...string) (list []string) {
		for _, n := range names {
			for _, suffix := range indexes {
				list = append(list, n+suffix)
			}
		}
		return list
	}
	tests := []struct {
		text string
		want []string
	}{
		{"", nil},
		{"yes 25 example.org $mydomain /", nil},
		{"/etc/keys/tls.pem", all("/etc/keys/tls.pem")},
		{"hash:/etc/postfix/sasl_passwd", all("/etc/postfix/sasl_passwd")},
		{"proxy:hash:/a/b, !/c/d", all("/a/b", "/c/d")},
		{"texthash:users", all(dir + "/users")},
		{"unionmap:{hash:/a/b, debug:cdb:/c/d}", all("/a/b", "/c/d")},
		{"{check_client_access hash:/a/b, reject}", all("/a/b")},
		{"secure tafile=/a/ca.pem", all("/a/ca.pem")},
		{"smtp:[127.0.0.1]:25 relay:[mx.example.org] inet:mx.example:24", nil},
		{"mysql:" + cf, append(all(cf), "/keys/client.pem", dir+"/my.cnf", "/keys/ca.pem", dir+"/more/a.cnf", "/keys/a.key")},
		{"/a/../b//c", all("/b/c")},
	}
	for _, tt := range tests {
		p := &helper.Policy{Files: map[string]bool{}, Directories: map[string]bool{}}
		addFiles(p, dir, tt.text)
		got := slices.Sorted(maps.Keys(p.Files))
		slices.Sort(tt.want)
		if diff := cmp.Diff(tt.want, got); diff != "" && len(tt.want)+len(got) > 0 {
			t.Errorf("addFiles(%q) (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestForwardStart(t *testing.T) {
	for path, want := range map[string]string{
		"$home/.forward": "$home/.forward",
		"$home/.forward${recipient_delimiter}${extension}": "$home/.forward",
		"${home}/mail/$(user).fwd":                         "$home/mail/$user.fwd",
		"/var/forward/$user":                               "/var/forward/$user",
		"/var/forward/$domain/$user":                       "/var/forward/",
		"":                                                 "",
	} {
		if got := forwardStart(path); got != want {
			t.Errorf("forwardStart(%q) = %q, want %q", path, got, want)
		}
	}
}

// TestPolicyOf reads a whole configuration.
func TestPolicyOf(t *testing.T) {
	h := &house{t: t, dir: t.TempDir()}
	h.configure(`mail_owner = nobody
home_mailbox = Maildir/
default_privs = daemon
alias_maps =
`, "127.0.0.1:2525")
	master, err := os.ReadFile(h.dir + "/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	h.write("master.cf", string(master)+"local unix - n n - - local\n"+
		"dovecot unix - n n - - pipe flags=DRhu user=daemon argv=/usr/lib/dovecot/deliver -d ${recipient}\n"+
		"bad unix - n n - - pipe user=root argv=/bin/sh\n")
	p, err := policyOf(h.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]bool{"tcp4 127.0.0.1:2525": true, "unix " + h.dir + "/control": true}; !maps.Equal(p.Listeners, want) {
		t.Errorf("listeners %v, want %v", p.Listeners, want)
	}
	if !p.Files[h.dir+"/main.cf"] || !p.Files[h.dir+"/master.cf"] || p.Files["/etc/shadow"] || p.Log != h.dir+"/mail.log" {
		t.Errorf("files %v, log %s", p.Files, p.Log)
	}
	if want := map[string]int{h.dir + "/mail": 100}; !maps.Equal(p.Virtual, want) {
		t.Errorf("mailboxes below %v, want %v", p.Virtual, want)
	}
	if !slices.Equal(p.HomeMailbox, []string{"Maildir/"}) || !slices.Equal(p.Forward, []string{"$home/.forward", "$home/.forward"}) {
		t.Errorf("local mail: %q, %q", p.HomeMailbox, p.Forward)
	}
	daemon := -1
	for _, u := range helper.SystemUsers("/etc/passwd")(helper.AnyUser) {
		if u.Name == "daemon" {
			daemon = u.UID
		}
	}
	if p.Default.UID != daemon || len(p.Trusted) > 0 || len(p.Pipes) != 1 || p.Pipes[0].UID != daemon ||
		!p.Pipes[0].Fits([]string{"/usr/lib/dovecot/deliver", "-d", "john"}) || p.Pipes[0].Fits([]string{"/usr/lib/dovecot/deliver", "-x", "john"}) {
		t.Errorf("default_privs %v, trusted %v, pipes %v", p.Default, p.Trusted, p.Pipes)
	}
	h.configure("mail_owner = root\n", "127.0.0.1:2525")
	if _, err := policyOf(h.dir, nil); err == nil {
		t.Error("root as mail_owner is no error")
	}
}

// TestPolicyOfLocal: what local(8) may run and write is in text files, or is
// anything.
func TestPolicyOfLocal(t *testing.T) {
	h := &house{t: t, dir: t.TempDir()}
	daemon, err := privsep.LookupUser("daemon")
	if err != nil {
		t.Fatal(err)
	}
	policy := func(main string) *helper.Policy {
		t.Helper()
		h.configure("mail_owner = nobody\ndefault_privs = daemon\n"+main, "127.0.0.1:2525")
		master, err := os.ReadFile(h.dir + "/master.cf")
		if err != nil {
			t.Fatal(err)
		}
		h.write("master.cf", string(master)+"local unix - n n - - local\n")
		p, err := policyOf(h.dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	h.write("aliases", "a: b\n")
	h.write("commands", "a /bin/a\n")
	h.write("gids", "@example.test 5002\n")
	h.write("tls", "example.test secure tafile=/keys/anchor.pem\n")
	for _, tt := range []struct {
		name, main string
		want       func(p *helper.Policy) bool
	}{
		{"text", "alias_maps = hash:aliases, unionmap:{debug:texthash:" + h.dir + "/aliases}", func(p *helper.Policy) bool {
			return len(p.Trusted) == 0 && slices.Equal(p.Aliases, []string{h.dir + "/aliases", h.dir + "/aliases"})
		}},
		{"an index alone", "alias_maps = hash:none", func(p *helper.Policy) bool { return p.Trusted[daemon.UID] && len(p.Aliases) == 0 }},
		{"no text", "alias_maps = inline:{a=b}", func(p *helper.Policy) bool { return p.Trusted[daemon.UID] && len(p.Aliases) == 0 }},
		{"mailbox_command", "mailbox_command = /bin/procmail $HOME", func(p *helper.Policy) bool {
			return slices.Equal(p.MailboxCommands, []string{"/bin/procmail $HOME"}) && !p.AnyCommand
		}},
		{"mailbox_command_maps", "mailbox_command_maps = texthash:commands", func(p *helper.Policy) bool {
			return slices.Equal(p.CommandMaps, []string{h.dir + "/commands"}) && !p.AnyCommand
		}},
		{"no text of commands", "mailbox_command_maps = static:/bin/x", func(p *helper.Policy) bool { return p.AnyCommand }},
		{"lists", "allow_mail_to_commands = alias, Include\nallow_mail_to_files =", func(p *helper.Policy) bool {
			return maps.Equal(p.MailToCommands, map[string]bool{"alias": true, "include": true}) && len(p.MailToFiles) == 0
		}},
		{"surroundings", "export_environment = A=b\ncommand_expansion_filter = xyz\nlocal_command_shell = /bin/r", func(p *helper.Policy) bool {
			return p.Environment["A=b"] && p.Environment["PATH=/usr/bin:/bin"] && slices.Equal(p.Filters, []string{"xyz"}) &&
				slices.Equal(p.Shells, []string{"/bin/r"}) && p.WorkDirs[h.dir+"/queue"]
		}},
		{"groups", "virtual_gid_maps = static:5000, texthash:gids, unionmap:{static:5001x}", func(p *helper.Policy) bool {
			return maps.Equal(p.VirtualGIDs.Known, map[int]bool{5000: true, 5001: true}) && slices.Equal(p.VirtualGIDs.Files, []string{h.dir + "/gids"}) &&
				!p.VirtualGIDs.Any
		}},
		{"groups that cannot be read", "virtual_gid_maps = proxy:pgsql:/gids.cf", func(p *helper.Policy) bool { return p.VirtualGIDs.Any }},
		{"authorities", "smtp_tls_CApath = /keys/ca/\nsmtp_tls_policy_maps = texthash:tls\nsmtpd_tls_CApath = /", func(p *helper.Policy) bool {
			return maps.Equal(p.Directories, map[string]bool{"/keys/ca": true}) && p.Files["/keys/anchor.pem"]
		}},
	} {
		if p := policy(tt.main + "\n"); !tt.want(p) {
			t.Errorf("%s: %+v", tt.name, p)
		}
	}
}
