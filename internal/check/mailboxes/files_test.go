package mailboxes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"postern/internal/address"
	"postern/internal/finding"
	"postern/internal/table"
)

func TestFlawOf(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"there", "box/new", "box/cur", "box/tmp"} {
		check(t, os.MkdirAll(base+"/"+dir, 0o700))
	}
	for _, c := range []struct {
		value string
		want  flaw
		cured bool
	}{
		{"example.org/john/", sound, false},
		{"example.org/john/Maildir/", sound, false},
		{"/example.org/john/", sound, false},
		{"example.org/john", sound, false},
		{"example.org/john/Maildir", noSlash, true},
		{"Maildir", noSlash, true},
		{"example.org/john/maildir", noSlash, false},
		{"example.org/john/.Maildir", noSlash, false},
		{"1", noPath, false},
		{"OK", noPath, false},
		{"ok", noPath, false},
		{"11", sound, false},
		{"../john/", upwards, false},
		{"example.org/../john/", upwards, false},
		{"example.org/..john/", sound, false},
		{base + "/example.org/john/", twice, false},
		{base, twice, false},
		{strings.TrimPrefix(base, "/") + "/example.org/john/", twice, false},
		{base + "x/john/", sound, false},
		{"there", directory, false},
		{"there/", sound, false},
		{"box", directory, true},
		{"", sound, false},
		{"/", sound, false},
	} {
		got := flawOf(c.value, base)
		if got != c.want {
			t.Errorf("flawOf(%q) = %v, want %v", c.value, got, c.want)
		}
		if cured(got, c.value, base) != c.cured {
			t.Errorf("cured(%q) = %v, want %v", c.value, !c.cured, c.cured)
		}
	}
}

func TestRepeatedEndOfBase(t *testing.T) {
	base := t.TempDir() + "/vmail"
	check(t, os.MkdirAll(base+"/box", 0o700))
	if got := flawOf("vmail/example.org/john/", base); got != twice {
		t.Errorf("the last directory of the base again: %v", got)
	}
	if got := flawOf("vmail", base); got != sound {
		t.Errorf("a user called as the base: %v", got)
	}
	check(t, os.Mkdir(base+"/vmail", 0o700))
	if got := flawOf("vmail/example.org/john/", base); got != sound {
		t.Errorf("a directory of that name is there: %v", got)
	}
	p := newPaths(base, true, nil)
	for value, want := range map[string]string{base + "/a/b/": "a/b/", "vmail/a/b": "a/b", "a/b/": "a/b/"} {
		if got := p.shorter(value); got != want {
			t.Errorf("shorter(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestRootAsBase(t *testing.T) {
	for _, value := range []string{"/var/vmail/john/", "var/vmail/john/"} {
		if got := flawOf(value, "/"); got != sound {
			t.Errorf("flawOf(%q, /) = %v", value, got)
		}
	}
}

func TestPaths(t *testing.T) {
	const slash = "virtual_mailbox_format = slash\n"
	for _, c := range []struct {
		name, more, boxes string
		want              []string
	}{
		{"no slash, as Postfix", slash, "a@example.org example.org/a/Maildir\nb@example.org example.org/b/Maildir/\n", []string{"VD401 error mailboxes:1"}},
		{"no slash, cured", "", "a@example.org example.org/a/Maildir\n", []string{"VD401 warning mailboxes:1"}},
		{"compatibility", "compatibility = postfix\n", "a@example.org example.org/a/Maildir\n", []string{"VD401 error mailboxes:1"}},
		{"base twice", "", "a@example.org {dir}/vmail/example.org/a/\n", []string{"VD401 error mailboxes:1"}},
		{"base twice without slash", "", "a@example.org example.org/a/\nb@example.org vmail/example.org/b/\n", []string{"VD401 error mailboxes:2"}},
		{"upwards", "", "a@example.org ../a/\n", []string{"VD401 error mailboxes:1"}},
		{"one", "", "a@example.org 1\nb@example.org OK\n", []string{"VD401 error mailboxes:1"}},
		{"two users", "", "a@example.org x/\nb@example.org y/\nc@example.org x\n", []string{"VD401 error mailboxes:1"}},
		{"two causes", slash, "a@example.org x/Maildir\nb@example.org ../b/\n", []string{"VD401 error mailboxes:1", "VD401 error mailboxes:2"}},
		{"extension of one user", "recipient_delimiter = +\n", "a@example.org x/\na+list@example.org x/\n", nil},
		{"two forms of one domain", "virtual_mailbox_domains = m\u00fcller.example, xn--mller-kva.example\n", "a@m\u00fcller.example x/\na@xn--mller-kva.example x/\n", nil},
		{"two users of two forms", "virtual_mailbox_domains = m\u00fcller.example, xn--mller-kva.example\n", "a@m\u00fcller.example x/\nb@xn--mller-kva.example x/\n", []string{"VD401 error mailboxes:1"}},
		{"catch-all to a user", "", "a@example.org x/\n@example.org x/\n", nil},
		{"plain mbox", "", "a@example.org a\n", nil},
		{"row that never answers", "", "a@example.org x/\na@example.org ../y/\n", nil},
		{"another transport", "virtual_transport = discard\n", "a@example.org 1\nb@example.org x/Maildir\n", nil},
		{"another transport for the domain", "transport_maps = inline:{example.org=discard:}\n", "a@example.org 1\n", nil},
		{"pattern", slash + "virtual_mailbox_maps = regexp:{dir}/pattern\n", "", []string{"VD401 error pattern:2", "VD208 error pattern:1"}},
		{"pattern for an LMTP server", "virtual_mailbox_maps = regexp:{dir}/pattern\nvirtual_transport = discard:\n", "", nil},
		{"in main.cf", "virtual_mailbox_maps = inline:{{a@example.org = {dir}/vmail/a/}}\n", "", []string{"VD401 error main.cf:11"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.write("pattern", "/^(.*)@example.org$/ example.org/$1/Maildir\n/^all@example.org$/ all$$/Maildir\n")
			want(t, c.name, w.examine(room(), w.open(c.more, c.boxes)), c.want...)
		})
	}
}

// TestRuleOfAnAddress says of an address that the pattern that accepts it is left out
// when mail is delivered.
func TestRuleOfAnAddress(t *testing.T) {
	w := newWorld(t)
	w.write("pattern", "/^a@/ a/\n/^(b+)@/ $1/\n/^(c)@/ ${1}/\n")
	i := w.open("virtual_mailbox_maps = pcre:{dir}/pattern\n", "")
	want(t, "all", w.examine(room(), i), "VD208 error pattern:2", "VD208 error pattern:3")
	want(t, "a", w.address(room(), i, "a@example.org"))
	want(t, "b", w.address(room(), i, "b@example.org"), "VD208 error pattern:2")
	want(t, "unknown", w.address(room(), i, "d@example.org"))
}

func TestManyRowsShareAFinding(t *testing.T) {
	w := newWorld(t)
	var boxes strings.Builder
	for n := range 50 {
		boxes.WriteString("u" + strings.Repeat("x", n) + "@example.org 1\n")
	}
	got := w.examine(room(), w.open("", boxes.String()))
	want(t, "50 rows", got, "VD401 error mailboxes:1")
	if len(got) == 1 && (len(got[0].At) != finding.MaxPlaces || !strings.Contains(got[0].Message, "50 rows")) {
		t.Errorf("%d places, message %q", len(got[0].At), got[0].Message)
	}
}

func TestManyFlawsShareFindings(t *testing.T) {
	w := newWorld(t)
	var boxes, uids strings.Builder
	for n := range 40 {
		fmt.Fprintf(&boxes, "a%d@example.org box%d/\nb%d@example.org box%d/\nc%d@example.org c%d/\n", n, n, n, n, n, n)
		fmt.Fprintf(&uids, "c%d@example.org 0\n@example.org {uid}\n", n)
		w.mkdir(fmt.Sprintf("vmail/box%d", n), 0o555)
		w.own(fmt.Sprintf("vmail/box%d", n))
	}
	w.write("uids", uids.String())
	got := w.examine(room(), w.open("virtual_uid_maps = texthash:{dir}/uids\n", boxes.String()))
	codes := map[string]int{}
	for _, f := range got {
		codes[f.Code]++
	}
	if codes["VD401"] != 1 || codes["VD402"] > finding.MaxPlaces+2 || len(codes) != 2 {
		t.Errorf("findings: %v", codes)
	}
}

func TestOwners(t *testing.T) {
	for _, c := range []struct {
		name, more string
		want       []string
		message    string
	}{
		{"both unset", "virtual_uid_maps =\nvirtual_gid_maps =\n", []string{"VD402 error main.cf:11"}, "virtual_uid_maps and virtual_gid_maps are not set"},
		{"gid unset", "virtual_gid_maps =\n", []string{"VD402 error main.cf:11"}, "virtual_gid_maps is not set"},
		{"root", "virtual_uid_maps = static:0\n", []string{"VD402 error main.cf:11"}, `says "0"`},
		{"group of root", "virtual_gid_maps = static:0\n", []string{"VD402 error main.cf:11"}, `says "0"`},
		{"too small", "virtual_minimum_uid = 99999\n", []string{"VD402 error main.cf:9"}, "virtual_minimum_uid = 99999"},
		{"no number", "virtual_uid_maps = static:vmail\n", []string{"VD402 error main.cf:11"}, `"vmail"`},
		{"no row", "virtual_uid_maps = inline:{b@example.org={uid}}\n", []string{"VD402 error main.cf:11"}, "a@example.org not found in virtual_uid_maps"},
		{"row", "virtual_uid_maps = texthash:{dir}/uids\n", []string{"VD402 error uids:1"}, "a@example.org"},
		{"table that fails", "virtual_uid_maps = texthash:{dir}/absent\n", nil, ""},
		{"sound", "", nil, ""},
		{"digits in front", "virtual_gid_maps = static:{gid}x\n", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.write("uids", "a@example.org 7\nb@example.org {uid}\n")
			i := w.open(c.more, "a@example.org a/\nb@example.org b/\n")
			got := w.examine(room(), i)
			want(t, "Examine", got, c.want...)
			want(t, "Address", w.address(room(), i, "a@example.org"), c.want...)
			if len(got) > 0 && !strings.Contains(got[0].Message, c.message) {
				t.Errorf("message %q, want %q in it", got[0].Message, c.message)
			}
		})
	}
}

func TestUnsetOwnersWithoutRows(t *testing.T) {
	w := newWorld(t)
	got := w.examine(room(), w.open("virtual_uid_maps =\nvirtual_mailbox_maps = static:x/\n", ""))
	want(t, "static mailboxes", got, "VD402 error main.cf:11")
	got = w.examine(room(), w.open("virtual_uid_maps =\nvirtual_mailbox_maps =\nvirtual_mailbox_domains =\n", ""))
	want(t, "no virtual domains", got)
}

func TestAddressLooksAtItsOwnMailboxOnly(t *testing.T) {
	w := newWorld(t)
	i := w.open("", "a@example.org a/\nb@example.org ../b/\nc@example.org x/\nd@example.org x/\n")
	want(t, "sound", w.address(room(), i, "a@example.org"))
	want(t, "upwards", w.address(room(), i, "b@example.org"), "VD401 error mailboxes:2")
	want(t, "shared", w.address(room(), i, "d@example.org"), "VD401 error mailboxes:3")
	want(t, "unknown", w.address(room(), i, "nobody@example.org"))
	want(t, "foreign", w.address(room(), i, "a@elsewhere.example"))
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"", "1", "a/b/", "../x", "/var/vmail/a/", "vmail/a", "Maildir", "a\x00b", strings.Repeat("/", 99)} {
		f.Add(s, "/var/vmail")
	}
	f.Fuzz(func(t *testing.T, value, base string) {
		why := flawOf(value, base)
		p := newPaths(base, true, func(a address.Address) address.Address { return a })
		r := row{key: "a@example.org", from: &table.Entry{Places: table.Place{File: "boxes", Line: 1}}, value: value, addr: address.Address{Local: "a", Domain: "example.org"}}
		if p.look(r) != (why == sound) {
			t.Errorf("look and flawOf(%q, %q) disagree", value, base)
		}
		for _, found := range p.findings() {
			if found.Message == "" || found.Fix == "" {
				t.Errorf("incomplete: %+v", found)
			}
		}
	})
}

// TestMinimumIsMet: the number that is proposed is one that virtual(8) takes.
func TestMinimumIsMet(t *testing.T) {
	w := newWorld(t)
	i := w.open("virtual_minimum_uid = 70000\nvirtual_uid_maps = static:5000\n", "a@example.org a/\n")
	for _, f := range w.examine(room(), i) {
		if f.Code == "VD402" && strings.Contains(f.Fix, "virtual_uid_maps = static:70000") {
			return
		}
	}
	t.Error("no VD402 with that number")
}
