package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// judge is the Postfix program of that name.
func judge(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// fixture is in the folder that each line of a case finds.
var fixture = map[string]string{
	"t":     "a one\nb two words \n# comment\nC three\n\"q r\"@x.test\tquoted\nb again\ncont x\n  y\nnovalue\nal: z\n",
	"small": "k v\n",
	"u":     "bad\xff v\nok \xff\nÄ@x.test umlaut\nk v\nK w\n",
	"v":     "bad\xff v\nok \xff\nk v\nK w\n",
	"empty": "",
	"f1":    "hello",
	"f2":    "world\n",
	"F":     "k f1\nj f1, f2\nn none\ne f1 f2,\n",
	"al":    "root: a, b , c,\n  d\n\"x y\": z\nn@x: y\nfoo\nX: |\"a b\"\nroot: dup\n",
	"rules": "/^a(.*)$/ got $1\n/^b/i bee\n",
	"nets":  "192.0.2.0/24 net\n!198.51.100.0/24 other\n",
	"keys":  "a\nA\nnone\n\nq r\n\"q r\"@x.test\nb\x00cut\nk",
	"msg": `From: a@b.test
Subject: one
	two
Foo : bar
MIME-Version: 1.0
Content-Type: multipart/mixed; x="y;boundary=z"; (comment) boundary = bb

pre
--bb
Content-Type: text/plain
X-Part: 1

hello text

--bbx
Content-Type: message/rfc822

Subject: inner
To: c
Content-Type: multipart/digest; boundary="c \"c"

--c "c

Subject: digested

inner body
--c "c--
after
--bb
notheader
--bb
Content-Type: message/partial

Subject: partial
--bb--
post
--bb
Again: x
`,
	"broken": "Subject: x\nno header\nFoo: bar\n\nb\xffdy\n",
}

// Lines are run one after the other in one folder, by Postfix and by us. What
// follows "<" is a file for standard input. Both must say the same, and leave
// behind the same rows.
var mapCases = map[string]string{
	"usage, nothing written": `
postmap
postmap -Z
postmap -q
postmap -c
postmap -q a
postmap -q a -d b t
postmap -s -q a t
postmap -d a -d b t
postmap -q a -q b t
postmap -s -s small
postmap -b small
postmap -h -q a small
postmap -m -s small
postmap -b -d a small
postmap -hb
postmap -c /nonesuch small
postalias
postalias -b al
postalias -F al
postalias -m
postalias -s -d x al`,

	"hash": `
postmap t
postmap -s t
postmap -q a t
postmap -q A t
postmap -fq A t
postmap -q none t
postmap -q '' t
postmap -q '"q r"@x.test' hash:t
postmap -q - hash:t <keys
postmap -q a hash:small hash:t
postmap -q a hash:t hash:nonesuch
postmap -q a hash:t nosuch:t
postmap -q a hash:nonesuch hash:t
postmap -s hash:t nosuch:t
postmap -d a t
postmap -d a t
postmap -d - t <keys
postmap -s t
postmap -i t <small
postmap -i t <t
postmap -ir t <t
postmap -iw t <t
postmap -f t
postmap -fq C t
postmap -fd c t
postmap -fd C t
postmap -s hash:t`,

	"btree": `
postmap btree:t
postmap -s btree:t
postmap -q b btree:t
postmap -q - btree:t <keys
postmap -d b btree:t
postmap -i btree:t <small
postmap -r btree:t
postmap -w btree:t
postmap -s btree:t`,

	"lmdb": `
postmap lmdb:t
postmap -s lmdb:t
postmap -q b lmdb:t
postmap -q - lmdb:t <keys
postmap -d b lmdb:t
postmap -d b lmdb:t
postmap -i lmdb:t <small
postmap -i lmdb:t <t
postmap -ir lmdb:t <t
postmap lmdb:t
postmap -s lmdb:t`,

	"cdb": `
postmap cdb:t
postmap -q b cdb:t
postmap -q - cdb:t <keys
postmap -i cdb:t <small
postmap -d a cdb:t
postmap -d - cdb:t <keys
postmap -r cdb:small
postmap -w cdb:small
postmap -q k cdb:small`,

	"several": `
postmap t lmdb:small cdb:u btree:F
postmap -q k t lmdb:small
postmap -d k t lmdb:small
postmap -d k t lmdb:small
postmap -i t lmdb:small <small
postmap small nosuch:t u
postmap nonesuch small`,

	"new by -i": `
postmap -i hash:new <small
postmap -q k hash:new
postmap -i lmdb:new <small
postmap -i btree:other <t
postmap -s btree:other
postmap -i hash:small <empty
postmap -d k hash:small`,

	"no source, nothing written": `
postmap -d k hash:nonesuch
postmap -d - hash:nonesuch <keys
postmap -s hash:nonesuch
postmap -q k btree:nonesuch
postmap -q k lmdb:nonesuch
postmap -q k cdb:nonesuch
postmap lmdb:nonesuch
postmap cdb:nonesuch`,

	"empty": `
postmap empty
postmap -s empty
postmap -q a empty
postmap lmdb:empty
postmap -s lmdb:empty
postmap cdb:empty
postmap -q a cdb:empty`,

	"UTF-8": `
postmap u
postmap -s u
postmap -q Ä@x.test u
postmap -q ä@X.TEST u
postmap -q ok u
postmap -U u
postmap -q - u <u
postmap -d - u <keys
postmap lmdb:u
postmap cdb:u
postmap -u v
postmap -s v
postmap -uq ok v`,

	"NUL": `
postmap -N cdb:t
postmap -q a cdb:t
postmap -n hash:t
postmap -q a hash:t
postmap -q - hash:t <keys
postmap -s hash:t
postmap -Nn btree:t
postmap -nN lmdb:small
postmap -q k lmdb:small`,

	"files": `
postmap -F F
postmap -q j F
postmap -Fq j F
postmap -Fq k F
postmap -Fq none F
postmap -Fs F
postmap -F -i F <small
postmap -F lmdb:F
postmap -Fs lmdb:F
postmap -F cdb:F
postmap -Fq e cdb:F
postmap -Fq k inline:{k=f1}
postmap -Fq k static:f1
postmap small
postmap -Fs small`,

	"patterns": `
postmap -q abc regexp:rules
postmap -q ABC regexp:rules
postmap -q - regexp:rules <keys
postmap -q abc pcre:rules
postmap -fq B pcre:rules
postmap -q 192.0.2.7 cidr:nets
postmap -q 198.51.100.1 cidr:nets
postmap -q - cidr:nets <keys
postmap -s regexp:rules
postmap -s cidr:nets
postmap regexp:rules
postmap -i pcre:rules <small
postmap cidr:nets
postmap -d a regexp:rules
postmap -d - cidr:nets <keys
postmap -q a regexp:nonesuch`,

	"others": `
postmap -q a texthash:small
postmap -q K texthash:small
postmap -fq K texthash:small
postmap -s texthash:small
postmap texthash:t
postmap -d a texthash:t
postmap -q a static:x
postmap -q '' static:x
postmap -q - static:x <keys
postmap -s static:x
postmap static:t
postmap -d a static:t
postmap -q A inline:{a=1}
postmap -fq A inline:{a=1}
postmap -s inline:{a=1}
postmap -i inline:t <small
postmap -d a inline:{a=1}
postmap -q a environ:x
postmap environ:t
postmap -d a environ:x
postmap -s environ:x
postmap -q nosuchuser unix:passwd.byname
postmap -d root unix:passwd.byname
postmap -q a unix:nonesuch
postmap -q a 'unionmap:{static:x,inline:{a=1}}'
postmap -s 'unionmap:{static:x}'
postmap -d a 'unionmap:{static:x}'
postmap -q a 'pipemap:{inline:{a=b},inline:{b=c}}'
postmap -q z 'pipemap:{inline:{a=b},inline:{b=c}}'
postmap -q a 'randmap:{x}'
postmap -i 'randmap:{x}' <small
postmap -q a unionmap:x
postmap -q '' static:{}
postmap -q a inline:{a=}
postmap fail:t
postmap -i fail:t <small
postmap -d a fail:t
postmap -s fail:t
postmap sqlite:small
postmap -d a sqlite:/x.cf
postmap -q a sqlite:/nonesuch.cf
postmap proxy:hash:t
postmap -s proxy:hash:t
postmap -q a hash:
postmap -q a nosuch:t
postmap -d a nosuch:t
postmap -s nosuch:t`,

	"message": `
postmap -h -q - 'regexp:{{/^/ HIT}}' <msg
postmap -b -q - 'regexp:{{/^/ HIT}}' <msg
postmap -hb -q - 'regexp:{{/^/ HIT}}' <msg
postmap -hm -q - 'regexp:{{/^/ HIT}}' <msg
postmap -bm -q - 'regexp:{{/^/ HIT}}' <msg
postmap -hbm -q - 'regexp:{{/^/ HIT}}' <msg
postmap -hb -q - 'regexp:{{/^/ HIT}}' <broken
postmap -hb -q - 'pcre:{{/^/ HIT}}' <broken
postmap -Uhb -q - 'pcre:{{/^/ HIT}}' <broken
postmap -uUhb -q - 'pcre:{{/^/ HIT}}' <broken
postmap -hbm -q - 'regexp:{{/none/ HIT}}' <msg
postmap -hbm -q - 'regexp:{{/^/ HIT}}' <empty
postmap -m -q - static:x <small
postmap -h -q - 'regexp:{{/^Sub/ HIT}}' nosuch:x <broken`,

	"alias": `
postalias al
postalias -s al
postmap -s al
postalias -q ROOT al
postalias -fq ROOT al
postalias -q - al <al
postmap -q 'x y' al
postalias -d root al
postalias -i al <al
postalias -ir al <al
postalias -s al
postalias lmdb:al
postalias -s lmdb:al
postalias cdb:al
postalias -q root cdb:al
postalias -f btree:al
postalias -s btree:al
postalias nonesuch
postalias regexp:rules
postalias -s static:t
postalias fail:al`,
}

// Every line does what Postfix does: on standard output, on standard error, in
// the exit status, and in the rows that Debian's programs find in the result.
func TestPostmapLikePostfix(t *testing.T) {
	judges := map[string]string{"postmap": judge(t, "postmap"), "postalias": judge(t, "postalias")}
	wants := map[string]chan []mapResult{}
	for name, script := range mapCases {
		dir, want := mapFolder(t, ""), make(chan []mapResult, 1)
		go func() { want <- askJudge(judges, dir, mapSteps(name, script)) }()
		wants[name] = want
	}
	for name, script := range mapCases {
		t.Run(name, func(t *testing.T) {
			dir := mapFolder(t, "compatibility = postfix\n")
			t.Chdir(dir)
			want := <-wants[name]
			for i, s := range mapSteps(name, script) {
				got := mapResult{outcome: runOurs(t, dir, s)}
				if s.writes {
					got.Rows = rowsOf(judges, dir)
				}
				if diff := cmp.Diff(want[i], got, cmp.AllowUnexported(mapResult{})); diff != "" {
					t.Errorf("%s (-Postfix +ours):\n%s", s.line, diff)
				}
			}
		})
	}
}

// mapStep is a line of a case.
type mapStep struct {
	line   string
	args   []string
	input  string // what is on standard input
	writes bool   // it may change a file
}

var mapReads = regexp.MustCompile(`^\S+ -[a-zA-Z]*[qs]\b|^\S+ .*\b(regexp|pcre|cidr|static|inline|environ|unix|fail|sqlite|texthash|randmap|unionmap|pipemap|proxy|nosuch):`)

func mapSteps(name, script string) (steps []mapStep) {
	for line := range strings.Lines(script[1:]) {
		s := mapStep{line: strings.TrimSpace(line)}
		s.args, s.input = mapWords(s.line)
		s.writes = !strings.HasSuffix(name, ", nothing written") && !mapReads.MatchString(s.line)
		steps = append(steps, s)
	}
	return steps
}

// mapResult is what a line came to.
type mapResult struct {
	outcome
	Rows map[string]string // of every index, after a line that writes
}

// askJudge runs the lines by Postfix. Its programs sleep for a second before
// they die, so lines that only read are run at the same time.
func askJudge(judges map[string]string, dir string, steps []mapStep) []mapResult {
	results := make([]mapResult, len(steps))
	var reading sync.WaitGroup
	for i, s := range steps {
		if !s.writes {
			reading.Go(func() { results[i].outcome = runJudge(judges, dir, s) })
			continue
		}
		reading.Wait()
		results[i] = mapResult{runJudge(judges, dir, s), rowsOf(judges, dir)}
	}
	reading.Wait()
	return results
}

// mapFolder makes a configuration directory with the fixture.
func mapFolder(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	main := "compatibility_level = 3.6\nqueue_directory = " + dir + "\ndata_directory = " + dir + "\n" + more
	for name, text := range fixture {
		put(t, filepath.Join(dir, name), text)
	}
	put(t, filepath.Join(dir, "main.cf"), main)
	return dir
}

// put writes a file of an hour ago. Postfix waits until a main.cf is some
// seconds old: it could still be in the making.
func put(t *testing.T, path, text string) {
	t.Helper()
	hourAgo := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, hourAgo, hourAgo)); err != nil {
		t.Fatal(err)
	}
}

// mapWords cuts a command line at blanks outside single quotes.
func mapWords(line string) (args []string, input string) {
	line, input, _ = strings.Cut(strings.TrimSpace(line), " <")
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args, input
}

// outcome is what a command line shows.
type outcome struct {
	Stdout, Stderr string
	Status         int
}

func runJudge(judges map[string]string, dir string, s mapStep) outcome {
	cmd := exec.Command(judges[s.args[0]], s.args[1:]...)
	cmd.Dir, cmd.Env = dir, []string{"MAIL_CONFIG=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = strings.NewReader(fixture[s.input])
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return outcome{Stderr: err.Error(), Status: -1}
	}
	return normal(outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}, s.args)
}

func runOurs(t *testing.T, dir string, s mapStep) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := commands[s.args[0]](t.Context(), Env{
		Args: s.args, Stdin: strings.NewReader(fixture[s.input]), Stdout: &stdout, Stderr: &stderr, Getenv: mapEnv(dir),
	})
	return normal(outcome{stdout.String(), stderr.String(), status}, s.args)
}

// Differences of form: Postfix names a table now as the user does and now by
// its file, and shows a byte that is not UTF-8 as "?"; a package that might be
// missing is nothing we have; we say what to do when there is no index or no .cf file; postalias
// puts single blanks between addresses.
var mapForm = []struct {
	like *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(table \w+:\w+)\.(db|lmdb|cdb)\b`), "$1"},
	{regexp.MustCompile(`(warning: \w+:\w+)\.(db|lmdb|cdb):`), "$1:"},
	{regexp.MustCompile(`\\x[0-9a-f]{2}`), "?"},
	{regexp.MustCompile(`\. Is the postfix-\w+ package installed\?`), ""},
	{regexp.MustCompile(`\w+: warning: there is no index of .*\n`), ""},
	{regexp.MustCompile(`: this is the file with the parameters of the table: .*`), ""},
	{regexp.MustCompile(` *, +`), ", "},
	{regexp.MustCompile(`(YP_LAST_MODIFIED:?\t).*`), "$1"},
	{regexp.MustCompile(`(YP_MASTER_NAME:?\t).*`), "$1"},
}

// normal takes the differences of form out of an outcome. The order of a dump
// is that of the file, which is not the same in two hash files; with -i, we warn
// of duplicates in the order of the file too.
func normal(o outcome, args []string) outcome {
	for _, form := range mapForm {
		o.Stdout = form.like.ReplaceAllString(o.Stdout, form.with)
		o.Stderr = form.like.ReplaceAllString(o.Stderr, form.with)
	}
	if len(args) > 1 && strings.Trim(args[1], "-Ffrsiw") == "" {
		o.Stdout, o.Stderr = sorted(o.Stdout), sorted(o.Stderr)
	}
	return o
}

func sorted(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// rowsOf lists the rows of all index files in dir as Debian's programs find
// them. A cdb file is shown byte by byte: there is one way to write it.
func rowsOf(judges map[string]string, dir string) map[string]string {
	rows := map[string]string{}
	files, err := os.ReadDir(dir)
	if err != nil {
		return map[string]string{".": err.Error()}
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(dir, file.Name()))
		kind, name := filepath.Ext(file.Name()), strings.TrimSuffix(file.Name(), filepath.Ext(file.Name()))
		switch {
		case kind != ".db" && kind != ".lmdb" && kind != ".cdb":
			continue
		case err != nil:
			rows[file.Name()] = err.Error()
			continue
		case kind == ".cdb" && bytes.Contains(data, []byte("YP_LAST_MODIFIED")):
			rows[file.Name()] = "an alias file"
			continue
		case kind == ".cdb":
			rows[file.Name()] = fmt.Sprintf("%q", data)
			continue
		case kind == ".db" && bytes.HasPrefix(data[12:], []byte{0x62, 0x31, 0x05}):
			kind = ".btree"
		case kind == ".db":
			kind = ".hash"
		}
		o := runJudge(judges, dir, mapStep{args: []string{"postmap", "-s", kind[1:] + ":" + name}})
		rows[file.Name()] = kind + "\n" + o.Stdout + o.Stderr
	}
	return rows
}
