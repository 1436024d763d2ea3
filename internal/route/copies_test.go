package route_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

func TestCopies(t *testing.T) {
	tests := []struct {
		name, main, sender string
		in                 []string
		want               string
	}{
		{"always_bcc", "always_bcc = all@b.test", "s@s.test", []string{"x@a.test", "y@a.test"}, "x@a.test y@a.test all@b.test"},
		{"always_bcc, null sender", "always_bcc = all@b.test", "", []string{"x@a.test"}, "x@a.test all@b.test"},
		{"always_bcc without domain", "always_bcc = all", "", []string{"x@a.test"}, "x@a.test all@mx.example.test"},
		{"always_bcc is aliased", "always_bcc = all@b.test\nvirtual_alias_maps = inline:{all@b.test=z@c.test}", "", []string{"x@a.test"}, "x@a.test z@c.test"},
		{"sender", "sender_bcc_maps = inline:{@s.test=c@b.test}", "s@s.test", []string{"x@a.test"}, "x@a.test c@b.test"},
		{"another sender", "sender_bcc_maps = inline:{@s.test=c@b.test}", "s@t.test", []string{"x@a.test"}, "x@a.test"},
		{"null sender", "sender_bcc_maps = static:c@b.test", "", []string{"x@a.test"}, "x@a.test"},
		{"recipient", "recipient_bcc_maps = inline:{x@a.test=c@b.test}", "s@s.test", []string{"x@a.test", "y@a.test"}, "x@a.test c@b.test y@a.test"},
		{"recipient key is before aliases", "recipient_bcc_maps = inline:{x@a.test=c@b.test, y@a.test=no@b.test}\nvirtual_alias_maps = inline:{x@a.test=y@a.test}", "", []string{"x@a.test"}, "y@a.test c@b.test"},
		{"recipient key is after canonical", "recipient_bcc_maps = inline:{x@a.test=no@b.test, y@a.test=c@b.test}\ncanonical_maps = inline:{x@a.test=y@a.test}", "", []string{"x@a.test"}, "y@a.test c@b.test"},
		{"a copy has no copy", "recipient_bcc_maps = static:c@b.test", "", []string{"x@a.test"}, "x@a.test c@b.test"},
		{"one copy only", "enable_original_recipient = no\nalways_bcc = x@a.test\nsender_bcc_maps = static:X@a.test", "s@s.test", []string{"x@a.test"}, "x@a.test"},
		{"one copy of two tables", "always_bcc = c@b.test\nsender_bcc_maps = static:c@b.test", "s@s.test", []string{"x@a.test"}, "x@a.test c@b.test"},
		{"sender table fails", "sender_bcc_maps = fail:x", "s@s.test", []string{"x@a.test"}, "451 4.3.0 Error: queue file write error"},
		{"recipient table fails", "recipient_bcc_maps = fail:x", "", []string{"x@a.test"}, "451 4.3.0 Error: queue file write error"},
		{"no address", "recipient_bcc_maps = static:a@[b", "", []string{"x@a.test"}, "x@a.test a@[b"},
		{"a copy that loops", "always_bcc = p@b.test\nvirtual_alias_maps = inline:{p@b.test=q@b.test, q@b.test=p@b.test}", "", []string{"x@a.test"}, "451 4.6.0 Alias expansion error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, tt.main)
			list, err := w.Router.ExpandWithSender(context.Background(), address.Split(tt.sender), given(t, tt.in...), nil)
			if got := addresses(list, err); got != tt.want {
				t.Errorf("ExpandWithSender(%q, %q) = %q, want %q", tt.sender, tt.in, got, tt.want)
			}
		})
	}
	t.Run("nobody asked for news of a copy", func(t *testing.T) {
		w := routetest.New(t, "always_bcc = all@b.test")
		list, err := w.Router.ExpandWithSender(context.Background(), address.Address{}, given(t, "x@a.test"), nil)
		if err != nil || len(list) != 2 || list[0].Notify != 0 || list[1].Notify != 1 || list[1].Original != "all@b.test" {
			t.Errorf("%+v, %v", list, err)
		}
	})
	t.Run("mail from inside has no copies", func(t *testing.T) {
		w := routetest.New(t, "always_bcc = all@b.test\nrecipient_bcc_maps = static:c@b.test")
		if got := expand(t, w, "x@a.test"); got != "x@a.test" {
			t.Errorf("Expand = %q", got)
		}
	})
}

func TestComplete(t *testing.T) {
	w := routetest.New(t, `virtual_alias_maps = fail:x
canonical_maps = fail:x
recipient_bcc_maps = fail:x
always_bcc = no@b.test
`)
	list := w.Router.Complete(given(t, "x", "X@mx.example.test", "x", "@r.test:y@a.test", ""))
	want := "x@mx.example.test X@mx.example.test y@a.test MAILER-DAEMON@mx.example.test"
	if got := addresses(list, nil); got != want {
		t.Errorf("Complete = %q, want %q", got, want)
	}
	if list[0].ORCPT != "rfc822;x@mx.example.test" || list[2].Original != "y@a.test" {
		t.Errorf("Complete = %+v", list)
	}
}

func TestSender(t *testing.T) {
	tests := []struct{ main, in, want string }{
		{"", "", ""},
		{"", "john", "john@mx.example.test"},
		{"", "x@a.test", "x@a.test"},
		{"", "mailer-daemon", ""},
		{"", "MAILER-DAEMON@mx.example.test", ""},
		{"", "MAILER-DAEMON@a.test", "MAILER-DAEMON@a.test"},
		{"sender_canonical_maps = inline:{x@a.test=y@b.test}", "x@a.test", "y@b.test"},
		{"sender_canonical_maps = inline:{x@a.test=y@b.test}\ncanonical_maps = inline:{y@b.test=z@c.test}", "x@a.test", "z@c.test"},
		{"recipient_canonical_maps = inline:{x@a.test=y@b.test}", "x@a.test", "x@a.test"},
		{"sender_canonical_classes = header_sender\nsender_canonical_maps = inline:{x@a.test=y@b.test}", "x@a.test", "x@a.test"},
		{"canonical_classes = envelope_recipient\ncanonical_maps = inline:{x@a.test=y@b.test}", "x@a.test", "x@a.test"},
		{"virtual_alias_maps = inline:{x@a.test=y@b.test}", "x@a.test", "x@a.test"},
		{"sender_canonical_maps = inline:{x@a.test=mailer-daemon@mx.example.test}", "x@a.test", "mailer-daemon@mx.example.test"},
		{"sender_canonical_maps = fail:x", "x@a.test", "451 4.3.0 Error: queue file write error"},
		{"canonical_maps = fail:x", "x@a.test", "451 4.3.0 Error: queue file write error"},
		{"canonical_maps = fail:x", "", "451 4.3.0 Error: queue file write error"},
	}
	for _, tt := range tests {
		w := routetest.New(t, tt.main)
		a, err := w.Router.Sender(context.Background(), parse(t, tt.in), nil)
		got := a.Internal()
		var e *route.ExpansionError
		if errors.As(err, &e) {
			got = e.Reply.String()
		}
		if got != tt.want {
			t.Errorf("%s: Sender(%q) = %q, want %q", tt.main, tt.in, got, tt.want)
		}
	}
}

func TestMappingWarnings(t *testing.T) {
	w := routetest.New(t, "canonical_maps = inline:{ {m@a.test=y@b.test z@c.test}, c0@a.test=c1@a.test}, "+chain("c", 15))
	expand(t, w, "m@a.test", "c0@a.test")
	for _, want := range []string{
		"warning: multi-valued canonical_maps entry for m@a.test",
		"warning: unreasonable canonical_maps map nesting for c10@a.test",
	} {
		if !strings.Contains(w.Log.Lines(), want) {
			t.Errorf("log %q lacks %q", w.Log.Lines(), want)
		}
	}
}
