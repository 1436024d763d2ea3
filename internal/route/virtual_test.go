package route_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

const boxes = `
virtual_mailbox_domains = mbox.test
virtual_mailbox_base = {dir}/mail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5001
recipient_delimiter = +
`

// box shows a mailbox on one line, with % for the base directory.
func box(w *routetest.World, b route.Mailbox, err error) string {
	var d *route.DeliveryError
	if errors.As(err, &d) {
		text := d.Error()
		if d.Temporary {
			text += " (temporary)"
		}
		return text
	}
	if err != nil {
		return "unexpected error: " + err.Error()
	}
	return strings.ReplaceAll(b.Display(), filepath.Join(w.Dir, "mail"), "%")
}

func TestVirtualMailbox(t *testing.T) {
	const configuration = "4.3.5 mail system configuration error (temporary)"
	tests := []struct{ name, main, in, want, log string }{
		{"maildir", "virtual_mailbox_maps = inline:{x@mbox.test=d/x/}", "x@mbox.test", "%/d/x/", ""},
		{"mbox", "virtual_mailbox_maps = inline:{x@mbox.test=d/x}", "x@mbox.test", "%/d/x", ""},
		{"folded", "virtual_mailbox_maps = inline:{x@mbox.test=d/x}", "X@MBOX.test", "%/d/x", ""},
		{"pattern gets the folded address", "virtual_mailbox_maps = pcre:{ {/^x@mbox.test/i box} }", "X@mbox.test", "%/box", ""},
		{"extension is not part of the path", "virtual_mailbox_maps = inline:{x@mbox.test=x/}", "x+e@mbox.test", "%/x/", ""},
		{"unless the table says so", "virtual_mailbox_maps = inline:{x+e@mbox.test=e/, x@mbox.test=x/}", "x+e@mbox.test", "%/e/", ""},
		{"domain", "virtual_mailbox_maps = inline:{@mbox.test=all/}", "who@mbox.test", "%/all/", ""},
		{"base in front of an absolute path", "virtual_mailbox_maps = inline:{x@mbox.test=/abs/x/}", "x@mbox.test", "%/abs/x/", ""},
		{"dots inside", "virtual_mailbox_maps = inline:{x@mbox.test=a/../b/./x/}", "x@mbox.test", "%/b/x/", ""},
		{"base is the root directory", "virtual_mailbox_base = /\nvirtual_mailbox_maps = inline:{x@mbox.test=srv/x/}", "x@mbox.test", "/srv/x/", ""},

		{"leaves the base", "virtual_mailbox_maps = inline:{x@mbox.test=../x/}", "x@mbox.test", configuration, `mailbox "../x/" of x@mbox.test leaves virtual_mailbox_base`},
		{"leaves the base later", "virtual_mailbox_maps = inline:{x@mbox.test=a/../../mail2/x}", "x@mbox.test", configuration, "leaves virtual_mailbox_base"},
		{"is the base", "virtual_mailbox_maps = inline:{x@mbox.test=./}", "x@mbox.test", configuration, "leaves virtual_mailbox_base"},
		{"unknown", "virtual_mailbox_maps = inline:{x@mbox.test=x/}", "Y@mbox.test", `5.1.1 unknown user: "y@mbox.test"`, ""},
		{"table fails", "virtual_mailbox_maps = fail:x", "x@mbox.test", configuration, "virtual_mailbox_maps lookup failure"},
		{"base is relative", "virtual_mailbox_base = mail\nvirtual_mailbox_maps = inline:{x@mbox.test=x/}", "x@mbox.test", configuration, `virtual_mailbox_base = "mail": need an absolute path`},
		{"substitution is refused", `virtual_mailbox_maps = regexp:{ {/^(.*)@mbox.test$$/ $$1/} }`, "x@mbox.test", `5.1.1 unknown user: "x@mbox.test"`, ""},

		{"no uid table", "virtual_uid_maps =\nvirtual_mailbox_maps = static:x/", "x@mbox.test", configuration, "recipient x@mbox.test: not found in virtual_uid_maps"},
		{"uid not found", "virtual_uid_maps = inline:{y@mbox.test=5000}\nvirtual_mailbox_maps = static:x/", "x@mbox.test", configuration, "not found in virtual_uid_maps"},
		{"uid below the minimum", "virtual_uid_maps = static:99\nvirtual_mailbox_maps = static:x/", "x@mbox.test", configuration, "recipient x@mbox.test: bad uid 99 in virtual_uid_maps"},
		{"uid at the minimum", "virtual_uid_maps = static:100\nvirtual_mailbox_maps = static:x/", "x@mbox.test", "%/x/", ""},
		{"another minimum", "virtual_minimum_uid = 50\nvirtual_uid_maps = static:50\nvirtual_mailbox_maps = static:x/", "x@mbox.test", "%/x/", ""},
		{"uid is no number", "virtual_uid_maps = static:mail\nvirtual_mailbox_maps = static:x/", "x@mbox.test", configuration, "bad uid mail in virtual_uid_maps"},
		{"uid is too large", "virtual_uid_maps = static:4294967296\nvirtual_mailbox_maps = static:x/", "x@mbox.test", configuration, "bad uid 4294967296 in virtual_uid_maps"},
		{"uid table fails", "virtual_uid_maps = fail:x\nvirtual_mailbox_maps = static:x/", "x@mbox.test", configuration, "virtual_uid_maps lookup failure"},
		{"gid 0", "virtual_gid_maps = static:0\nvirtual_mailbox_maps = static:x/", "x@mbox.test", configuration, "recipient x@mbox.test: bad gid 0 in virtual_gid_maps"},
		{"gid 1", "virtual_gid_maps = static:1\nvirtual_mailbox_maps = static:x/", "x@mbox.test", "%/x/", ""},
		{"no gid table", "virtual_gid_maps =\nvirtual_mailbox_maps = static:x/", "x@mbox.test", configuration, "not found in virtual_gid_maps"},
		{"gid table fails", "virtual_gid_maps = fail:x\nvirtual_mailbox_maps = static:x/", "x@mbox.test", configuration, "virtual_gid_maps lookup failure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, boxes+tt.main)
			b, err := w.Router.VirtualMailbox(context.Background(), address.Split(tt.in), nil)
			if got := box(w, b, err); got != tt.want {
				t.Errorf("VirtualMailbox(%q) = %s, want %s", tt.in, got, tt.want)
			}
			if !strings.Contains(w.Log.Lines(), tt.log) {
				t.Errorf("log %q lacks %q", w.Log.Lines(), tt.log)
			}
		})
	}
}

// TestMailboxTraced holds that nothing is logged for those who trace: they may ask
// where virtual(8) does not deliver.
func TestMailboxTraced(t *testing.T) {
	w := routetest.New(t, "virtual_mailbox_maps = static:x/\n")
	b, err := w.Router.VirtualMailbox(context.Background(), address.Split("x@mbox.test"), &route.Trace{})
	if got := box(w, b, err); got != "4.3.5 mail system configuration error (temporary)" || w.Log.Lines() != "" {
		t.Errorf("VirtualMailbox() = %s, log %q", got, w.Log.Lines())
	}
}

// TestUpTo holds that a chain ends early, and that the router itself goes on.
func TestUpTo(t *testing.T) {
	w := routetest.New(t, "virtual_alias_maps = inline:{a@mbox.test=b@mbox.test, b@mbox.test=c@mbox.test, c@mbox.test=d@mbox.test}\n")
	given := []route.Recipient{{Address: address.Split("a@mbox.test")}}
	for n, ok := range map[int]bool{2: false, 4: true, 100000: true} {
		if _, err := w.Router.UpTo(n).Expand(context.Background(), given, nil); (err == nil) != ok {
			t.Errorf("up to %d: %v", n, err)
		}
	}
	if _, err := w.Router.Expand(context.Background(), given, nil); err != nil {
		t.Error(err)
	}
}

func TestMailboxOwner(t *testing.T) {
	w := routetest.New(t, boxes+`virtual_mailbox_maps = static:x/
virtual_uid_maps = inline:{x@mbox.test=6000}, static:5000
`)
	for in, uid := range map[string]int{"x@mbox.test": 6000, "x+e@mbox.test": 5000, "y@mbox.test": 5000} {
		b, err := w.Router.VirtualMailbox(context.Background(), address.Split(in), nil)
		if err != nil || b.UID != uid || b.GID != 5001 || b.User != "" || b.Base != filepath.Join(w.Dir, "mail") {
			t.Errorf("%s: %+v, %v, want uid %d", in, b, err, uid)
		}
	}
}

func TestSeveralRows(t *testing.T) {
	// Two rows for one path: a failing table, unless they are to be joined.
	const union = "virtual_mailbox_maps = unionmap:{static:a, static:b}\n"
	w := routetest.New(t, boxes+union+"table_single_value = join")
	b, err := w.Router.VirtualMailbox(context.Background(), address.Split("x@mbox.test"), nil)
	if got := box(w, b, err); got != "%/a,b" {
		t.Errorf("join: %s", got)
	}
}

func TestMailboxFormat(t *testing.T) {
	tests := []struct {
		format, value, dirs string
		maildir             bool
	}{
		{"auto", "x/", "", true},
		{"auto", "x", "", false},
		{"auto", "x/Maildir", "", true},
		{"auto", "Maildir", "", true},
		{"auto", "x/maildir", "", false},
		{"auto", "x", "x/new x/cur x/tmp", true},
		{"auto", "x", "x/new x/cur", false},
		{"slash", "x/", "", true},
		{"slash", "x/Maildir", "", false},
		{"slash", "x", "x/new x/cur x/tmp", false},
	}
	for _, tt := range tests {
		w := routetest.New(t, boxes+"virtual_mailbox_maps = static:"+tt.value+"\nvirtual_mailbox_format = "+tt.format)
		for _, dir := range strings.Fields(tt.dirs) {
			if err := os.MkdirAll(filepath.Join(w.Dir, "mail", dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		b, err := w.Router.VirtualMailbox(context.Background(), address.Split("x@mbox.test"), nil)
		if err != nil || (b.Format == route.Maildir) != tt.maildir {
			t.Errorf("%s %q with %q: %+v, %v", tt.format, tt.value, tt.dirs, b, err)
		}
	}
}

// TestMailboxFormatAsked: where the process may not look, somebody else does.
func TestMailboxFormatAsked(t *testing.T) {
	w := routetest.New(t, boxes+"virtual_mailbox_maps = inline:{x@mbox.test=secret/x, y@mbox.test=y, z@mbox.test=z/}\nvirtual_mailbox_format = auto")
	var asked []string
	r, err := route.New(context.Background(), route.Options{Settings: w.Settings, Opener: w.Opener, Users: w.Users, Log: w.Log,
		IsMaildir: func(path string) bool {
			asked = append(asked, path)
			return filepath.Base(path) == "x"
		}})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]route.Format{"x@mbox.test": route.Maildir, "y@mbox.test": route.Mbox, "z@mbox.test": route.Maildir} {
		if b, err := r.VirtualMailbox(context.Background(), address.Split(to), nil); err != nil || b.Format != want {
			t.Errorf("%s: %+v, %v, want format %v", to, b, err, want)
		}
	}
	slices.Sort(asked)
	if want := []string{filepath.Join(w.Dir, "mail/secret/x"), filepath.Join(w.Dir, "mail/y")}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestNoMailboxBase(t *testing.T) {
	w := routetest.New(t, "virtual_mailbox_maps = static:x/\nvirtual_uid_maps = static:5000\nvirtual_gid_maps = static:5000")
	b, err := w.Router.VirtualMailbox(context.Background(), address.Split("x@mbox.test"), nil)
	if got, want := box(w, b, err), "4.3.5 mail system configuration error (temporary)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
