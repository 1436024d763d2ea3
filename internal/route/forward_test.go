package route_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/address"
	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

// homes is a configuration whose .forward files are in the test's directory.
// john has the id of whoever runs the test, so that the files are his own, unless
// that is root, whose files are good for everybody.
const homes = system + "forward_path = {dir}/$user.forward${recipient_delimiter}${extension}, {dir}/$user.forward\n"

// forwarded makes a world with the files, in which john owns them.
func forwarded(t *testing.T, main, aliases, files string) *routetest.World {
	t.Helper()
	w := routetest.New(t, homes+main+"\n-- aliases --\n"+aliases+"\n"+files)
	if uid := os.Getuid(); uid != 0 {
		john := w.Users.ByName["john"]
		john.UID, john.GID = uid, os.Getgid()
		w.Users.ByName["john"] = john
		delete(w.Users.ByName, "tester")
	}
	return w
}

func TestForward(t *testing.T) {
	tests := []struct{ name, main, aliases, files, in, want string }{
		{"none", "", "", "", "john@localhost", "/var/mail/john"},
		{"elsewhere", "", "", "-- john.forward --\nfred@other.test, bill@other.test\n", "john@localhost", "to fred@other.test bill@other.test"},
		{"lines and comments", "", "", "-- john.forward --\n# fred@other.test\n\n  bill@other.test\nann@other.test\n", "john@localhost", "to bill@other.test ann@other.test"},
		{"the mailbox too", "", "", "-- john.forward --\n\\john, fred@other.test\n", "john@localhost", "/var/mail/john; to fred@other.test"},
		{"the mailbox too, by name", "", "", "-- john.forward --\nJohn\nfred@other.test\n", "john@localhost", "/var/mail/john; to fred@other.test"},
		{"the mailbox too, by an alias", "", "j.doe: john", "-- john.forward --\nj.doe, fred@other.test\n", "j.doe@localhost", "/var/mail/john; to fred@other.test"},
		{"the mailbox too, with address", "", "", "-- john.forward --\njohn@local.example.test\n", "john@localhost", "/var/mail/john"},
		{"another user", "", "", "-- john.forward --\njack\n", "john@localhost", "to jack@localhost"},
		{"an alias of others", "", "team: jack, fred@other.test", "-- john.forward --\nteam\n", "john@localhost", "to jack@localhost fred@other.test"},
		{"command and file", "", "", "-- john.forward --\n\"|cmd a\"\n/tmp/x\n~/y\n", "john@localhost", "|cmd a as john; file /tmp/x as john; file /home/john/y as john"},
		{"not allowed", "allow_mail_to_commands = alias\nallow_mail_to_files = alias", "", "-- john.forward --\n|cmd\n/tmp/x\n", "john@localhost",
			"bounce 5.7.1 mail to command is restricted; bounce 5.7.1 mail to file is restricted"},
		{"the same command twice", "", "", "-- john.forward --\n|cmd, |cmd, /x, /x\n", "john@localhost", "|cmd as john; file /x as john"},
		{"bad home", "", "", "-- john.forward --\n~jack/x\n", "john@localhost", "bounce 5.3.5 mail system configuration error"},
		{"empty", "", "", "-- john.forward --\n# nobody\n", "john@localhost", "/var/mail/john"},
		{"unreadable member", "", "", "-- john.forward --\nbad@[x]\nfred@other.test\n", "john@localhost", "bounce 5.1.3 bad recipient address syntax: bad@[x]; to fred@other.test"},
		{"unknown member", "", "", "-- john.forward --\nwho\n", "john@localhost", "to who@localhost"},
		{"includes", "", "", "-- john.forward --\n:include:{dir}/list\n-- list --\njohn\nfred@other.test\n", "john@localhost", "to john@localhost fred@other.test"},
		{"extension, file of its own", "", "", "-- john.forward+x --\nfred@other.test\n", "john+x@localhost", "to fred@other.test"},
		{"extension, general file", "", "", "-- john.forward --\nfred@other.test\n", "john+x@localhost", "to fred@other.test"},
		{"extension goes on", "propagate_unmatched_extensions = forward", "", "-- john.forward --\nfred@other.test\n", "john+x@localhost", "to fred+x@other.test"},
		{"extension of the file's name stays", "propagate_unmatched_extensions = forward", "", "-- john.forward+x --\nfred@other.test\n", "john+x@localhost", "to fred@other.test"},
		{"extension that leads astray", "", "", "-- john.forward --\nfred@other.test\n", "john+../jack@localhost", "to fred@other.test"},
		{"own file by another extension", "", "", "-- john.forward+x --\njohn+x, \"|x\"\n-- john.forward --\nfred@other.test\n", "john+x@localhost", "/var/mail/john; |x as john"},
		{"unusual characters", "", "", "-- john.forward+a_b --\nfred@other.test\n", "john+a b@localhost", "to fred@other.test"},
		{"through an alias", "", "a: john, jack", "-- john.forward --\nfred@other.test\n", "a@localhost", "to fred@other.test; /var/mail/jack"},
		{"through an alias twice", "", "a: b, john\nb: john", "-- john.forward --\nfred@other.test\n", "a@localhost", "to fred@other.test"},
		{"alias with owner: not looked at here", "", "a: john\nowner-a: jack", "-- john.forward --\nfred@other.test\n", "a@localhost", "to john@localhost from owner-a@localhost"},
		{"switched off", "forward_path =", "", "-- john.forward --\nfred@other.test\n", "john@localhost", "/var/mail/john"},
		{"bad path", "forward_path = $-, relative, {dir}/john.forward", "", "-- john.forward --\nfred@other.test\n", "john@localhost", "to fred@other.test"},
		{"unknown user", "", "", "-- who.forward --\nfred@other.test\n", "who@localhost", `error 5.1.1 unknown user: "who"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := forwarded(t, tt.main, tt.aliases, tt.files)
			if got := targets(t, w, tt.in); got != tt.want {
				t.Errorf("LocalTargets(%q)\n got %s\nwant %s\nlog %s", tt.in, got, tt.want, w.Log.Lines())
			}
		})
	}
}

// TestForwardTrust: files that somebody else may have made are left alone.
func TestForwardTrust(t *testing.T) {
	tests := []struct {
		name    string
		change  func(w *routetest.World, name string) error
		warning string
	}{
		{"world writable", func(_ *routetest.World, name string) error { return os.Chmod(name, 0o646) }, "is world writable"},
		{"a link", func(w *routetest.World, name string) error {
			return errors.Join(os.Rename(name, name+"2"), os.Symlink(name+"2", name))
		}, "is not a regular file"},
		{"a directory", func(_ *routetest.World, name string) error {
			return errors.Join(os.Remove(name), os.Mkdir(name, 0o755))
		}, "is not a regular file"},
		{"too large", func(_ *routetest.World, name string) error { return os.Truncate(name, 5<<20) }, "is larger than"},
		{"another owner", func(w *routetest.World, name string) error {
			if os.Getuid() == 0 {
				return os.Chown(name, 4711, 4711)
			}
			john := w.Users.ByName["john"]
			john.UID++
			w.Users.ByName["john"] = john
			return nil
		}, "has bad owner uid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := forwarded(t, "", "", "-- john.forward --\nfred@other.test\n")
			if err := tt.change(w, filepath.Join(w.Dir, "john.forward")); err != nil {
				t.Fatal(err)
			}
			if got := targets(t, w, "john@localhost"); got != "/var/mail/john" || !strings.Contains(w.Log.Lines(), tt.warning) {
				t.Errorf("got %s, log %s", got, w.Log.Lines())
			}
		})
	}
}

// files answers every question about a file in the same way.
type files struct {
	content string
	info    privsep.FileInfo
	err     error
}

func (f files) ReadFile(context.Context, privsep.Identity, string, int64) ([]byte, privsep.FileInfo, error) {
	return []byte(f.content), f.info, f.err
}

// TestForwardUnknown: where it cannot be said whether there is a file, mail waits.
func TestForwardUnknown(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{unix.ENOENT, "/var/mail/john"},
		{unix.EACCES, "/var/mail/john"},
		{privsep.ErrRoot, "/var/mail/john"},
		{unix.EIO, "error 4.3.0 cannot read file /home/john/.forward (temporary)"},
		{privsep.ErrNotRoot, "error 4.3.0 cannot read file /home/john/.forward (temporary)"},
		{errors.New("the helper is gone"), "error 4.3.0 cannot read file /home/john/.forward (temporary)"},
	} {
		w := routetest.New(t, system+"-- aliases --\n")
		w.Router = withFiles(t, w, files{err: tt.err})
		if got := targets(t, w, "john@localhost"); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

// withFiles is a router like that of the world that reads files in another way.
func withFiles(t *testing.T, w *routetest.World, f privsep.FileReader) *route.Router {
	t.Helper()
	r, err := route.New(t.Context(), route.Options{Settings: w.Settings, Opener: w.Opener, Users: w.Users, Files: f, Log: w.Log})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHomeDirectory(t *testing.T) {
	w := routetest.New(t, system+"require_home_directory = yes\nforward_path =\n-- aliases --\n")
	if got, want := targets(t, w, "john@localhost"), "error 4.3.0 cannot access home directory /home/john: no such file or directory (temporary)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.Router = withFiles(t, w, files{})
	if got := targets(t, w, "john@localhost"); got != "/var/mail/john" {
		t.Error(got)
	}
}

// TestForwardTrace: every name that was tried is shown, and every line with its
// place.
func TestForwardTrace(t *testing.T) {
	w := forwarded(t, "", "", "-- john.forward --\n# comment\nfred@other.test\n\"|cmd\"\n")
	tr := &route.Trace{}
	if _, err := w.Router.LocalTargets(t.Context(), address.Split("john+x@localhost"), tr); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range tr.Steps {
		if s.Parameter != "forward_path" {
			continue
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.ReplaceAll(string(text), w.Dir, "DIR"))
	}
	want := `{"op":"lookup","parameter":"forward_path","key":"DIR/john.forward+x","result":null}
{"op":"lookup","parameter":"forward_path","key":"DIR/john.forward","result":"fred@other.test","at":{"file":"DIR/john.forward","line":2,"text":"fred@other.test"}}
{"op":"lookup","parameter":"forward_path","key":"DIR/john.forward","result":"\"|cmd\"","at":{"file":"DIR/john.forward","line":3,"text":"\"|cmd\""}}`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestLocalPrograms(t *testing.T) {
	tests := []struct{ name, main, aliases, in, want string }{
		{"mailbox_transport", "mailbox_transport = lmtp:unix:private/box", "a: john", "a@localhost", "by lmtp:unix:private/box"},
		{"mailbox_transport without next hop", "mailbox_transport = cyrus", "", "john@localhost", "by cyrus:"},
		{"of users that do not exist too", "mailbox_transport = cyrus", "", "who@localhost", "by cyrus:"},
		{"mailbox_transport_maps", "mailbox_transport = cyrus\nmailbox_transport_maps = inline:{john=lmtp:x}", "", "john+e@localhost", "by lmtp:x"},
		{"not in mailbox_transport_maps", "mailbox_transport_maps = inline:{john=lmtp:x}", "", "jack@localhost", "/var/mail/jack"},
		{"mailbox_transport_maps fail", "mailbox_transport_maps = fail:x", "", "jack@localhost", "error 4.3.0 table lookup failure (temporary)"},
		{"mailbox_command", `mailbox_command = /usr/bin/procmail -a "$EXTENSION"`, "", "john@localhost", `|/usr/bin/procmail -a "$EXTENSION" as john`},
		{"mailbox_command of root", "mailbox_command = /usr/bin/procmail", "", "root@localhost", "|/usr/bin/procmail as nobody"},
		{"mailbox_command_maps", "mailbox_command = x\nmailbox_command_maps = inline:{john=y}", "a: john, jack", "a@localhost", "|y as john; |x as jack"},
		{"mailbox_command_maps fail", "mailbox_command_maps = fail:x", "", "john@localhost", "error 4.3.0 table lookup failure (temporary)"},
		{"fallback_transport", "fallback_transport = smtp:[other.test]", "a: john, who", "a@localhost", "/var/mail/john; by smtp:[other.test]"},
		{"fallback_transport_maps", "fallback_transport = x\nfallback_transport_maps = inline:{who=y:z}", "a: who, when", "a@localhost", "by y:z; by x:"},
		{"fallback_transport_maps fail", "fallback_transport_maps = fail:x", "", "who@localhost", "error 4.3.0 table lookup failure (temporary)"},
		{"fallback before luser_relay", "fallback_transport = x\nluser_relay = fred@other.test", "", "who@localhost", "by x:"},
		{"commands not allowed", "allow_mail_to_commands =", `a: "|x"`, "a@localhost", "bounce 5.7.1 mail to command is restricted"},
		{"a directory for commands", "command_execution_directory = ${", `a: "|x"`, "a@localhost", "defer 4.3.5 mail system configuration error"},
		{"the owner of an alias", "reset_owner_alias = yes", "a: b\nowner-a: jack\nb: john", "a@localhost", "/var/mail/john from owner-a@localhost"},
		{"the owner of an alias stays", "", "a: b\nowner-a: jack\nb: john", "a@localhost", "to john@localhost from owner-a@localhost"},
		{"no user of default_privs", "default_privs = gone", `a: "|x"`, "a@localhost", "{default_privs}"},
		{"an empty name", "", "", "@localhost", `error 5.1.3 null username in "@localhost"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, system+tt.main+"\n-- aliases --\n"+tt.aliases+"\n")
			want := tt.want
			if want == "{default_privs}" {
				want = "defer 4.3.5 mail system configuration error"
				if os.Getuid() != 0 { // the alias has an owner
					want = "|x as {owner}"
				}
			}
			got := targets(t, w, tt.in)
			if strings.Contains(tt.name, "of root") {
				got = strings.ReplaceAll(got, "{owner}", "nobody")
			}
			if got != want {
				t.Errorf("LocalTargets(%q)\n got %s\nwant %s\nlog %s", tt.in, got, want, w.Log.Lines())
			}
		})
	}
}

// TestCommandOf is about what a command is told of its recipient.
func TestCommandOf(t *testing.T) {
	w := routetest.New(t, system+"mailbox_command = cmd\ncommand_execution_directory = /d/$user${extension?-x}\n-- aliases --\na: John+Ext@local.example.test\n")
	john := w.Users.ByName["john"]
	john.Shell = "/bin/sh"
	w.Users.ByName["john"] = john
	list, err := w.Router.LocalTargets(t.Context(), address.Split("a@localhost"), nil)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	want := route.Command{Line: "cmd", UID: 71001, GID: 71001, Dir: "/d/john-x", User: "john", Local: "john+ext", Domain: "local.example.test",
		Extension: "ext", Home: "/home/john", Shell: "/bin/sh"}
	if list[0].Command != want || list[0].Recipient != "John+Ext@local.example.test" || list[0].DeliveredTo != "a@localhost" {
		t.Errorf("%+v", list[0])
	}
}

// TestFrozen: Delivered-To names the recipient, or the last list on the way.
func TestFrozen(t *testing.T) {
	for main, want := range map[string]string{"": "a@localhost", "frozen_delivered_to = no": "b@localhost"} {
		w := routetest.New(t, system+main+"\n-- aliases --\na: b\nb: fred@other.test\n")
		list, err := w.Router.LocalTargets(t.Context(), address.Split("a@localhost"), nil)
		if err != nil || len(list) != 1 || list[0].DeliveredTo != want {
			t.Errorf("%s: %+v, %v, want %s", main, list, err, want)
		}
	}
}

// TestIncludeRights: an :include: file of somebody in an alias of root has the
// rights of its owner.
func TestIncludeRights(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	world := func(uid int, mode os.FileMode) *routetest.World {
		w := routetest.New(t, system+"allow_mail_to_commands = alias, include\n-- aliases --\na: :include:{dir}/list\n-- list --\n|cmd\n")
		name := filepath.Join(w.Dir, "list")
		if err := errors.Join(os.Chmod(w.Dir, 0o755), os.Chown(name, uid, uid), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
		w.Router = withFiles(t, w, privsep.NewFiles())
		return w
	}
	for _, tt := range []struct {
		uid  int
		mode os.FileMode
		want string
	}{
		{0, 0o644, "|cmd as {owner}"},
		{71001, 0o644, "|cmd as john"},
		{71001, 0o600, "|cmd as john"},
		{0, 0o600, "defer 4.3.5 mail system configuration error"}, // nobody but root can read it
		{71001, 0o646, "bounce 5.3.5 mail system configuration error"},
		{4711, 0o644, "defer 4.3.5 mail system configuration error"}, // nobody has that id
	} {
		if got := targets(t, world(tt.uid, tt.mode), "a@localhost"); got != tt.want {
			t.Errorf("uid %d, mode %o: %s, want %s", tt.uid, tt.mode, got, tt.want)
		}
	}
}
