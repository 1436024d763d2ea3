package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"postern/internal/config"
)

// answer is what a call of postconf says and does.
type answer struct {
	Status int
	Stdout string
	Stderr []string // sorted, each line once: Postfix goes through hash tables
	Main   string
	Master string
}

// confDir makes a configuration directory, in memory if there is a place for
// that: every edit syncs a file. DIR in the texts is its name; a text "-" is no
// file.
func confDir(t *testing.T, main, master string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "postconf")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, text := range map[string]string{"main.cf": main, "master.cf": master} {
		if text == "-" {
			continue
		}
		text = strings.ReplaceAll(text, "DIR", dir)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// answerOf puts the outcome of a call together. The directory is written DIR.
func answerOf(dir string, status int, stdout, stderr string) answer {
	lines := strings.Split(strings.ReplaceAll(stderr, dir, "DIR"), "\n")
	slices.Sort(lines)
	a := answer{Status: status, Stdout: strings.ReplaceAll(stdout, dir, "DIR"), Stderr: slices.Compact(lines)}
	if text, err := os.ReadFile(filepath.Join(dir, "main.cf")); err == nil {
		a.Main = strings.ReplaceAll(string(text), dir, "DIR")
	}
	if text, err := os.ReadFile(filepath.Join(dir, "master.cf")); err == nil {
		a.Master = string(text)
	}
	return a
}

func ourPostconf(dir string, args []string) answer {
	var stdout, stderr bytes.Buffer
	status := postconf(context.Background(), Env{
		Args: append([]string{"postconf", "-c", dir}, args...), Stdout: &stdout, Stderr: &stderr,
		Getenv: func(string) string { return "" },
	})
	return answerOf(dir, status, stdout.String(), stderr.String())
}

// realPostconf finds Postfix's program.
func realPostconf(t *testing.T) func(dir string, args []string) (answer, error) {
	t.Helper()
	path, err := exec.LookPath("postconf")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/postconf")
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("postconf of Postfix is missing")
		}
		t.Skip("postconf of Postfix is missing")
	}
	return func(dir string, args []string) (answer, error) {
		// Postfix reads files again that are younger than a second, and warns twice.
		old := time.Unix(1e9, 0)
		for _, name := range []string{"main.cf", "master.cf"} {
			if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil && !os.IsNotExist(err) {
				return answer{}, err
			}
		}
		cmd := exec.Command(path, append([]string{"-c", dir}, args...)...)
		cmd.Args[0] = "postconf"
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C"}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			return answer{}, err
		}
		return answerOf(dir, cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()), nil
	}
}

const confMaster = `# services
smtp      inet  n       -       y       -       -       smtpd
  -v
#submission inet n - y - - smtpd
submission inet n       -       y       -       -       smtpd -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  # only clients
  -o { smtpd_client_restrictions = permit_mynetworks, reject } -vo smtpd_banner=$myhostname/$service_name/$process_name/$local
  -o local=value

relay     unix  -       -       y       -       -       smtp
  -o fallback=x
pickup    unix  n       -       y       60?     1       pickup
maildrop  unix  -       n       n       -       -       pipe
  flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient} { two words }
policy    unix  -       n       n       -       0       spawn user=nobody argv=/usr/bin/policy a b c d e f
`

// confTight has no comment between services: Postfix would move it in front of
// a changed one.
var confTight = strings.NewReplacer("#submission inet n - y - - smtpd\n", "", "\n\n", "\n").Replace(confMaster)

var confAlone = strings.ReplaceAll(confTight, "  # only clients\n", "")

// Every call is made on both sides, one after the other in the same directory.
// Words are separated by blanks; ~ is a blank inside a word.
var confTests = []struct{ name, main, master, calls string }{
	{"empty", "", "", `
		-n
		-nf
		-M
		-P
		-F
		always_bcc mydestination`},
	{"no file", "-", "", "-n\n-d maximal_queue_lifetime\n-M\n-e a=b\n-X a"},
	{"no master", "biff = no", "-", "-n\n-d maximal_queue_lifetime\n-M\n-F\n-P\n-MX smtp/inet"},
	{"plain", "# comment\nbiff = no\nmydestination=a.test, b.test\nmyhostname =  mx.example.test \t\nrelayhost=\n", "", `
		-n
		-nh
		-nH
		myhostname
		-h myhostname mydestination
		-H relayhost biff
		-h relayhost
		nosuch biff
		-d biff nosuch
		-n biff relayhost always_bcc
		-p biff
		-nC builtin
		-nC user
		-C service`},
	{"unknown names", "bif = no\nmydestinaton = x\nfoo=bar  two\n", "", "-n\nfoo\nbif nosuch\n-h nosuch"},
	{"continuation", "mydestination = a.test,\n b.test\n# comment\n\n\tc.test\n   # comment\n  d.test   \nbiff\n = no\n", "", `
		-n
		-nf
		-h mydestination`},
	{"continuation with the sign", "mydestination\n = a.test\n", "", "-n\nmydestination"},
	{"orphan", "  orphan = 1\nbiff = no\n", " orphan\n" + confMaster, "-n\n-M smtp\n-e biff=yes"},
	{"duplicates", "biff = no\nfoo = 1\nbiff = yes\nbiff = yes\nfoo=2\nmyhostname=$foo\n", "", "-n\nbiff\n-e biff=no\n-n\n-# foo\n-n\n-X biff\n-n"},
	{"user parameters", "a = $b\nb = $c\nc = d\nqueue_directory = $a\nmine = $other\nother = 1\n", "", `
		-n
		-nx
		-nC user
		-nC user,builtin
		a mine other
		-x queue_directory
		-x -o c=new queue_directory
		-n -o mine=1
		-o undefined= undefined
		-o broken biff`},
	{"undefined", "smtpd_banner = ${w?{$q}:{$r}} ${u1} ${u2?x} $(u3:x) $u4 $u4\nw=1\n", "", "-n\n-nx\n-n -o q=5"},
	{"conditions", `a = ${b?{yes $c}:{no $d}}
b = 1
c = $$x
virtual_alias_maps = ${a?{hash:${b}}:{static:all}}
smtpd_banner = ${{$b} == {1} ? {one} : {$other}} ${{$b} < {10}} ${{3.6} <level {3.10} ? {old}} $(b) ${b:none} ${b?{x}}
relayhost = ${{$compatibility_level} >=level {2} ? {[new]} : {[old]}}
compatibility_level = 3.6
`, "", "-n\n-nx\n-xf smtpd_banner relayhost a\n-x -o b= virtual_alias_maps\n-x -o compatibility_level=1 relayhost"},
	{"stress", "smtpd_timeout = ${stress?{10}:{300}}s\n", "", "-nx\n-x -o stress=yes smtpd_timeout smtpd_hard_error_limit address_verify_poll_count"},
	{"long values", "mydestination = " + strings.Repeat("example.test, ", 20) + "\nsmtpd_banner =\t" + strings.Repeat("x", 90) + " " + strings.Repeat("y ", 50) + "\n" +
		"relay_domains = " + strings.Repeat("z", 100) + "\nmyhostname=" + strings.Repeat("abcdefg ", 9) + "ab\n", "", "-n\n-nf\n-nfx\n-hf mydestination\n-nfh\n-nHf"},
	{"seventy-nine", "b=" + strings.Repeat("x", 73) + " y\nc=" + strings.Repeat("x", 72) + " y\nd=" + strings.Repeat("x", 74) + " y\nsmtpd_banner=$b$c$d\n", "", "-nf"},
	{"restriction classes", "smtpd_restriction_classes = $list\nlist = strict, loose none\nstrict = reject\nloose = permit\nother = reject\n", "", "-n\nstrict\n-nx"},
	{"classes and services", "smtpd_restriction_classes = strict\n",
		"smtp inet n - n - - smtpd -o strict=permit -o other=reject -o smtpd_restriction_classes=local -o local=reject\n", "-n\n-P\n-M"},
	{"database parameters", `virtual_mailbox_maps = ldap:one, mysql:two proxy:pgsql:three, {sqlite:four}, union:{proxy:memcache:five, mysql:{six}}
one_server_host = h
one_foo = h
two_hosts = h
two_query = SELECT 1
three_dbname = x
four_dbpath = x
five_memcache = x
six_hosts = h
seven_hosts = h
foo = mysql:seven
transport_maps = mysql:./eight hash:nine ${x?{mysql:ten}:{mysql:eleven}}
eight_hosts = h
nine_hosts = h
ten_hosts = h
eleven_hosts = h
eleven_result_format = h
`, "relay unix - - n - - smtp -o transport_maps=pgsql:twelve -o twelve_hosts=x -o twelve_foo=x\n", "-n\n-P\n-nC user"},
	{"database braces", "virtual_mailbox_maps = {ldap:one\ntransport_maps={ldap:two}x\nalias_maps=ldap:{three\none_bind=no\ntwo_bind=no\nthree_bind=no\n", "", "-n"},
	{"table files", "virtual_mailbox_maps = mysql:DIR/main.cf, ldap:/nonexistent/ldap.cf, proxy:mysql:DIR/main.cf\nalias_maps = pgsql:DIR\nhosts=x\n", "", "-n"},
	{"services", "relay_destination_recipient_limit = 1\npolicy_time_limit = 9\nmaildrop_time_limit=8\nmaildrop_destination_recipient_limit=1\n" +
		"nosuch_destination_recipient_limit=1\nlocal_destination_concurrency_limit=3\npolicy_recipient_limit=4\n", confMaster, `
		-n
		-nC service
		-nC builtin
		relay_destination_recipient_limit relay_initial_destination_concurrency maildrop_time_limit smtp_recipient_limit
		-d relay_destination_recipient_limit policy_time_limit local_destination_concurrency_limit
		-x relay_destination_concurrency_limit
		-M
		-Mf
		-Mx
		-M smtp
		-M smtp/inet */unix
		-Mf maildrop/unix nosuch/inet
		-P
		-Pf
		-Px
		-Ph
		-PH
		-P submission/inet/local */*/syslog_name nosuch/inet/x
		-P */inet
		-F
		-Ff
		-Fx submission
		-FH submission/inet
		-F */*/command
		-F submission/inet/chroot relay/unix/private
		-Fh relay/unix/type`},
	{"service patterns", "", confMaster, `
		-M smtp/inet/x
		-M s*
		-M /smtp
		-F smtp/inet/nosuch
		-F a/b/c/d
		-P a/b/c/d
		-F *//command`},
	{"master parameters", "foo = yes\nbar = $foo\nbiff = $here\n", "smtpd unix - n n - 0 smtpd\n -o always_bcc=$bar -o here=1 -o nowhere=2 -o x=$unknown\n", "-n\n-M\n-Px"},
	{"hidden by master", "bar = xx\nbaz = yy\n", "foo inet - n n - 0 spawn\n -o bar=yes -o always_bcc=$bar$baz\n", "-n\n-Px"},
	{"odd options", "", "foo inet - n n - 0 other -v -D -vo a=b -o -- -o c=d -vv x -o y\nbar unix - n n - - pipe a -o b=c { d } {e f}\nbaz unix - - n - - x -o\nqux unix - - n - - x -- -o a=b\n", "-M\n-Mf\n-F\n-P"},
	{"braces", "", "foo inet - n n - 0 other -o { a = b c } -o {d=e} -o { = x } -o {f} x {{y} z} {a b}c {open end\n", "-M\n-P\n-F foo/inet/command"},
	{"read-only", "process_id = 3\nservice_name=a\nbiff=$process_name\n", "foo unix - - n - - smtp -o process_name=7\n", "-n\n-nx\n-P\nservice_name process_name"},
	{"old names", "virtual_maps = hash:a\nfallback_relay = b\n", "", "-n\nvirtual_maps authorized_verp_clients lmtp_per_record_deadline postscreen_blacklist_action postscreen_dnsbl_ttl postscreen_dnsbl_whitelist_threshold " +
		"postscreen_whitelist_interfaces smtp_per_record_deadline smtpd_client_connection_limit_exceptions smtpd_per_record_deadline tlsproxy_client_level tlsproxy_client_policy\n-x virtual_alias_maps smtp_fallback_relay\n-C user\n-d virtual_maps"},
	{"raw parameters", "mailbox_command = /bin/x $EXTENSION ${user}\nluser_relay = $user@example.test\ndefault_rbl_reply=$rbl_code\n", "", "-n\n-nx"},
	{"configuration directory", "config_directory = /x\n", "", "-n\n-d config_directory\nconfig_directory"},
	{"multi-instance", "multi_instance_name = postfix-two\nmulti_instance_enable = yes\nmulti_instance_wrapper = ${command_directory}/postmulti -p --\n" +
		"multi_instance_directories = /etc/postfix-two\nmulti_instance_group = out\n", "", "-n\n-nx\n-x syslog_name"},
	{"no sign", "biff = no\nbiff\nfoo = 1\n", "", "-n\n-e biff=yes"},
	{"no name", "= no\n", "", "-n\n-M"},
	{"broken macro", "smtpd_banner = ${foo\n", "", "-n\n-nx\nbiff\n-M\n-e smtpd_banner=x\n-n"},
	{"broken macro, unused", "foo = ${bar\nbiff = no\n", "", "-n\n-nx"},
	{"few fields", "biff = no\n", "smtp inet n - n\n", "-n\n-M"},
	{"bad type", "", "smtp inex n - n - - smtpd\n  -v\n", "-n"},
	{"bad private", "", "smtp inet nn - n - - smtpd\n", "-M"},
	{"bad chroot", "", "smtp inet n - x - - smtpd\n", "-M"},
	{"bad wakeup", "", "smtp inet n - n 10?? - smtpd\n", "-M"},
	{"bad limit", "", "smtp inet n - n - 1x smtpd\n", "-M"},
	{"options", "biff = no\n", confMaster, `
		-dn
		-hH biff
		-e
		-X
		-#
		-# biff=x
		-X biff=x
		-eX biff
		-ef biff=x
		-e #biff=x
		-e biff
		-e =x
		-MF
		-mn
		-m -n -x
		-Mn
		-Pn
		-F# smtp/inet/type
		-P# smtp/inet/x
		-d -o a=b
		-C nosuch
		-C builtin,user biff
		-C ALL biff
		-MC user smtp
		-l
		--  biff`},
	{"edit", "# one\nbiff = no\n\nmydestination = a.test,\n  # in between\n  b.test\n# end\nrelayhost=[x]\n", "", `
		-e biff=yes
		mydestination=~c.test,~~d.test~
		-e relayhost=
		always_bcc=john@example.test
		-e biff=a biff=b
		foo=$bar=baz
		-# mydestination relayhost
		-X biff nosuch
		-# always_bcc
		-n`},
	{"edit continued", "a = 1\n 2\n\n#c\n 3\nb = 1\n\t2\n#c\n\n 3\nc\n = 3\nd = 4", "", "-e a=x\n-# b\n-X c\n-n\n-X d"},
	{"edit duplicates", "a = 1\nb = 2\na = 3\n  4\n", "", "-e a=x b=y\n-# a\n-e b=\n-n"},
	{"edit nothing", "a = 1\n", "smtp inet n - n - - smtpd\n", "-X b\n-# b\n-MX b/inet\n-M# b/unix\n-PX b/inet/x\n-PX smtp/inet/x\n-F b/inet/type=unix\n-P b/inet/x=y"},
	{"edit services", "", confMaster, `
		-M smtp/inet=smtp~inet~n~-~n~-~-~smtpd~-o~a=b~-o~{~c~=~d~e~}
		-M new/unix=new~unix~-~-~n~-~-~pipe~flags=DRhu~user=vmail:vmail~argv=/usr/lib/deliver~-f~${sender}~-d~${recipient}
		-M relay/unix=
		-M relay=x
		-M relay/unix=relay~unix~x
		-M relay/unix=relay~unix~x~-~-~-~-~smtp
		-M# submission/inet
		-MX pickup/unix
		-M policy/unix=other~unix~-~-~-~-~-~smtp
		-M nosuch/unix=smtp~inet~n~-~n~-~-~smtpd
		-MX */unix
		-M`},
	{"edit two of a kind", "", "a inet n - n - - x\nb inet n - n - - x\na inet n - n - - y\n -v\n", "-M a/inet=a~inet~-~-~-~-~-~z b/inet=b~inet~n~n~n~-~-~w\n-F */inet/chroot=y a/*/command=q\n-MX b/inet"},
	{"edit fields", "", confTight, `
		-F smtp/inet/chroot=n
		-F */unix/chroot=n
		-F submission/inet/command=smtpd~-o~{~a~=~b~c~}~-v
		-F submission/inet/command=proxy~x~{y~z}
		-F pickup/unix/wakeup=30 pickup/unix/process_limit=0
		-F pickup/unix/wakeup=3x
		-F pickup/unix/chroot=maybe
		-F pickup/unix/type=
		-F pickup/unix/type=a~b
		-F pickup/unix/nosuch=1
		-F pickup/unix/*=1
		-F pickup/unix=1
		-F pickup/unix/service=drop
		-F`},
	{"edit parameters", "", confAlone, `
		-P submission/inet/local=other
		-P submission/inet/new=value,more
		-P smtp/inet/smtpd_banner=$myhostname~ESMTP
		-P smtp/inet/smtpd_banner=$myhostname
		-P */unix/syslog_name=postfix/$service_name
		-PX submission/inet/local submission/inet/smtpd_client_restrictions
		-PX */*/syslog_name
		-PX submission/inet/*
		-P submission/inet/*=1
		-P submission/inet=1
		-P`},
	{"edit a broken file", "", "smtp\n inet n - n - - smtpd\n", "-MX smtp/inet"},
	{"edit odd names", "", "a=b inet n - n - - smtpd\n", "-MX smtp/inet"},
	{"edit odd types", "", "a inet/x n - n - - smtpd\n", "-MX smtp/inet"},
}

// confStep is one call and the files before it, in which the directory is DIR.
type confStep struct {
	name, call   string
	args         []string
	main, master string
	got          answer
}

// confSteps makes all calls of confTests on our side.
func confSteps(t *testing.T) []*confStep {
	var steps []*confStep
	for _, tt := range confTests {
		main, master := tt.main, tt.master
		for _, call := range strings.Split(strings.Trim(tt.calls, "\n"), "\n") {
			s := &confStep{name: tt.name, call: strings.TrimSpace(call), main: main, master: master}
			for _, a := range strings.Fields(call) {
				s.args = append(s.args, strings.ReplaceAll(a, "~", " "))
			}
			s.got = ourPostconf(confDir(t, main, master), s.args)
			if main != "-" {
				main = s.got.Main
			}
			if master != "-" {
				master = s.got.Master
			}
			steps = append(steps, s)
		}
	}
	return steps
}

// TestPostconfLikePostfix makes the same calls of both programs: what they print,
// their exit status and the files afterwards are the same.
func TestPostconfLikePostfix(t *testing.T) {
	run := realPostconf(t)
	steps := confSteps(t)
	// Postfix sleeps for a second before it gives up: many calls at once.
	want := make([]answer, len(steps))
	var group errgroup.Group
	group.SetLimit(64)
	for i, s := range steps {
		dir := confDir(t, s.main, s.master)
		group.Go(func() (err error) {
			want[i], err = run(dir, s.args)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, s := range steps {
		if diff := cmp.Diff(want[i], s.got); diff != "" {
			t.Errorf("%s: postconf %s (-Postfix +Postern):\n%s", s.name, s.call, diff)
		}
	}
}

// confValues reads "name = value" lines.
func confValues(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " =")
		values[name] = strings.TrimPrefix(value, " ")
	}
	return values
}

// confDifferent are parameters whose default differs on purpose
// (docs/differences.md), or with every process.
var confDifferent = []string{"alias_maps", "compatibility_level", "mail_name", "mynetworks", "process_id",
	"smtpd_forbid_bare_newline", "smtpd_forbid_unauth_pipelining"}

// TestDefaultsLikePostfix: Postern knows all parameters of Postfix, with the same
// defaults. compatibility = postfix makes those the same that differ.
func TestDefaultsLikePostfix(t *testing.T) {
	run := realPostconf(t)
	both := func(main, option string) (want, got map[string]string) {
		dir := confDir(t, main, confMaster)
		theirs, err := run(dir, []string{option})
		if err != nil {
			t.Fatal(err)
		}
		return confValues(theirs.Stdout), confValues(ourPostconf(dir, []string{option}).Stdout)
	}
	want, got := both("", "-d")
	for name := range got {
		if _, known := want[name]; !known {
			if p, ok := config.LookupParam(name); !ok || p.Doc == "" {
				t.Errorf("%s is no parameter of Postfix, and has no documentation as one of ours", name)
			}
		}
	}
	for name, value := range want {
		if ours, ok := got[name]; !ok || ours != value && !slices.Contains(confDifferent, name) {
			t.Errorf("default of %s: %q, Postfix has %q", name, ours, value)
		}
	}
	want, got = both("compatibility = postfix\nmynetworks_style = host\ninet_interfaces = loopback-only\n", "-x")
	for name, value := range want {
		value = strings.ReplaceAll(value, ", nis:mail.aliases", "")
		if name != "process_id" && got[name] != value {
			t.Errorf("with compatibility = postfix, %s = %q, Postfix has %q", name, got[name], value)
		}
	}
}

// TestPostconfBetter has the cases in which Postfix spoils the file or its
// output, and we do not.
func TestPostconfBetter(t *testing.T) {
	const services = "smtp inet n - n - - smtpd\n  -v\n# about the relay\n\nrelay unix - - n - - smtp {two words} x\n"
	tests := []struct {
		name, main string
		args       []string
		stdout     string
		wantMain   string
		wantMaster string
	}{
		{"a last line without newline", "a = b", []string{"-e", "c=d"}, "", "a = b\nc = d\n", services},
		{"removed twice", "a = b\nc = d\n", []string{"-X", "a", "a"}, "", "c = d\n", services},
		{"comments of the next service", "", []string{"-F", "smtp/inet/chroot=y"}, "", "",
			"smtp       inet  n       -       y       -       -       smtpd -v\n# about the relay\n\nrelay unix - - n - - smtp {two words} x\n"},
		{"a first argument with blanks", "", []string{"-M", "relay"},
			"relay      unix  -       -       n       -       -       smtp {two words} x\n", "", services},
		{"short commands", "", []string{"-Fh", "relay/unix/command"}, "smtp {two words} x\n", "", services},
		{"a word that looks like a comment", "", []string{"-F", "relay/unix/command=pipe argv=/usr/bin/filter #tag"}, "", "",
			"smtp inet n - n - - smtpd\n  -v\n# about the relay\n\nrelay      unix  -       -       n       -       -       pipe\n    argv=/usr/bin/filter #tag\n"},
		{"a value in the same word", "", []string{"-F", "smtp/inet/command=smtpd -osyslog_name=foo"}, "", "",
			"smtp       inet  n       -       n       -       -       smtpd\n    -o syslog_name=foo\n# about the relay\n\nrelay unix - - n - - smtp {two words} x\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ourPostconf(confDir(t, tt.main, services), tt.args)
			want := answer{Stdout: tt.stdout, Stderr: []string{""}, Main: tt.wantMain, Master: tt.wantMaster}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("postconf %q (-want +got):\n%s", tt.args, diff)
			}
		})
	}
}

// TestPostconfRefusals: what there is not is said, with the name of the option.
func TestPostconfRefusals(t *testing.T) {
	for args, want := range map[string]string{
		"-b a b":                 "postconf: fatal: options -b and -t require at most one template file",
		"-b -t":                  "postconf: fatal: specify one of -b -t",
		"-T run-version":         "postconf: fatal: option -T is not supported: there is no OpenSSL here",
		"-z":                     "postconf: invalid option -- 'z'",
		"-F smtp/inet/=x":        "postconf: fatal: -Fe or -FX requires service_name/type/field_name",
		"-F smtp/inet/service=":  `postconf: fatal: invalid service field "" in ""`,
		"-F smtp/inet/service=#": `postconf: fatal: invalid service field "#" in "#"`,
	} {
		got := ourPostconf(confDir(t, "", confMaster), strings.Fields(args))
		if got.Status != 1 || !slices.Contains(got.Stderr, want) {
			t.Errorf("postconf %s: status %d, %q; want %q", args, got.Status, got.Stderr, want)
		}
	}
}

func TestPostconfExplain(t *testing.T) {
	dir := confDir(t, "biff = no\n\nvirtual_mailbox_limit = ${stress?{1}:{0}}\n", "")
	var stdout, stderr bytes.Buffer
	status := postconf(context.Background(), Env{
		Args:   []string{"postconf", "--explain", "-xc", dir, "virtual_mailbox_limit", "biff", "queue_minfree"},
		Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" },
	})
	want := fmt.Sprintf(`virtual_mailbox_limit = 0
    set in %[1]s/main.cf, line 3
    largest virtual mailbox file; 0: none
biff = no
    set in %[1]s/main.cf, line 1
    no effect in this version
queue_minfree = 0
    the default
    free octets below which no mail is taken
`, dir)
	if status != 0 || stdout.String() != want {
		t.Errorf("status %d, %s\n%s", status, stderr.String(), cmp.Diff(want, stdout.String()))
	}
}
