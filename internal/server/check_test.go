package server

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checked is what Check says of the house: its error and its warnings.
func (h *house) checked(running bool) (failure string, warnings []string) {
	h.t.Helper()
	v, err := LoadSettings(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	err = Check(h.t.Context(), v, running, func(text string) { warnings = append(warnings, text) })
	if err != nil {
		failure = strings.ReplaceAll(err.Error(), h.dir+"/", "")
	}
	return failure, warnings
}

func (h *house) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// unseparated are the lines of main.cf with which root and a user are alike.
const unseparated = "privilege_separation = no\n"

// TestCheck: what keeps a server from starting is told with its place, and nothing
// is changed.
func TestCheck(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := freePort(t)
	for _, tt := range []struct{ name, main, address, want string }{
		{"good", "", free, ""},
		{"level", "smtpd_tls_security_level = perhaps\n", free, `master.cf:1: main.cf:12: smtpd_tls_security_level: unknown level "perhaps"`},
		{"client's level", "smtp_tls_security_level = bogus\n", free, "master.cf:3: main.cf:12: smtp_tls_security_level: "},
		{"restriction", "smtpd_recipient_restrictions = reject_evrything\n", free, "master.cf:1: main.cf:12: unknown smtpd restriction"},
		{"mailbox locks", "virtual_mailbox_lock = never\n", free, "master.cf:2: main.cf:12: virtual_mailbox_lock: "},
		{"resolver", "dns_servers = nowhere\n", free, "main.cf:12: dns_servers: "},
		{"port", "", taken.Addr().String(), "master.cf:1: service " + taken.Addr().String() + ": "},
		{"metrics", "metrics_listen = " + taken.Addr().String() + "\n", free, "main.cf:12: metrics_listen: "},
		{"metrics socket", "metrics_listen = unix:/nowhere/at/all\n", free, "main.cf:12: metrics_listen: "},
		{"no address", "inet_interfaces =\n", "2525", "main.cf:12: inet_interfaces and inet_protocols leave no address to listen on"},
		{"queue is a file", "queue_directory = $config_directory/main.cf\n", free, "main.cf:12: queue_directory: "},
		{"no log", "maillog_file = /nowhere/mail.log\n", free, "main.cf:12: maillog_file: "},
		{"no control", "control_socket = /nowhere/control\n", free, "main.cf:12: control_socket: "},
		{"two faults", "queue_directory = $config_directory/main.cf\nsmtpd_tls_security_level = perhaps\n", free,
			"main.cf:12: queue_directory: FILE is not a directory\nmaster.cf:1: main.cf:13: smtpd_tls_security_level: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &house{t: t, dir: t.TempDir()}
			h.configure(unseparated+tt.main, tt.address)
			h.write("master.cf", h.read("master.cf")+"smtp unix - - n - - smtp\n")
			before, _ := filepath.Glob(h.dir + "/*")
			got, _ := h.checked(false)
			got = strings.ReplaceAll(got, "main.cf is not", "FILE is not")
			if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
				t.Errorf("Check = %q, want %q", got, tt.want)
			}
			if after, _ := filepath.Glob(h.dir + "/*"); len(after) != len(before) {
				t.Errorf("files %q, before %q", after, before)
			}
		})
	}
}

// TestCheckWarns of what works, but not as it was meant.
func TestCheckWarns(t *testing.T) {
	h := &house{t: t, dir: t.TempDir()}
	h.configure(unseparated+"virtual_mailbox_maps = hash:"+h.dir+"/none\nsmtpd_bannr = x\n", freePort(t))
	if err := os.Mkdir(h.dir+"/queue", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.dir+"/queue", 0o777); err != nil {
		t.Fatal(err)
	}
	failure, warnings := h.checked(false)
	all := strings.Join(warnings, "\n")
	for _, want := range []string{"main.cf:12: virtual_mailbox_maps: hash:", "main.cf:13: ", "group or other writable: " + h.dir + "/queue"} {
		if !strings.Contains(all, want) {
			t.Errorf("without %q:\n%s", want, all)
		}
	}
	if failure != "" {
		t.Errorf("Check = %q", failure)
	}
}

// TestCheckWhileRunning: the addresses of the server that runs are its own.
func TestCheckWhileRunning(t *testing.T) {
	address := freePort(t)
	h := start(t, unseparated, address)
	if failure, _ := h.checked(true); failure != "" {
		t.Errorf("Check = %q", failure)
	}
	if failure, _ := h.checked(false); !strings.Contains(failure, "address already in use") {
		t.Errorf("Check as if no server ran = %q", failure)
	}
	h.ends()
}

// TestCheckOwner: what is wrong with the user that the server runs as, and with
// the way to its directory.
func TestCheckOwner(t *testing.T) {
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("needs root")
	default:
		t.Skip("needs root")
	}
	closed := "queue_directory = $config_directory/closed/queue\n"
	for _, tt := range []struct {
		name, main string
		prepare    func(t *testing.T, dir string)
		want       string
	}{
		{"good", "mail_owner = nobody\n", nil, ""},
		{"no such user", "mail_owner = no-such-user\n", nil, "main.cf:11: mail_owner = no-such-user: "},
		{"root", "mail_owner = root\n", nil, "main.cf:11: mail_owner = root: "},
		{"closed", "mail_owner = nobody\n" + closed, func(t *testing.T, dir string) {
			if err := os.Mkdir(dir+"/closed", 0o700); err != nil {
				t.Fatal(err)
			}
		}, "main.cf:12: queue_directory closed/queue: the server runs as nobody (mail_owner): directory closed (mode 0700, owner uid 0) may not be entered"},
		{"somebody else's", "mail_owner = nobody\n", func(t *testing.T, dir string) {
			if err := os.MkdirAll(dir+"/queue/postern", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(dir+"/queue/postern", 4711, 4711); err != nil {
				t.Fatal(err)
			}
		}, "main.cf:5: queue_directory: queue/postern belongs to uid 4711, neither root nor nobody (mail_owner)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &house{t: t, dir: t.TempDir()}
			for dir := h.dir; strings.HasPrefix(dir, filepath.Clean(os.TempDir())+"/"); dir = filepath.Dir(dir) {
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			h.configure(tt.main, freePort(t))
			if tt.prepare != nil {
				tt.prepare(t, h.dir)
			}
			got, _ := h.checked(false)
			if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
				t.Errorf("Check = %q, want %q", got, tt.want)
			}
		})
	}
}
