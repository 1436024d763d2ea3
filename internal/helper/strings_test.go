package helper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/route"
)

// TestNames: what becomes part of a file name or of a header is what it says, or
// the request is not taken.
func TestNames(t *testing.T) {
	for id, want := range map[string]bool{
		"0123456789AB": true, "1234567890ABCDEF": true,
		"": false, "1": false, "0123456789ab": false, "0123456789AB/../x": false, "../../../../": false, "0123456789A\x00": false,
		"01234567890ABCDEF": false, "00123456789AB": false,
	} {
		f := fields{b: appendString(nil, id)}
		if got := f.queueID(); (f.end() == nil) != want || want && got != id {
			t.Errorf("queue id %q: %q, %v; want it taken: %v", id, got, f.end(), want)
		}
	}
	for name, want := range map[string]bool{
		"mx.example": true, "": true, "mx/1:2": true, strings.Repeat("x", 255): true,
		"mx\n": false, "mx\x00": false, "mx\x7f": false, strings.Repeat("x", 256): false,
	} {
		f := fields{b: appendString(nil, name)}
		if got := f.hostname(); (f.end() == nil) != want || want && got != name {
			t.Errorf("host name %q: %q, %v; want it taken: %v", name, got, f.end(), want)
		}
	}
	for header, want := range map[string]bool{
		"": true, "Delivered-To: a@example.org\n": true, "Return-Path: <>\nDelivered-To: a:b\n": true,
		"Delivered-To: a": false, "\n": false, "Delivered-To: a\n\ntext\n": false, "Delivered-To: a\nFrom x Mon: 1\n": false,
		"Delivered-To: a\n b: c\n": false, ": x\n": false, "text\n": false, "A\x00: b\n": false, "A\r: b\n": false,
	} {
		f := fields{b: appendString(nil, header)}
		if got := string(f.header()); (f.end() == nil) != want || want && got != header {
			t.Errorf("header %q: %q, %v; want it taken: %v", header, got, f.end(), want)
		}
	}
}

// TestOutOfTheBase: a queue id is no way out of virtual_mailbox_base.
func TestOutOfTheBase(t *testing.T) {
	base, outside := home(t), home(t)
	c := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}})
	victim := filepath.Join(outside, "xR3.mx.example")
	uid, gid := somebody()
	write(t, victim, "mail that was delivered", uid, gid)
	way := filepath.Join(base, "john/tmp/1716730000.Qa") // the directory that the name would begin with
	for _, dir := range []string{base + "/john", base + "/john/new", base + "/john/cur", base + "/john/tmp", way} {
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, gid)); err != nil {
			t.Fatal(err)
		}
	}
	up, err := filepath.Rel(way, outside)
	if err != nil {
		t.Fatal(err)
	}
	m := message("text\n")
	m.ID, m.Arrival = "a/"+up+"/x", time.Unix(1716730000, 0)
	b := box(base, "john", route.Maildir)
	if _, err := c.Store(options()).Deliver(t.Context(), b, m); err == nil {
		t.Error("Deliver by way of the helper worked")
	}
	direct := mailbox.New(mailbox.Options{As: privsep.New(), Hostname: "mx.example"})
	if _, err := direct.Deliver(t.Context(), b, m); err == nil || !strings.Contains(err.Error(), "is no part of a file name") {
		t.Errorf("Deliver = %v, want a refusal of the queue id", err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "mail that was delivered" {
		t.Errorf("the file outside: %q, %v", text, err)
	}
}
