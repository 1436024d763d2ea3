package route_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// steps is a trace with one step a line, places relative to the directory.
func steps(t *testing.T, w *routetest.World, tr *route.Trace) string {
	t.Helper()
	var b strings.Builder
	for _, s := range tr.Steps {
		var line bytes.Buffer
		e := json.NewEncoder(&line)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		b.Write(line.Bytes())
	}
	return strings.ReplaceAll(b.String(), w.Dir, "DIR")
}

func TestTrace(t *testing.T) {
	w := routetest.New(t, `virtual_mailbox_domains = texthash:{dir}/domains
virtual_mailbox_maps = texthash:{dir}/boxes
virtual_mailbox_base = /var/mail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
virtual_alias_maps = texthash:{dir}/aliases
recipient_delimiter = +
-- domains --
mbox.test yes
-- boxes --
jack@mbox.test  jack/
-- aliases --
john@mbox.test  jack, list@mbox.test
list@mbox.test  jack@mbox.test
jack            jack@mbox.test
`)
	ctx := context.Background()
	tr := &route.Trace{}
	list, err := w.Router.Expand(ctx, given(t, "John+x@mbox.test"), tr)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if _, err := w.Router.Resolve(ctx, r.Address, address.Address{}, tr); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Router.VirtualMailbox(ctx, r.Address, tr); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "trace.jsonl", steps(t, w, tr))

	var via []string
	for _, r := range list {
		via = append(via, r.Address.Internal()+" via "+strings.Join(r.Via, ", "))
	}
	want := "jack+x@mbox.test via John+x@mbox.test, jack+x@mx.example.test"
	if got := strings.Join(via, "; "); got != want {
		t.Errorf("Via: %s, want %s", got, want)
	}
}

func TestTraceOfAFailure(t *testing.T) {
	w := routetest.New(t, "virtual_mailbox_domains = fail:broken")
	tr := &route.Trace{}
	if _, err := w.Router.Resolve(context.Background(), address.Split("x@a.test"), address.Address{}, tr); err == nil {
		t.Fatal("no error")
	}
	last := tr.Steps[len(tr.Steps)-1]
	if last.Table != "fail:broken" || last.Error == "" || last.Result != nil || last.Key != "a.test" {
		t.Errorf("last step %+v", last)
	}
	text, err := json.Marshal(last)
	if err != nil || strings.Contains(string(text), `"result"`) {
		t.Errorf("JSON of a failure: %s, %v", text, err)
	}
}

// TestTraceChangesNothing: with and without a trace the answers are the same.
func TestTraceChangesNothing(t *testing.T) {
	w := routetest.New(t, appendixB)
	ctx := context.Background()
	for _, in := range []string{"one+x@alias.test", "copy@mbox.test", "loopa@alias.test", "real@mbox2.test", "john@localhost"} {
		plain := addresses(w.Router.Expand(ctx, given(t, in), nil))
		traced := addresses(w.Router.Expand(ctx, given(t, in), &route.Trace{}))
		if plain != traced {
			t.Errorf("%s: %q, with a trace %q", in, plain, traced)
		}
	}
}
