package logline

import (
	"slices"
	"strings"
	"testing"
)

// TestCodes has at least one line for every failure that a log can show.
func TestCodes(t *testing.T) {
	const smtpd, cleanup, virtual, lmtp, smtp = "Nov 22 20:51:57 mx postfix/smtpd[812]: ", "Nov 22 20:51:57 mx postfix/cleanup[813]: ",
		"Nov 22 20:51:57 mx postfix/virtual[814]: ", "Nov 22 20:51:57 mx postfix/lmtp[815]: ", "Nov 22 20:51:57 mx postfix/smtp[816]: "
	const from = "; from=<ann@client.example> to=<jon@example.test> proto=ESMTP helo=<client.example>"
	const reject = smtpd + "NOQUEUE: reject: RCPT from client.example[203.0.113.9]: "
	tests := []struct {
		line string
		kind Kind
		code string
		want Event // Recipient, Final, Sender, Domain, Table, Parameter, File
	}{
		{reject + "550 5.1.1 <jon@example.test>: Recipient address rejected: User unknown in local recipient table" + from, Rejected, "VD101",
			Event{Recipient: "jon@example.test", Sender: "ann@client.example"}},
		{smtpd + "warning: do not list domain example.test in BOTH mydestination and virtual_mailbox_domains", Warning, "VD101",
			Event{Domain: "example.test", Parameter: "mydestination"}},
		{smtpd + "warning: do not list domain example.test in BOTH virtual_alias_domains and virtual_mailbox_domains", Warning, "VD102",
			Event{Domain: "example.test", Parameter: "virtual_alias_domains"}},
		{smtpd + "warning: do not list domain example.test in BOTH virtual_mailbox_domains and relay_domains", Warning, "VD102",
			Event{Domain: "example.test", Parameter: "virtual_mailbox_domains"}},
		{reject + "554 5.7.1 <jon@example.test>: Relay access denied" + from, Rejected, "VD103",
			Event{Recipient: "jon@example.test", Sender: "ann@client.example"}},
		{reject + "454 4.7.1 <jon@example.test>: Relay access denied" + from, Rejected, "VD103",
			Event{Recipient: "jon@example.test", Sender: "ann@client.example"}},
		{smtp + "4Bx1: to=<jon@example.test>, relay=none, delay=0.1, delays=0.1/0/0/0, dsn=5.4.6, status=bounced (mail for example.test loops back to myself)", Bounced, "VD104",
			Event{Recipient: "jon@example.test", Domain: "example.test"}},
		{reject + "550 5.1.1 <jon@example.test>: Recipient address rejected: User unknown in virtual mailbox table" + from, Rejected, "VD201",
			Event{Recipient: "jon@example.test", Sender: "ann@client.example"}},
		{reject + "550 5.1.1 <jon@example.test>: Recipient address rejected: User unknown in relay recipient table" + from, Rejected, "VD201",
			Event{Recipient: "jon@example.test", Sender: "ann@client.example"}},
		{reject + "550 5.1.1 <jon@example.test>: Recipient address rejected: User unknown in virtual alias table" + from, Rejected, "VD202",
			Event{Recipient: "jon@example.test", Sender: "ann@client.example"}},
		{"<bob@long.test> (expanded from <bob@short.test>): User unknown in virtual alias table", Bounced, "VD202", Event{Recipient: "bob@short.test"}},
		{lmtp + "4Bx1: to=<jon@example.test>, relay=mx.example.test[private/dovecot-lmtp], delay=0.1, dsn=5.1.1, status=bounced (host mx.example.test[private/dovecot-lmtp] said: 550 5.1.1 <jon@example.test> User doesn't exist: jon@example.test (in reply to RCPT TO command))",
			Bounced, "VD203", Event{Recipient: "jon@example.test"}},
		{lmtp + "4Bx1: to=<jon@example.test>, relay=mx.example.test[private/dovecot-lmtp], delay=0.1, dsn=5.2.2, status=bounced (host mx.example.test[private/dovecot-lmtp] said: 552 5.2.2 <jon@example.test> Quota exceeded (mailbox for user is full) (in reply to end of DATA command))",
			Bounced, "VD404", Event{Recipient: "jon@example.test"}},
		{lmtp + "4Bx1: to=<jon@example.test>, relay=none, delay=0.1, dsn=4.4.1, status=deferred (connect to 127.0.0.1[127.0.0.1]:24: Connection refused)",
			Deferred, "VD403", Event{Recipient: "jon@example.test"}},
		{lmtp + "connect to 127.0.0.1[127.0.0.1]:24: Connection refused", Warning, "VD403", Event{}},
		{"postfix/local[9]: 4Bx1: to=<john@example.test>, relay=local, dsn=5.1.1, status=bounced (unknown user: \"john\")", Bounced, "VD101", Event{Recipient: "john@example.test"}},
		{"postfix/local[9]: 4Bx1: to=<john@example.test>, orig_to=<info@example.test>, relay=local, dsn=5.1.1, status=bounced (unknown user: \"john\")", Bounced, "VD208",
			Event{Recipient: "info@example.test", Final: "john@example.test"}},
		{"postfix/smtpd[9]: fatal: proxymap service is not configured for table \"mysql:/etc/postfix/a.cf\"", Warning, "VD511", Event{Table: "mysql:/etc/postfix/a.cf"}},
		{cleanup + "warning: 4Bx1: unreasonable virtual_alias_maps map nesting for a@example.test -- message not accepted, try again later", Warning, "VD207",
			Event{Recipient: "a@example.test", Parameter: "virtual_alias_maps"}},
		{cleanup + "warning: 4Bx1: unreasonable virtual_alias_maps map expansion size for a@example.test -- message not accepted, try again later", Warning, "VD207",
			Event{Recipient: "a@example.test", Parameter: "virtual_alias_maps"}},
		{cleanup + "warning: 4Bx1: unreasonable virtual_alias_maps map recursion for a@example.test", Warning, "VD207",
			Event{Recipient: "a@example.test", Parameter: "virtual_alias_maps"}},
		{"451 4.6.0 <a@example.test>: Alias expansion error", Rejected, "VD207", Event{Recipient: "a@example.test"}},
		{virtual + `4Bx1: to=<jon@example.test>, relay=virtual, delay=0, dsn=5.1.1, status=bounced (unknown user: "jon@example.test")`, Bounced, "VD208",
			Event{Recipient: "jon@example.test"}},
		{"Nov 22 20:51:57 mx postfix/local[9]: 4Bx1: to=<joe@mail.example.test>, orig_to=<info@example.test>, relay=local, dsn=5.1.1, status=bounced (User unknown in local recipient table)",
			Bounced, "VD101", Event{Recipient: "info@example.test", Final: "joe@mail.example.test"}},
		{smtpd + "warning: hash:/etc/postfix/virtual is unavailable. open database /etc/postfix/virtual.db: No such file or directory", Warning, "VD301",
			Event{Table: "hash:/etc/postfix/virtual"}},
		{smtpd + "fatal: open database /etc/postfix/virtual.db: No such file or directory", Warning, "VD301", Event{File: "/etc/postfix/virtual"}},
		{smtpd + "warning: database /etc/postfix/virtual.db is older than source file /etc/postfix/virtual", Warning, "VD302", Event{File: "/etc/postfix/virtual"}},
		{smtpd + "error: unsupported dictionary type: hash", Warning, "VD303", Event{Table: "hash"}},
		{smtpd + "warning: Berkeley DB support for 'hash:/etc/postfix/virtual' is not available for this OS distribution", Warning, "VD303", Event{Table: "hash:/etc/postfix/virtual"}},
		{smtpd + "error: unsupported dictionary type: mysql. Is the postfix-mysql package installed?", Warning, "VD304", Event{Table: "mysql"}},
		{"postmap: fatal: bad string length 0 < 1: virtual_mailbox_maps.cf_dbname =", Warning, "VD305", Event{Parameter: "virtual_mailbox_maps.cf_dbname"}},
		{smtpd + "fatal: bad string length 0 < 1: virtual_mailbox_base = ", Warning, "VD305", Event{Parameter: "virtual_mailbox_base"}},
		{smtpd + "warning: connect to mysql server localhost: Can't connect to local server through socket '/run/mysqld/mysqld.sock' (2)", Warning, "VD306", Event{}},
		{smtpd + "warning: connect to pgsql server 127.0.0.1: password authentication failed for user \"mail\"", Warning, "VD306", Event{}},
		{smtpd + "warning: mysql:/etc/postfix/a.cf lookup error for \"jon@example.test\"", Warning, "VD307", Event{Table: "mysql:/etc/postfix/a.cf", Recipient: "jon@example.test"}},
		{reject + "451 4.3.0 <jon@example.test>: Temporary lookup failure" + from, Rejected, "VD307", Event{Recipient: "jon@example.test", Sender: "ann@client.example"}},
		{smtpd + "warning: sqlite:/etc/postfix/a.cf is unavailable. unable to open database file", Warning, "VD307", Event{Table: "sqlite:/etc/postfix/a.cf"}},
		{cleanup + "warning: 4B: virtual_alias_maps map lookup problem for jon@example.test -- message not accepted, try again later", Warning, "VD307", Event{Parameter: "virtual_alias_maps", Recipient: "jon@example.test"}},
		{smtpd + "warning: mysql:/etc/postfix/a.cf: query failed: Unknown column 'x' in 'field list'", Warning, "VD307", Event{Table: "mysql:/etc/postfix/a.cf"}},
		{smtpd + "warning: dict_sqlite_lookup: sqlite:/etc/postfix/a.cf: SQL prepare failed: no such table: x", Warning, "VD307", Event{Table: "sqlite:/etc/postfix/a.cf"}},
		{smtpd + "fatal: in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains", Warning, "VD510", Event{}},
		{smtpd + "warning: maps_find: virtual_alias_maps: hash:/etc/postfix/virtual(0,lock|fold_fix): table lookup problem", Warning, "VD307", Event{}},
		{smtpd + `warning: hash:/etc/postfix/virtual: lookup of jon@example.test returns an empty string result`, Warning, "VD308", Event{Table: "hash:/etc/postfix/virtual"}},
		{smtpd + `warning: hash:/etc/postfix/virtual should return NO RESULT in case of NOT FOUND`, Warning, "VD308", Event{Table: "hash:/etc/postfix/virtual"}},
		{`postmap: warning: /etc/postfix/virtual.db: duplicate entry: "jon@example.test"`, Warning, "VD308", Event{File: "/etc/postfix/virtual", Recipient: "jon@example.test"}},
		{"postmap: warning: /etc/postfix/virtual, line 7: expected format: key whitespace value", Warning, "VD308", Event{File: "/etc/postfix/virtual"}},
		{"postconf: warning: /etc/postfix/main.cf, line 49: overriding earlier entry: inet_interfaces=all", Warning, "VD310", Event{Parameter: "inet_interfaces"}},
		{"/usr/sbin/postconf: warning: /etc/postfix/main.cf: unused parameter: virtual_mailbox_domain=example.test", Warning, "VD310", Event{Parameter: "virtual_mailbox_domain"}},
		{virtual + "4Bx1: to=<jon@example.test>, relay=virtual, dsn=4.2.0, status=deferred (delivery failed to mailbox /var/vmail/jon/Maildir: cannot open file: Is a directory)", Deferred, "VD401",
			Event{Recipient: "jon@example.test"}},
		{virtual + "warning: recipient jon@example.test: not found in virtual_uid_maps", Warning, "VD402", Event{Recipient: "jon@example.test", Parameter: "virtual_uid_maps"}},
		{virtual + "warning: recipient jon@example.test: bad uid 0 in virtual_uid_maps", Warning, "VD402", Event{Recipient: "jon@example.test", Parameter: "virtual_uid_maps"}},
		{virtual + "warning: recipient jon@example.test: bad gid 0 in virtual_gid_maps", Warning, "VD402", Event{Recipient: "jon@example.test", Parameter: "virtual_gid_maps"}},
		{virtual + "4Bx1: to=<jon@example.test>, relay=virtual, dsn=4.2.0, status=deferred (maildir delivery failed: create maildir file /var/vmail/jon/tmp/1.mx: Permission denied)", Deferred, "VD402",
			Event{Recipient: "jon@example.test"}},
		{virtual + "warning: perhaps you need to create the maildirs in advance", Warning, "VD402", Event{}},
		{virtual + "4Bx1: to=<jon@example.test>, relay=virtual, dsn=4.3.5, status=deferred (mail system configuration error)", Deferred, "VD402", Event{Recipient: "jon@example.test"}},
		{lmtp + "4Bx1: to=<jon@example.test>, relay=none, dsn=4.4.1, status=deferred (connect to mx.example.test[private/dovecot-lmtp]: No such file or directory)", Deferred, "VD403",
			Event{Recipient: "jon@example.test"}},
		{lmtp + "connect to mx.example.test[/run/dovecot/lmtp]: Connection refused", Warning, "VD403", Event{}},
		{virtual + "fatal: configuration error: virtual_mailbox_limit is smaller than message_size_limit", Warning, "VD404", Event{Parameter: "virtual_mailbox_limit"}},
		{lmtp + "4Bx1: to=<jon@example.test>, relay=mx[/run/lmtp], dsn=5.2.2, status=bounced (host mx[/run/lmtp] said: 552 5.2.2 <jon@example.test> Quota exceeded (mailbox for user is full) (in reply to end of DATA command))",
			Bounced, "VD404", Event{Recipient: "jon@example.test"}},
		{smtpd + "NOQUEUE: reject: MAIL from client.example[203.0.113.9]: 552 5.3.4 Message size exceeds fixed limit; proto=ESMTP helo=<x>", Rejected, "VD404", Event{}},
		{smtpd + "NOQUEUE: reject: RCPT from h[192.0.2.1]: 553 5.7.1 <info@example.test>: Sender address rejected: not owned by user jon@example.test; from=<info@example.test> to=<x@y.example> proto=ESMTP helo=<x>",
			Rejected, "VD501", Event{Recipient: "info@example.test", Sender: "info@example.test"}},
		{smtp + "4Bx1: to=<joe@big.example>, orig_to=<jon@example.test>, relay=mx.big.example[192.0.2.9]:25, dsn=5.7.26, status=bounced (host mx.big.example[192.0.2.9] said: 550-5.7.26 Unauthenticated email from x.example is not accepted due to domain's DMARC policy)",
			Bounced, "VD502", Event{Recipient: "jon@example.test", Final: "joe@big.example"}},
		{"503 5.5.1 Error: authentication not enabled", Rejected, "VD503", Event{}},
		{"530 5.7.0 Must issue a STARTTLS command first", Rejected, "VD503", Event{}},
		{smtpd + "warning: client.example[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6", Warning, "VD504", Event{}},
		{"535 5.7.8 Error: authentication failed: ", Rejected, "VD504", Event{}},
		{"Nov 22 20:51:57 mx postfix/local[9]: 4Bx1: to=<jon@example.test>, relay=local, dsn=5.4.6, status=bounced (mail forwarding loop for jon@example.test)", Bounced, "VD505",
			Event{Recipient: "jon@example.test"}},
		{"554 5.4.0 Error: too many hops", Rejected, "VD505", Event{}},
		{smtp + "4Bx1: to=<joe@big.example>, relay=mx.big.example[192.0.2.9]:25, dsn=4.7.1, status=deferred (host mx.big.example[192.0.2.9] said: 450 4.7.1 Client host rejected: cannot find your reverse hostname, [198.51.100.1] (in reply to RCPT TO command))",
			Deferred, "VD507", Event{}},
		{smtp + "4Bx1: to=<joe@big.example>, relay=mx.big.example[192.0.2.9]:25, dsn=4.1.8, status=deferred (host mx.big.example[192.0.2.9] said: 450 4.1.8 <jon@example.test>: Sender address rejected: Domain not found)",
			Deferred, "VD508", Event{Recipient: "joe@big.example"}},
		{smtpd + "warning: TLS library problem: error:0A000415:SSL routines::ssl/tls alert certificate expired:ssl/record/rec_layer_s3.c:1605:SSL alert number 45:", Warning, "VD509", Event{}},
		{smtpd + `warning: request for unapproved table: "mysql:/etc/postfix/virtual.cf"`, Warning, "VD511", Event{Table: "mysql:/etc/postfix/virtual.cf"}},
		{smtp + "4Bx1: to=<joe+shop@big.example>, orig_to=<jon+shop@example.test>, relay=mx.big.example[192.0.2.9]:25, dsn=5.1.1, status=bounced (host mx.big.example[192.0.2.9] said: 550 5.1.1 <joe+shop@big.example>: User unknown)",
			Bounced, "VD512", Event{Recipient: "jon+shop@example.test", Final: "joe+shop@big.example"}},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			e, ok := Parse(tt.line)
			if !ok {
				t.Fatalf("Parse(%q) is no event", tt.line)
			}
			if e.Kind != tt.kind || len(e.Codes) == 0 || e.Codes[0] != tt.code {
				t.Errorf("Parse(%q) is %s %v, want %s %s", tt.line, e.Kind, e.Codes, tt.kind, tt.code)
			}
			e.Kind, e.Codes, e.Symptom, e.Reason = "", nil, "", ""
			if diff := differs(e, tt.want); diff != "" {
				t.Errorf("Parse(%q): %s", tt.line, diff)
			}
		})
	}
}

func differs(got, want Event) string {
	for _, f := range []struct{ name, got, want string }{
		{"Recipient", got.Recipient, want.Recipient}, {"Final", got.Final, want.Final}, {"Sender", got.Sender, want.Sender},
		{"Domain", got.Domain, want.Domain}, {"Table", got.Table, want.Table}, {"Parameter", got.Parameter, want.Parameter}, {"File", got.File, want.File},
	} {
		if f.got != f.want {
			return f.name + " is " + f.got + ", want " + f.want
		}
	}
	return ""
}

// TestFronts puts the same complaint behind every front that logs have.
func TestFronts(t *testing.T) {
	const text = "NOQUEUE: reject: RCPT from a.example[192.0.2.7]: 554 5.7.1 <jon@example.test>: Relay access denied; from=<> to=<jon@example.test> proto=ESMTP helo=<a>"
	for _, front := range []string{
		"",
		"postfix/smtpd[812]: ",
		"Nov 22 20:51:57 mx postfix/smtpd[812]: ",
		"Nov  2 20:51:57 mx postfix/submission/smtpd[812]: ",
		"<22>Nov 22 20:51:57 mx postfix/smtpd[812]: ",
		"2026-11-22T20:51:57.123456+01:00 mx postfix/smtpd[812]: ",
		"2026-11-22T20:51:57+0100 mx postfix/smtpd[812]: ",
		"Sun 2026-11-22 20:51:57 UTC mx postfix/smtpd[812]: ",
		"<22>1 2026-11-22T20:51:57.123Z mx postfix/smtpd 812 - - ",
		"<22>1 2026-11-22T20:51:57.123Z mx postfix/smtpd 812 - [a@1 b=\"c\"] \ufeff",
		"mail-1  | Nov 22 20:51:57 mx postfix/smtpd[812]: ",
		"2026-11-22T20:51:57.1Z stdout F Nov 22 20:51:57 mx postfix/smtpd[812]: ",
	} {
		for _, end := range []string{"", "\n", "\r\n"} {
			if got := Text(front + text + end); got != text {
				t.Errorf("Text(%q) = %q", front+text, got)
			}
		}
	}
	for _, line := range []string{
		`{"MESSAGE":"` + text + `","SYSLOG_IDENTIFIER":"postfix/smtpd","_PID":"812"}`,
		`{"log":"Nov 22 20:51:57 mx postfix/smtpd[812]: ` + text + `\n","stream":"stdout"}`,
	} {
		if got := Text(line); got != text {
			t.Errorf("Text(%q) = %q", line, got)
		}
	}
	if got := Text("Nov 22 20:51:57 mx postfix: warning: odd"); got != "warning: odd" {
		t.Errorf("Text without a process = %q", got)
	}
}

// TestNothing are lines that show neither a failure nor a delivery.
func TestNothing(t *testing.T) {
	for _, line := range []string{
		"", "hello", "{", "{}", "<22>1 x", "]: ", ": : :",
		"Nov 22 20:51:57 mx postfix/smtpd[812]: connect from unknown[192.0.2.7]",
		"Nov 22 20:51:57 mx postfix/qmgr[812]: 4Bx1: from=<a@b.test>, size=1, nrcpt=1 (queue active)",
		"Nov 22 20:51:57 mx postfix/smtpd[812]: disconnect from unknown[192.0.2.7] ehlo=1 quit=1 commands=2",
	} {
		if e, ok := Parse(line); ok {
			t.Errorf("Parse(%q) = %+v", line, e)
		}
	}
}

// TestNoCode are events that no code names: what they say is kept.
func TestNoCode(t *testing.T) {
	tests := []struct {
		line, symptom string
		kind          Kind
		recipient     string
	}{
		{"Nov 22 20:51:57 mx postfix/virtual[1]: 4B: to=<ann@example.test>, orig_to=<sales@example.test>, relay=virtual, dsn=2.0.0, status=sent (delivered to maildir)", "sent", Sent, "sales@example.test"},
		{"Nov 22 20:51:57 mx postfix/smtpd[1]: NOQUEUE: reject: RCPT from a[192.0.2.7]: 450 4.2.0 <ann@example.test>: Recipient address rejected: Greylisted; from=<x@y.example> to=<ann@example.test> proto=SMTP",
			"Recipient address rejected: Greylisted", Rejected, "ann@example.test"},
		{"Nov 22 20:51:57 mx postfix/smtp[1]: 4B: to=<ann@far.example>, relay=none, dsn=4.4.1, status=deferred (connect to far.example[192.0.2.1]:25: Connection timed out)",
			"connect to far.example[192.0.2.1]:25: Connection timed out", Deferred, "ann@far.example"},
		{"Nov 22 20:51:57 mx postfix/master[1]: warning: something new", "warning: something new", Warning, ""},
	}
	for _, tt := range tests {
		e, ok := Parse(tt.line)
		if !ok || e.Codes != nil || e.Symptom != tt.symptom || e.Kind != tt.kind || e.Recipient != tt.recipient {
			t.Errorf("Parse(%q) = %+v, %v", tt.line, e, ok)
		}
	}
}

// TestQuoted is an address whose local part ends a field for careless readers.
func TestQuoted(t *testing.T) {
	e, ok := Parse(`postfix/virtual[1]: 4B: to=<"a\">b"@example.test>, relay=virtual, status=bounced (unknown user: "x")`)
	if want := `"a\">b"@example.test`; !ok || e.Recipient != want {
		t.Errorf("Recipient = %q, want %q", e.Recipient, want)
	}
	if got := untilBracket(`"open`); got != "" {
		t.Errorf("untilBracket of an open quote = %q", got)
	}
}

func TestInteresting(t *testing.T) {
	for line, want := range map[string]bool{
		"postfix/smtpd[1]: NOQUEUE: reject: RCPT":        true,
		"postfix/smtp[1]: 4B: to=<a@b>, status=deferred": true,
		"postfix/smtp[1]: 4B: to=<a@b>, status=sent":     false,
		"postfix/smtpd[1]: connect from x":               false,
	} {
		if got := Interesting(line); got != want {
			t.Errorf("Interesting(%q) = %v", line, got)
		}
	}
}

// TestRules holds that every rule can be met by its own words, in its order.
func TestRules(t *testing.T) {
	for i := range rules {
		if text := strings.Join(rules[i].words, " x "); !rules[i].fits(text) {
			t.Errorf("rule %v does not fit %q", rules[i].words, text)
		}
		if len(rules[i].codes) == 0 || !slices.ContainsFunc(rules[i].codes, func(c string) bool { return len(c) == 5 }) {
			t.Errorf("rule %v has no code", rules[i].words)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"Nov 22 20:51:57 mx postfix/smtpd[812]: NOQUEUE: reject: RCPT from a[192.0.2.7]: 550 5.1.1 <a@b>: User unknown; from=<> to=<a@b>",
		"<22>1 2026-11-22T20:51:57.123Z mx postfix/smtpd 812 - - warning: bad string length 0 < 1: x =",
		`{"MESSAGE":"warning: do not list domain a in BOTH b and c"}`,
		"4B: to=<a@b>, orig_to=<c>, status=bounced (mail for b loops back to myself)",
		"warning: unreasonable virtual_alias_maps map nesting for a@b", `to=<"\`, "550-", "]: <",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, ok := Parse(line)
		if !ok {
			return
		}
		if e.Kind == "" || e.Symptom == "" && e.Codes != nil {
			t.Errorf("Parse(%q) = %+v", line, e)
		}
		for _, field := range []string{e.Recipient, e.Final, e.Sender, e.Domain, e.Table, e.Parameter, e.File} {
			if len(field) > len(line)+16 {
				t.Errorf("Parse(%q) invents %q", line, field)
			}
		}
	})
}

// TestElsewhere: what another host says of its own mailboxes is no failure of ours.
func TestElsewhere(t *testing.T) {
	const smtp, lmtp = "Nov 22 20:51:57 mx postfix/smtp[816]: ", "Nov 22 20:51:57 mx postfix/lmtp[815]: "
	said := func(front, host, reply string) string {
		return front + "4Bx1: to=<joe@big.example>, relay=" + host + ":25, delay=1, dsn=4.2.2, status=deferred (host " + host + " said: " + reply + " (in reply to RCPT TO command))"
	}
	const full, far = "452 4.2.2 Quota exceeded", "mx.big.example[203.0.113.9]"
	for _, tt := range []struct{ line, code, advice string }{
		{said(smtp, far, full), "", "mailbox on the other host"},
		{said(smtp, far, "552-5.2.2 The email account that you tried to reach is over quota"), "", "mailbox on the other host"},
		{said(smtp, far, "452 4.2.2 Mailbox is full"), "", "mailbox on the other host"},
		{said(smtp, far, "452-4.2.2 The recipient's inbox is out of storage space."), "", "mailbox on the other host"},
		{said(smtp, far, "552 5.3.4 Message size exceeds fixed limit"), "", "no message that large"},
		{said(smtp, far, "552 5.3.4 File too large"), "", "no message that large"},
		{said(smtp, "mx.big.example[2001:db8::9]", full), "", "mailbox on the other host"},
		{said(smtp, "mx.big.example[IPv6:2001:db8::9]", full), "", "mailbox on the other host"},
		{said("", far, full), "", "mailbox on the other host"},
		{"<joe@big.example>: host " + far + " said: 552 5.2.2 Quota exceeded (in reply to end of DATA command)", "", "mailbox on the other host"},
		{said(smtp, far, "550 5.1.1 <joe@big.example>: Recipient address rejected: User unknown in virtual mailbox table"), "VD512", ""},
		{said(smtp, far, "550 5.1.1 <joe@big.example> User doesn't exist: joe@big.example"), "VD512", ""},
		{said(smtp, far, "451 4.3.0 <joe@big.example>: Temporary lookup failure"), "", ""},
		{smtp + "4Bx1: to=<joe@big.example>, relay=none, dsn=4.4.1, status=deferred (connect to " + far + ":24: Connection refused)", "", ""},

		{said(lmtp, far, full), "VD404", ""},
		{`{"MESSAGE":"` + said("", far, full) + `","SYSLOG_IDENTIFIER":"postfix/lmtp"}`, "VD404", ""},
		{`{"MESSAGE":"` + said("", far, full) + `","SYSLOG_IDENTIFIER":"postfix/smtp"}`, "", "mailbox on the other host"},
		{"<22>1 2026-11-22T20:51:57.123Z mx postfix/lmtp 812 - - " + said("", far, full), "VD404", ""},
		{said(smtp, "127.0.0.1[127.0.0.1]", full), "VD404", ""},
		{said(smtp, "box[::1]", full), "VD404", ""},
		{said(smtp, "box[10.1.2.3]", full), "VD404", ""},
		{said(smtp, "box[::ffff:192.168.1.2]", full), "VD404", ""},
		{said(smtp, "box[fd00::1]", full), "VD404", ""},
		{said(smtp, "box[169.254.1.1]", full), "VD404", ""},
		{said(smtp, "box[private/lmtp]", full), "VD404", ""},
		{said(smtp, "box[/run/dovecot/lmtp]", "550 5.1.1 <joe@big.example> User doesn't exist: joe@big.example"), "VD203", ""},
		{"Nov 22 20:51:57 mx postfix/virtual[9]: 4Bx1: to=<jon@example.test>, relay=virtual, dsn=5.2.2, status=bounced (maildir delivery failed: Quota exceeded)", "VD404", ""},
		{"Nov 22 20:51:57 mx postfix/pipe[9]: 4Bx1: to=<jon@example.test>, relay=dovecot, dsn=4.3.0, status=deferred (temporary failure. Command output: Quota exceeded)", "VD404", ""},
		{"Nov 22 20:51:57 mx postfix/smtpd[9]: NOQUEUE: reject: RCPT from mx.big.example[203.0.113.9]: 552 5.2.2 <jon@example.test>: Quota exceeded; from=<a@b.test> to=<jon@example.test>", "VD404", ""},
		{"4Bx1: to=<jon@example.test>, relay=none, dsn=4.4.1, status=deferred (connect to " + far + ":24: Connection refused)", "VD403", ""},
		{"4Bx1: to=<jon@example.test>, relay=" + far + ":24, dsn=4.2.2, status=deferred (host " + far + " said: " + full + " (in reply to RCPT TO command))", "VD404", ""},
		{"4Bx1: to=<jon@example.test>, relay=" + far + ":2424, dsn=4.2.2, status=deferred (host " + far + " said: " + full + " (in reply to RCPT TO command))", "", "mailbox on the other host"},
		{lmtp + "4Bx1: to=<jon@example.test>, relay=none, dsn=4.4.1, status=deferred (connect to box.example[203.0.113.9]:24: Connection refused)", "VD403", ""},
		{smtp + "connect to box[10.0.0.4]:24: Connection refused", "VD403", ""},
	} {
		e, ok := Parse(tt.line)
		code := ""
		if len(e.Codes) > 0 {
			code = e.Codes[0]
		}
		if !ok || code != tt.code || !strings.Contains(e.Advice, tt.advice) || (e.Advice == "") != (tt.advice == "") || e.Symptom == "" {
			t.Errorf("Parse(%q) = %v, %+v; want %q, %q", tt.line, ok, e, tt.code, tt.advice)
		}
	}
	if e, ok := Parse(smtp + "connect to mx.far.test[203.0.113.9]:24: Connection timed out"); ok {
		t.Errorf("a connection that another host does not take is %+v", e)
	}
}
