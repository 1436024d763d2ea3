package logline

import "strings"

// rule recognises one failure by words that all have to be there.
type rule struct {
	words   []string // the first names the symptom
	codes   []string
	subject func(e *Event, text string) // takes what the line is about; nil: sender and recipient are all there is
}

// find returns the first rule that fits, or nil. Of what happened elsewhere, with
// another host, it returns the first one that is about both sides, and besides the
// one that would be right if the other side were ours.
func find(text string, elsewhere func() bool) (fitting, ours *rule) {
	for i := range rules {
		switch r := &rules[i]; {
		case !r.fits(text):
		case r.isOwnSide() && elsewhere():
			if ours == nil {
				ours = r
			}
		default:
			return r, ours
		}
	}
	return nil, ours
}

func (r *rule) fits(text string) bool {
	for _, w := range r.words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func words(w ...string) []string { return w }

func codes(c ...string) []string { return c }

// rules are in the order in which they are tried: what says more comes first.
var rules = [...]rule{
	// Kinds of domains.
	{words("do not list domain", "in BOTH mydestination"), codes("VD101"), bothLists},
	{words("do not list domain", "in BOTH virtual_alias_domains"), codes("VD102"), bothLists},
	{words("do not list domain", "in BOTH"), codes("VD102", "VD101"), bothLists},
	{words("User unknown in local recipient table"), codes("VD101", "VD209", "VD201"), nil},
	{words("loops back to myself"), codes("VD104"), func(e *Event, text string) { e.Domain = after(text, "mail for ") }},
	{words("Relay access denied"), codes("VD103", "VD104", "VD201"), nil},
	{words("Relaying denied"), codes("VD103"), nil},

	// Recipients.
	{words("expanded from <", "User unknown in virtual alias table"), codes("VD202", "VD208"), nil},
	{words("User unknown in virtual alias table"), codes("VD202", "VD102", "VD201"), nil},
	{words("User unknown in virtual mailbox table"), codes("VD201", "VD309", "VD208", "VD103", "VD105"), nil},
	{words("User unknown in relay recipient table"), codes("VD201", "VD309"), nil},
	{words(`unknown user: "`, "relay=local", "orig_to=<"), codes("VD208", "VD101", "VD209", "VD201"), nil},
	{words(`unknown user: "`, "relay=local"), codes("VD101", "VD208", "VD209", "VD201"), nil},
	{words(`unknown user: "`), codes("VD208", "VD101", "VD209", "VD201"), nil},
	{words("uota exceeded", "said: "), codes("VD404"), nil}, // also of a server that gives another reason the same code
	{words("ailbox is full", "said: "), codes("VD404"), nil},
	{words("4.2.2 ", "said: "), codes("VD404"), nil}, // RFC 3463, 3.3: mailbox full
	{words("5.2.2 ", "said: "), codes("VD404"), nil},
	{words("User doesn't exist", "said: "), codes("VD203"), nil},
	{words("User doesn't exist", "said: "), codes("VD512", "VD208", "VD202"), nil}, // of another host
	{words("[private/", "said: 55"), codes("VD203", "VD404"), nil},
	{words("map nesting"), codes("VD207", "VD513"), expanded},
	{words("map expansion"), codes("VD207", "VD513"), expanded},
	{words("map recursion"), codes("VD207", "VD513"), expanded},
	{words("Alias expansion error"), codes("VD207", "VD513"), nil},
	{words("alias database loop for"), codes("VD207"), nil},

	// Tables.
	{words("Berkeley DB support for"), codes("VD303"), func(e *Event, text string) { e.Table = after(text, "support for ") }},
	{words("unsupported dictionary type: hash"), codes("VD303"), tableType},
	{words("unsupported dictionary type: btree"), codes("VD303"), tableType},
	{words("unsupported dictionary type"), codes("VD304"), tableType},
	{words("is unavailable.", "No such file or directory"), codes("VD301", "VD305"), unavailable},
	{words("open database", "No such file or directory"), codes("VD301", "VD305"), func(e *Event, text string) { e.File = source(after(text, "open database ")) }},
	{words("is older than source file"), codes("VD302"), func(e *Event, text string) { e.File = after(text, "older than source file ") }},
	{words("bad string length"), codes("VD305"), badString},
	{words("connect to mysql server"), codes("VD306"), nil},
	{words("connect to pgsql server"), codes("VD306"), nil},
	{words("Access denied for user"), codes("VD306"), nil},
	{words("password authentication failed for user"), codes("VD306"), nil},
	{words("Can't connect to", "server"), codes("VD306"), nil},
	{words("connection to server at"), codes("VD306"), nil},
	{words("Unable to bind to server"), codes("VD306"), nil},
	{words("request for unapproved table"), codes("VD511"), func(e *Event, text string) { e.Table = after(text, "unapproved table: ") }},
	{words("proxymap service is not configured for table"), codes("VD511"), func(e *Event, text string) { e.Table = after(text, "for table ") }},
	{words("empty string result"), codes("VD308"), answering},
	{words("should return NO RESULT in case of NOT FOUND"), codes("VD308"), answering},
	{words("empty lookup result for"), codes("VD308"), answering},
	{words("duplicate entry"), codes("VD308"), duplicate},
	{words("expected format: key whitespace value"), codes("VD308"), sourceLine},
	{words("lookup error for"), codes("VD307", "VD306"), answering},
	{words("map lookup problem for"), codes("VD307", "VD306"), problem},
	{words("SQL prepare failed"), codes("VD307"), answering},
	{words("SQL step failed"), codes("VD307"), answering},
	{words("query failed"), codes("VD307", "VD306"), answering},
	{words("table lookup problem"), codes("VD307", "VD306"), nil},
	{words("Temporary lookup failure"), codes("VD307", "VD306", "VD301", "VD304", "VD305"), nil},
	{words("is unavailable."), codes("VD307", "VD306", "VD305", "VD304"), unavailable},
	{words("alias database unavailable"), codes("VD307", "VD301"), nil},
	{words("address resolver failure"), codes("VD307", "VD306"), nil},
	{words("overriding earlier entry"), codes("VD310"), func(e *Event, text string) { e.Parameter = after(text, "overriding earlier entry: ") }},
	{words("unused parameter"), codes("VD310"), func(e *Event, text string) { e.Parameter = after(text, "unused parameter: ") }},
	{words("undefined parameter"), codes("VD310"), func(e *Event, text string) { e.Parameter = after(text, "undefined parameter: ") }},

	{words("specify at least one working instance of"), codes("VD510"), noRecipient},

	// Delivery.
	{words("Is a directory"), codes("VD401"), nil},
	{words("is a directory", "mailbox"), codes("VD401"), nil},
	{words("not found in virtual_uid_maps"), codes("VD402"), ownerTable("virtual_uid_maps")},
	{words("not found in virtual_gid_maps"), codes("VD402"), ownerTable("virtual_gid_maps")},
	{words("bad uid", "virtual_uid_maps"), codes("VD402"), ownerTable("virtual_uid_maps")},
	{words("bad gid", "virtual_gid_maps"), codes("VD402"), ownerTable("virtual_gid_maps")},
	{words("maildir access problem"), codes("VD402"), nil},
	{words("create the maildirs in advance"), codes("VD402"), nil},
	{words("delivery failed", "Permission denied"), codes("VD402"), nil},
	{words("delivery failed", "No such file or directory"), codes("VD402"), nil},
	{words("delivery failed", "Read-only file system"), codes("VD402"), nil},
	{words("delivery failed", "No space left on device"), codes("VD402"), nil},
	{words("cannot update mailbox"), codes("VD402"), nil},
	{words("mail system configuration error"), codes("VD402", "VD401"), nil},
	{words("smaller than message_size_limit"), codes("VD404"), func(e *Event, text string) { e.Parameter = before(text, " is smaller than message_size_limit") }},
	{words("uota exceeded"), codes("VD404"), nil},
	{words("quota", "552"), codes("VD404"), nil},
	{words("ailbox is full"), codes("VD404"), nil},
	{words("Message size exceeds"), codes("VD404"), nil},
	{words("message size exceeds"), codes("VD404"), nil},
	{words("ile too large"), codes("VD404"), nil},
	{words("connect to ", "[/"), codes("VD403"), nil},
	{words("connect to ", "[private/"), codes("VD403"), nil},
	{words("connect to transport private/"), codes("VD403"), nil},
	{words("connect to ", "]:24: "), codes("VD403"), nil}, // the port of LMTP

	// Sending, and the rest.
	{words("not owned by user"), codes("VD501"), func(e *Event, _ string) { e.about(e.Sender) }},
	{words("Sender address rejected: not logged in"), codes("VD501", "VD503"), func(e *Event, _ string) { e.about(e.Sender) }},
	{words("DMARC", "said: "), codes("VD502"), nil},
	{words("SPF", "said: "), codes("VD502", "VD508"), nil},
	{words("5.7.26", "said: "), codes("VD502", "VD508"), nil},
	{words("authentication not enabled"), codes("VD503"), noRecipient},
	{words("Must issue a STARTTLS command first"), codes("VD503"), noRecipient},
	{words("SASL", "authentication failed"), codes("VD504", "VD503"), noRecipient},
	{words("Error: authentication failed"), codes("VD504"), noRecipient},
	{words("mail forwarding loop for"), codes("VD505", "VD207"), func(e *Event, text string) { e.about(after(text, "mail forwarding loop for ")) }},
	{words("too many hops"), codes("VD505"), nil},
	{words("reverse hostname", "said: "), codes("VD507"), noRecipient},
	{words("Domain not found", "said: "), codes("VD508"), nil},
	{words("certificate has expired"), codes("VD509"), noRecipient},
	{words("certificate expired"), codes("VD509"), noRecipient},
	{words("cannot get RSA certificate"), codes("VD509"), noRecipient},
	{words("cannot load Certification Authority"), codes("VD509"), noRecipient},
	{words("key values mismatch"), codes("VD509"), noRecipient},
	{words("No server certs available"), codes("VD509", "VD503"), noRecipient},
	{words("no TLS certificate for service"), codes("VD509", "VD503"), noRecipient},
	{words("TLS won't be enabled"), codes("VD509"), noRecipient},
	{words("said: 550", "ser unknown"), codes("VD512", "VD208", "VD202"), nil},
}

// about makes an address what the event is about.
func (e *Event) about(a string) {
	if a != "" {
		e.Recipient, e.Final = a, ""
	}
}

// noRecipient is the subject of what is not about an address.
func noRecipient(e *Event, _ string) { e.Recipient, e.Final, e.Sender = "", "", "" }

// bothLists: "do not list domain D in BOTH A and B".
func bothLists(e *Event, text string) {
	e.Domain, e.Parameter = after(text, "do not list domain "), after(text, "in BOTH ")
}

// problem: "virtual_alias_maps map lookup problem for A -- message not accepted".
func problem(e *Event, text string) {
	e.Parameter = before(text, " map lookup problem")
	if a := after(text, " lookup problem for "); strings.Contains(a, "@") {
		e.about(a)
	}
}

// expanded: "unreasonable virtual_alias_maps map nesting for A -- ...".
func expanded(e *Event, text string) {
	e.Parameter = after(text, "unreasonable ")
	_, rest, _ := strings.Cut(text, " map ")
	e.about(after(rest, " for "))
}

func tableType(e *Event, text string) { e.Table = after(text, "unsupported dictionary type: ") }

// unavailable: "hash:/etc/postfix/virtual is unavailable. open database ...".
func unavailable(e *Event, text string) { e.Table = before(text, " is unavailable.") }

// source is the text of which a file is the index.
func source(name string) string {
	for _, suffix := range []string{".db", ".lmdb", ".cdb"} {
		if s, ok := strings.CutSuffix(name, suffix); ok {
			return s
		}
	}
	return name
}

// badString: "bad string length 0 < 1: virtual_mailbox_maps.cf_dbname =".
func badString(e *Event, text string) {
	if _, rest, ok := strings.Cut(text, "bad string length"); ok {
		e.Parameter = after(rest, ": ")
	}
}

// answering: "mysql:/etc/postfix/a.cf lookup error for "john@example.org"", and the
// other complaints that begin with a table.
func answering(e *Event, text string) {
	for _, word := range severities {
		text = strings.TrimPrefix(text, word)
	}
	for _, w := range strings.Fields(text) {
		if typ, name, ok := strings.Cut(strings.Trim(w, `":,;`), ":"); ok && typ != "" && strings.HasPrefix(name, "/") {
			e.Table = strings.TrimPrefix(typ+":"+name, "proxy:")
			break
		}
	}
	if key := after(text, ` for "`); strings.Contains(key, "@") {
		e.about(key)
	}
}

// duplicate: "/etc/postfix/virtual.db: duplicate entry: "john@example.org"", "postmap:
// warning: /etc/postfix/virtual, line 7: duplicate entry".
func duplicate(e *Event, text string) {
	sourceLine(e, text)
	if key := after(text, "duplicate entry: "); strings.Contains(key, "@") {
		e.about(key)
	}
}

// sourceLine: "/etc/postfix/virtual, line 7: ...".
func sourceLine(e *Event, text string) {
	for _, w := range strings.Fields(text) {
		if strings.HasPrefix(w, "/") {
			e.File = source(strings.TrimRight(w, ",:"))
			return
		}
	}
}

// ownerTable: "recipient A: not found in virtual_uid_maps", "recipient A: bad uid 0 in
// virtual_uid_maps".
func ownerTable(parameter string) func(*Event, string) {
	return func(e *Event, text string) {
		e.Parameter = parameter
		if a := after(text, "recipient "); strings.Contains(a, "@") {
			e.about(a)
		}
	}
}
