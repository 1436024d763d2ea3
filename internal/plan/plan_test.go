package plan_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/plan"
	"postern/internal/setup"
)

// mainCF is a configuration with text tables in its own directory.
const mainCF = `compatibility_level = 3.6
myhostname = mail.host.test
mydestination = localhost
virtual_mailbox_domains = texthash:{dir}/domains
virtual_mailbox_maps = texthash:{dir}/boxes
virtual_alias_domains =
virtual_alias_maps = texthash:{dir}/virtual
virtual_mailbox_base = /var/vmail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
recipient_delimiter = +
`

// files are those of a configuration.
type files map[string]string

func sound() files {
	return files{
		"main.cf": mainCF,
		"domains": "one.test yes\ntwo.test yes\n",
		"boxes":   "ann@one.test ann/\nbob@one.test bob/\nann@two.test two/ann/\n",
		"virtual": "sales@one.test ann@one.test\nall@one.test sales@one.test, bob@one.test\npostmaster@one.test ann@one.test\n" +
			"abuse@one.test ann@one.test\npostmaster@two.test ann@two.test\nabuse@two.test ann@two.test\n",
	}
}

// with returns the files with one of them changed.
func (f files) with(name, old, text string) files {
	out := files{}
	for k, v := range f {
		out[k] = v
	}
	if !strings.Contains(out[name], old) {
		panic("no " + old + " in " + name)
	}
	out[name] = strings.Replace(out[name], old, text, 1)
	return out
}

func (f files) open(t testing.TB, o setup.Options) *setup.Setup {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "{dir}", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := setup.Open(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func compare(t testing.TB, before, after *setup.Setup, o plan.Options) *plan.Result {
	t.Helper()
	r, err := plan.Compare(context.Background(), before, after, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// brief is a change as one line.
func brief(c plan.Change) string {
	fate := func(f plan.Fate) string {
		var to []string
		for _, r := range f.Recipients {
			to = append(to, r.Address+"/"+r.Transport+"/"+r.Mailbox)
		}
		return fmt.Sprintf("%d %s", f.Reply.Code, strings.Join(to, " "))
	}
	old := ""
	if c.InOld {
		old = " before"
	}
	return fmt.Sprintf("%s: %s => %s by %v%s", c.Address, fate(c.Before), fate(c.After), c.Cause, old)
}

func TestChanges(t *testing.T) {
	tests := []struct {
		name  string
		after files
		want  []string
	}{
		{"nothing", sound(), nil},
		{"a comment", sound().with("virtual", "sales", "# a comment\nsales"), nil},
		{"a row redirects", sound().with("virtual", "sales@one.test ann@one.test", "sales@one.test bob@one.test"), []string{
			"all@one.test: 250 ann@one.test/virtual//var/vmail/ann/ bob@one.test/virtual//var/vmail/bob/ => 250 bob@one.test/virtual//var/vmail/bob/ by virtual:1",
			"sales@one.test: 250 ann@one.test/virtual//var/vmail/ann/ => 250 bob@one.test/virtual//var/vmail/bob/ by virtual:1",
		}},
		{"a mailbox goes", sound().with("boxes", "bob@one.test bob/\n", ""), []string{
			"all@one.test: 250 ann@one.test/virtual//var/vmail/ann/ bob@one.test/virtual//var/vmail/bob/ => 250 ann@one.test/virtual//var/vmail/ann/ bob@one.test/virtual/ by boxes:2 before",
			"bob@one.test: 250 bob@one.test/virtual//var/vmail/bob/ => 550  by boxes:2 before",
		}},
		{"a catch-all comes", sound().with("virtual", "sales@one.test", "@two.test bob@one.test\nsales@one.test"), []string{
			"any-other-address@two.test: 550  => 250 bob@one.test/virtual//var/vmail/bob/ by virtual:1",
		}},
		{"a domain goes", sound().with("domains", "two.test yes\n", ""), []string{
			"abuse@two.test: 250 ann@two.test/virtual//var/vmail/two/ann/ => 454  by domains:2 before",
			"ann@two.test: 250 ann@two.test/virtual//var/vmail/two/ann/ => 454  by domains:2 before",
			"any-other-address@two.test: 550  => 454  by domains:2 before",
			"postmaster@two.test: 250 ann@two.test/virtual//var/vmail/two/ann/ => 454  by domains:2 before",
		}},
		{"the base moves", sound().with("main.cf", "/var/vmail", "/srv/vmail").with("boxes", "ann@one.test ann/\nbob@one.test bob/\n", "").with("virtual", "sales@one.test ann@one.test\nall@one.test sales@one.test, bob@one.test\npostmaster@one.test ann@one.test\nabuse@one.test ann@one.test\n", ""), nil},
		{"another transport", sound().with("main.cf", "recipient_delimiter", "virtual_transport = lmtp:inet:127.0.0.1:1\nrecipient_delimiter"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := sound()
			switch tt.name { // a parameter concerns everybody: fewer addresses are enough
			case "the base moves", "another transport":
				less := func(f files) files {
					f["boxes"], f["virtual"] = "ann@two.test two/ann/\n", ""
					return f
				}
				before, tt.after = less(before), less(tt.after)
			}
			switch tt.name {
			case "the base moves":
				tt.want = []string{"ann@two.test: 250 ann@two.test/virtual//var/vmail/two/ann/ => 250 ann@two.test/virtual//srv/vmail/two/ann/ by main.cf:8"}
			case "another transport":
				tt.want = []string{"ann@two.test: 250 ann@two.test/virtual//var/vmail/two/ann/ => 250 ann@two.test/lmtp/ by main.cf:11"}
			}
			r := compare(t, before.open(t, setup.Options{}), tt.after.open(t, setup.Options{}), plan.Options{})
			var got []string
			for _, c := range r.Changes {
				got = append(got, brief(c))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if r.Summary.Changed != len(r.Changes) || r.Summary.Addresses < len(r.Changes) {
				t.Errorf("summary %+v of %d changes", r.Summary, len(r.Changes))
			}
		})
	}
}

// TestBelow compares two directories in which paths lie: that these have the names of
// their directories is no change and no cause.
func TestBelow(t *testing.T) {
	before := sound().with("main.cf", "/var/vmail", "{dir}/vmail").with("main.cf", "recipient_delimiter",
		"transport_maps = texthash:{dir}/transport\nalias_maps = texthash:{dir}/aliases\nrecipient_delimiter")
	before["transport"] = "two.test lmtp:unix:{dir}/lmtp\n"
	before["aliases"] = "team: ann@one.test, \"|{dir}/filter\", {dir}/archive\n"
	before["master.cf"] = "smtp inet n - n - - smtpd\nvirtual unix - n n - - virtual\nlocal unix - n n - - local\nlmtp unix - - n - - lmtp\nfilter unix - n n - - pipe user=nobody argv={dir}/filter\n"
	sized := before.with("main.cf", "recipient_delimiter", "message_size_limit = 2000000\nrecipient_delimiter")
	for _, tt := range []struct {
		name  string
		after files
		want  []string
	}{
		{"nothing", before, nil},
		{"a parameter of no address", sized, nil},
		{"a row too", sized.with("boxes", "bob/", "other/"), []string{"all@one.test by boxes:2", "bob@one.test by boxes:2"}},
		{"a socket too", sized.with("transport", "/lmtp", "/other"),
			[]string{"abuse@two.test by transport:1", "ann@two.test by transport:1", "postmaster@two.test by transport:1"}},
		{"a base too", sized.with("main.cf", "{dir}/vmail", "{dir}/mail"), []string{"abuse@one.test by main.cf:8", "all@one.test by main.cf:8", "ann@one.test by main.cf:8",
			"bob@one.test by main.cf:8", "postmaster@one.test by main.cf:8", "sales@one.test by main.cf:8", "team@localhost by main.cf:8"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := compare(t, before.open(t, setup.Options{}), tt.after.open(t, setup.Options{}), plan.Options{})
			var got []string
			for _, c := range r.Changes {
				got = append(got, fmt.Sprintf("%s by %v", c.Address, c.Cause))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAccessRow: a row of an access table is the cause, whatever else has changed.
func TestAccessRow(t *testing.T) {
	for _, restrictions := range []string{"smtpd_recipient_restrictions = check_recipient_access", "smtpd_relay_restrictions = reject_unauth_destination, check_recipient_access"} {
		before := sound().with("main.cf", "recipient_delimiter", restrictions+" texthash:{dir}/acc\nrecipient_delimiter")
		before["acc"] = "joe@one.test REJECT\n"
		after := before.with("main.cf", "recipient_delimiter", "mail_name = Other\nrecipient_delimiter").
			with("acc", "joe", "bob@one.test REJECT\njoe")
		r := compare(t, before.open(t, setup.Options{}), after.open(t, setup.Options{}), plan.Options{})
		if len(r.Changes) != 1 || r.Changes[0].Address != "bob@one.test" || r.Changes[0].Cause.String() != "acc:1" {
			t.Errorf("%s: changes %+v", restrictions, r.Changes)
		}
		r = compare(t, after.open(t, setup.Options{}), before.open(t, setup.Options{}), plan.Options{})
		if len(r.Changes) != 1 || r.Changes[0].Cause.String() != "acc:1" || !r.Changes[0].InOld {
			t.Errorf("%s: the row goes: changes %+v", restrictions, r.Changes)
		}
	}
}

// TestReplace is one directory with a file replaced.
func TestReplace(t *testing.T) {
	before := sound().open(t, setup.Options{})
	other := filepath.Join(t.TempDir(), "new")
	if err := os.WriteFile(other, []byte("ann@one.test elsewhere/\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	after, err := setup.Open(context.Background(), before.Dir, setup.Options{Replace: map[string]string{before.Dir + "/boxes": other}})
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	r := compare(t, before, after, plan.Options{})
	i := slices.IndexFunc(r.Changes, func(c plan.Change) bool { return c.Address == "ann@one.test" })
	if i < 0 || r.Changes[i].Cause.File != other || r.Changes[i].After.Recipients[0].Mailbox != "/var/vmail/elsewhere/" {
		t.Errorf("changes %+v", r.Changes)
	}
}

// TestDraft: that nobody has run postmap on a draft is no finding, and that the index
// of the file it replaces is old is not cured by it.
func TestDraft(t *testing.T) {
	config := sound().with("main.cf", "texthash:{dir}/boxes", "hash:{dir}/boxes")
	before := config.open(t, setup.Options{})
	draft := filepath.Join(before.Dir, "boxes.new")
	text, err := os.ReadFile(filepath.Join(before.Dir, "boxes"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(draft, text, 0o644); err != nil {
		t.Fatal(err)
	}
	after, err := setup.Open(context.Background(), before.Dir, setup.Options{Replace: map[string]string{before.Dir + "/boxes": draft}})
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if r := compare(t, before, after, plan.Options{}); len(r.Changes)+len(r.New)+len(r.Cured) > 0 {
		t.Errorf("changes %v, new %v, cured %v", r.Changes, r.New, r.Cured)
	}
}

// TestFindings compares findings whose lines have moved.
func TestFindings(t *testing.T) {
	loop := sound().with("virtual", "sales@one.test ann@one.test", "sales@one.test all@one.test")
	moved := loop.with("virtual", "sales", "# moved\n\nsales")
	has := func(r *plan.Result) (added, cured bool) {
		for _, f := range r.New {
			added = added || f.Code == "VD207"
		}
		for _, f := range r.Cured {
			cured = cured || f.Code == "VD207"
		}
		return added, cured
	}
	for _, tt := range []struct {
		name          string
		before, after files
		added, cured  bool
	}{
		{"new", sound(), loop, true, false},
		{"cured", loop, sound(), false, true},
		{"moved", loop, moved, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := compare(t, tt.before.open(t, setup.Options{}), tt.after.open(t, setup.Options{}), plan.Options{})
			if added, cured := has(r); added != tt.added || cured != tt.cured {
				t.Errorf("new %v, cured %v", r.New, r.Cured)
			}
		})
	}
}

// TestBroken is a configuration in which nobody can be followed: findings only.
func TestBroken(t *testing.T) {
	broken := sound().with("main.cf", "recipient_delimiter = +", "default_process_limit = many")
	after := broken.open(t, setup.Options{})
	if after.Policy != nil {
		t.Skip("this configuration can be followed all the same")
	}
	r := compare(t, sound().open(t, setup.Options{}), after, plan.Options{})
	if len(r.New) == 0 || r.Summary.Addresses != 0 {
		t.Errorf("result %+v", r)
	}
}

// TestMore takes addresses that no table names.
func TestMore(t *testing.T) {
	r := compare(t, sound().open(t, setup.Options{}), sound().with("virtual", "sales@one.test ann@one.test", "sales@one.test bob@one.test").open(t, setup.Options{}),
		plan.Options{Addresses: []string{"Sales+x@one.test", "who@far.example"}})
	var got []string
	for _, c := range r.Changes {
		got = append(got, c.Address)
	}
	if want := []string{"all@one.test", "sales+x@one.test", "sales@one.test"}; !slices.Equal(got, want) {
		t.Errorf("changed %q, want %q", got, want)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := sound().open(t, setup.Options{})
	if _, err := plan.Compare(ctx, s, s, plan.Options{}); err == nil {
		t.Error("a comparison that was cancelled has no error")
	}
}

func TestPrint(t *testing.T) {
	var b bytes.Buffer
	r := compare(t, sound().open(t, setup.Options{}), sound().with("virtual", "sales@one.test ann@one.test", "sales@one.test bob@one.test").open(t, setup.Options{}), plan.Options{})
	r.Unfinished = []string{"names"}
	r.Print(&b, false)
	for _, want := range []string{"virtual:1  sales@one.test bob@one.test\n   redirects 2 addresses:\n      all@one.test\n", "now 250 bob@one.test by virtual to /var/vmail/bob/",
		"not examined to the end: names", "2 of 1"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	r = compare(t, sound().open(t, setup.Options{}), sound().open(t, setup.Options{}), plan.Options{})
	r.Print(&b, false)
	if !strings.HasPrefix(b.String(), "nothing changes for ") {
		t.Errorf("printed %q", b.String())
	}
}

func TestReadAddresses(t *testing.T) {
	in := "# people\nann@one.test\n <bob@one.test>, # a comment\nnobody\n\nann@one.test\nDec 1 mx postfix/smtp[1]: 4B: to=<c@x.test>, orig_to=<d@x.test>, relay=x\nto=<open\nto=<>\n"
	got, err := plan.ReadAddresses(strings.NewReader(in))
	if want := []string{"ann@one.test", "bob@one.test", "c@x.test", "d@x.test"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("ReadAddresses = %q, %v, want %q", got, err, want)
	}
	if _, err := plan.ReadAddresses(strings.NewReader(strings.Repeat("x", 2<<20))); err == nil {
		t.Error("an endless line is no error")
	}
}

func FuzzReadAddresses(f *testing.F) {
	for _, s := range []string{"a@b\n", "to=<a@b>, orig_to=<c@d>", "to=<", "# x", "<a@b>;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		list, err := plan.ReadAddresses(strings.NewReader(in))
		if err != nil {
			return
		}
		for _, a := range list {
			if !strings.Contains(a, "@") || strings.Contains(a, "\n") {
				t.Errorf("ReadAddresses(%q) has %q", in, a)
			}
		}
	})
}

// TestDraftsOfAll: a file of each kind that is read stands in the place of another, and
// is the cause.
func TestDraftsOfAll(t *testing.T) {
	base := sound().with("main.cf", "virtual_alias_domains =", "virtual_alias_domains = {dir}/more\nalias_maps = texthash:{dir}/aliases")
	base["more"] = "old.test\n"
	base["aliases"] = "team: :include:{dir}/team\nann: /dev/null\n"
	base["team"] = "ann@one.test\n"
	for _, tt := range []struct{ file, draft, address, cause string }{
		{"more", "old.test\nnew.test\n", "any-other-address@new.test", "draft:2"},
		{"team", "bob@one.test\n", "team@localhost", "draft"},
		{"boxes", "bob@one.test bob/\nann@two.test two/ann/\n", "sales@one.test", "boxes:1"},
		{"master.cf", "smtp inet n - n - - smtpd\n -o smtpd_recipient_restrictions=reject\nvirtual unix - n n - - virtual\n", "ann@one.test", "master.cf:1"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			config := files{"draft": tt.draft, "master.cf": "smtp inet n - n - - smtpd\nvirtual unix - n n - - virtual\nlocal unix - n n - - local\n"}
			for name, text := range base {
				config[name] = text
			}
			before := config.open(t, setup.Options{})
			for _, dir := range []string{before.Dir, filepath.Dir(before.Dir)} { // the list is read as default_privs
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			after, err := setup.Open(context.Background(), before.Dir, setup.Options{Replace: map[string]string{
				filepath.Join(before.Dir, tt.file): filepath.Join(before.Dir, "draft")}})
			if err != nil {
				t.Fatal(err)
			}
			defer after.Close()
			r := compare(t, before, after, plan.Options{})
			if unread := after.Opener.Replace.Unread(); len(unread) > 0 {
				t.Errorf("not read: %v", unread)
			}
			i := slices.IndexFunc(r.Changes, func(c plan.Change) bool { return c.Address == tt.address })
			if i < 0 {
				t.Fatalf("no change of %s in %+v", tt.address, r.Changes)
			}
			if at := r.Changes[i].Cause.RelativeTo(before.Dir).String(); at != tt.cause {
				t.Errorf("cause %s, want %s", at, tt.cause)
			}
		})
	}
}
