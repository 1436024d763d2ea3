package server

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/helper"
)

func TestAddFiles(t *testing.T) {
	dir := t.TempDir()
	cf := filepath.Join(dir, "sql.cf")
	if err := os.WriteFile(cf, []byte("hosts = db\n tls_key_file = /keys/client.pem\n# x = /no\n"), 0o600); err != nil {
		t.Fatal(err)
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
		{"mysql:" + cf, append(all(cf), "/keys/client.pem", "/no")},
		{"/a/../b//c", all("/b/c")},
	}
	for _, tt := range tests {
		files := map[string]bool{}
		addFiles(files, dir, tt.text)
		got := slices.Sorted(maps.Keys(files))
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
	if !p.Trusted[daemon] || p.Trusted[0] || p.Trusted[p.Owner.UID] || len(p.Pipes) != 1 || !slices.Equal(p.Pipes[daemon], []string{"/usr/lib/dovecot/deliver"}) {
		t.Errorf("trusted %v, pipes %v", p.Trusted, p.Pipes)
	}
	h.configure("mail_owner = root\n", "127.0.0.1:2525")
	if _, err := policyOf(h.dir, nil); err == nil {
		t.Error("root as mail_owner is no error")
	}
}
