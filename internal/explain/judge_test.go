package explain_test

import (
	"testing"

	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
)

// TestJudge: findings of mailboxes and their servers are the verdict of the recipients
// that they concern, and of no others.
func TestJudge(t *testing.T) {
	const lmtp, box = "unix:private/lmtp", "/var/vmail/john/"
	for name, tt := range map[string]struct {
		f    finding.Finding
		soft bool
		want [2]int // of john, in a file, and of jane, at a server
		dsn  string
	}{
		"not written":     {f: finding.Finding{Code: "VD402", Message: "uid 5 may not write to /var/vmail: mail for a@b.test waits; the way is / root"}, want: [2]int{450, 250}},
		"below":           {f: finding.Finding{Code: "VD402", Message: "uid 5 may not enter /var/vmail/john/tmp: mail for john@mbox.test waits"}, want: [2]int{450, 250}},
		"of another":      {f: finding.Finding{Code: "VD402", Message: "uid 5 may not enter /var/vmail/johnny: mail waits; the way is /var/vmail root"}, want: [2]int{250, 250}},
		"link of another": {f: finding.Finding{Code: "VD402", Message: "the symbolic link /var/vmail/bob leaves virtual_mailbox_base /var/vmail, or is absolute"}, want: [2]int{250, 250}},
		"returned":        {f: finding.Finding{Code: "VD402", Message: "mail_spool_directory /var/vmail does not exist: mail for system users is returned; there is /var"}, want: [2]int{550, 250}},
		"no socket":       {f: finding.Finding{Code: "VD403", Message: "virtual_transport = lmtp:unix:private/lmtp leads to /q/private/lmtp: no such file"}, want: [2]int{250, 450}},
		"other socket":    {f: finding.Finding{Code: "VD403", Message: "virtual_transport = lmtp:unix:private/x leads to /q/private/x: no such file"}, want: [2]int{250, 250}},
		"refused":         {f: finding.Finding{Code: "VD203", Message: "the mailbox table knows jane@mbox.test, the LMTP server (unix:x) refuses the address: 550 5.7.9 no"}, want: [2]int{250, 550}, dsn: "5.7.9"},
		"refused too": {f: finding.Finding{Code: "VD203", Message: "the mailbox table knows a@mbox.test, the LMTP server (x) refuses the address: 550 5.7.9 no",
			At: []origin.At{{File: "boxes", Line: 2, Text: "Jane@mbox.test\tjane/"}}}, want: [2]int{250, 550}, dsn: "5.1.1"},
		"soft":        {f: finding.Finding{Code: "VD203", Message: "the mailbox table knows jane@mbox.test, the LMTP server (x) refuses the address: 550 5.7.9 no"}, soft: true, want: [2]int{250, 450}, dsn: "4.7.9"},
		"of no error": {f: finding.Finding{Code: "VD402", Severity: finding.Info, Message: "/var/vmail does not exist"}, want: [2]int{250, 250}},
	} {
		main := example
		if tt.soft {
			main = "\nsoft_bounce = yes" + example
		}
		w := newWorld(t, main)
		if tt.f.Severity == "" {
			tt.f.Severity = finding.Error
		}
		e := explain.Explanation{Findings: []finding.Finding{tt.f}, Recipients: []explain.Recipient{
			{Address: "john@mbox.test", Mailbox: box, Format: "maildir", Reply: explain.Reply{Code: 250}},
			{Address: "jane@mbox.test", NextHop: lmtp, Reply: explain.Reply{Code: 250}},
		}}
		w.x.Judge(&e)
		if got := [2]int{e.Recipients[0].Reply.Code, e.Recipients[1].Reply.Code}; got != tt.want {
			t.Errorf("%s: replies %v, want %v", name, got, tt.want)
		}
		if got := e.Recipients[1].Reply.Enhanced; tt.dsn != "" && got != tt.dsn {
			t.Errorf("%s: code %s, want %s", name, got, tt.dsn)
		}
	}
}

// TestGrowing: of a pattern that answers its own output the first hops are enough.
func TestGrowing(t *testing.T) {
	w := newWorld(t, "\nvirtual_alias_domains = one.test\nvirtual_alias_maps = regexp:{dir}/rx\n-- rx --\n/^(.*)@one\\.test$/ x$1@one.test\n")
	e := w.explain(t, "a@one.test")
	if e.Reply.Code < 400 || e.Omitted < 100 || len(e.Steps) > 60 {
		t.Errorf("reply %v, %d steps, %d left out", e.Reply, len(e.Steps), e.Omitted)
	}
	for _, s := range e.Steps {
		if len(s.Key) > 30 {
			t.Errorf("step %+v", s)
		}
	}
	w = newWorld(t, example)
	if e := w.explain(t, "many@alias.test"); e.Omitted > 0 {
		t.Errorf("%d steps of many@ are left out", e.Omitted)
	}
}

// TestExists: the row that says that a recipient exists is a step also where delivery
// does not ask for it, once.
func TestExists(t *testing.T) {
	w := newWorld(t, "\nvirtual_mailbox_domains = one.test\nvirtual_transport = lmtp:unix:private/x\nvirtual_mailbox_maps = inline:{a@one.test=1}\n"+
		"relay_domains = two.test\nrelay_recipient_maps = inline:{b@two.test=1}\n")
	for in, parameter := range map[string]string{"a@one.test": "virtual_mailbox_maps", "b@two.test": "relay_recipient_maps"} {
		count := 0
		for _, s := range w.explain(t, in).Steps {
			if s.Op == "lookup" && s.Parameter == parameter && s.Key == in && s.Result != nil {
				count++
			}
		}
		if count != 1 {
			t.Errorf("%s: %d steps of %s", in, count, parameter)
		}
	}
}
