package route_test

import (
	"strings"
	"testing"

	"postern/internal/route/routetest"
)

// transportWorld has one transport_maps row and shows what becomes of
// user+ext@a.relay.test and the like.
func transportWorld(row string) string {
	return classes + "relayhost = [smart.test]:587\ntransport_maps = inline:{ {" + row + "} }\n"
}

// TestTransportResults are the rows of transport(5), RESULT FORMAT.
func TestTransportResults(t *testing.T) {
	const mailbox, remote = "x@mbox.test", "x@other.test"
	tests := []struct{ value, in, want string }{
		{":", mailbox, "virtual:mbox.test"},
		{":", remote, "smtp:[smart.test]:587"},
		{":[next.test]", mailbox, "virtual:[next.test]"},
		{":[next.test]", remote, "smtp:[next.test]"},
		{"lmtp", mailbox, "lmtp:mbox.test"},
		{"lmtp:", mailbox, "lmtp:mbox.test"},
		{"smtp:", remote, "smtp:other.test"},
		{"slow:[next.test]:26", remote, "slow:[next.test]:26"},
		{"lmtp:unix:private/dovecot", mailbox, "lmtp:unix:private/dovecot"},
		{"error", remote, "error:Address is undeliverable"},
		{"retry:", remote, "retry:Address is undeliverable"},
		{"error:closed", remote, "error:closed"},
		{"error:5.9.9 closed", remote, "error:5.9.9 closed"},
		{"discard:", remote, "discard:other.test"},
		{"discard:quietly", remote, "discard:quietly"},
	}
	for _, tt := range tests {
		_, domain, _ := strings.Cut(tt.in, "@")
		w := routetest.New(t, transportWorld(domain+"="+tt.value))
		got := resolve(t, w.Router, tt.in, "")
		if !strings.HasSuffix(got, tt.in+" "+tt.want) {
			t.Errorf("%q for %s: %s, want %s", tt.value, tt.in, got, tt.want)
		}
	}
}

func TestTransportKeys(t *testing.T) {
	tests := []struct {
		row, in string
		found   bool
	}{
		{"user+ext@a.other.test", "user+ext@a.other.test", true},
		{"user@a.other.test", "user+ext@a.other.test", true},
		{"a.other.test", "user+ext@a.other.test", true},
		{".other.test", "user+ext@a.other.test", true},
		{".test", "user+ext@a.other.test", true},
		{"other.test", "user+ext@a.other.test", false},
		{".other.test", "user@other.test", false},
		{"@other.test", "user@other.test", false},
		{"user", "user@localhost", false},
		{"*", "user@other.test", true},
		{"*", "user@localhost", true},
		{"*", "user@alias.test", false}, // transport_maps is not asked for alias domains
		{"alias.test", "user@alias.test", false},
		{"user@alias.test", "user@alias.test", false},
	}
	for _, tt := range tests {
		w := routetest.New(t, transportWorld(tt.row+"=hit:next"))
		got := resolve(t, w.Router, tt.in, "")
		if strings.HasSuffix(got, " hit:next") != tt.found {
			t.Errorf("row %s, address %s: %s, want found = %v", tt.row, tt.in, got, tt.found)
		}
	}
}

func TestTransportTables(t *testing.T) {
	tests := []struct{ name, main, in, want string }{
		{"the most specific row wins", "transport_maps = inline:{*=star:, other.test=dom:, x@other.test=full:}", "x@other.test", "full:other.test"},
		{"then the domain", "transport_maps = inline:{*=star:, other.test=dom:, x@other.test=full:}", "y@other.test", "dom:other.test"},
		{"parents without dot", "transport_maps = inline:{other.test=dom:}\nparent_domain_matches_subdomains = transport_maps", "x@a.other.test", "dom:a.other.test"},
		{"patterns see the whole address", "transport_maps = regexp:{{/^x@a\\.other\\.test$$/ re:}}", "x@a.other.test", "re:a.other.test"},
		{"patterns do not see the domain", "transport_maps = regexp:{{/^a\\.other\\.test$$/ re:}}", "x@a.other.test", "smtp:a.other.test"},
		{"case", "transport_maps = inline:{Other.Test=dom:}", "X@OTHER.test", "dom:OTHER.test"},

		{"local_transport", "local_transport = lmtp:unix:/l", "john@localhost", "lmtp:unix:/l"},
		{"local_transport without next hop", "local_transport = box", "john@localhost", "box:localhost"},
		{"virtual_transport", "virtual_transport = lmtp:inet:h:24", "x@mbox.test", "lmtp:inet:h:24"},
		{"relay_transport", "relay_transport = rel:[h]", "x@relay.test", "rel:[h]"},
		{"default_transport", "default_transport = uucp:h", "x@other.test", "uucp:h"},

		{"relayhost, default", "relayhost = [r.test]", "x@other.test", "smtp:[r.test]"},
		{"relayhost, relay", "relayhost = [r.test]", "x@relay.test", "relay:[r.test]"},
		{"relayhost, mailbox", "relayhost = [r.test]", "x@mbox.test", "virtual:mbox.test"},
		{"relayhost behind a transport with next hop", "relayhost = [r.test]\ndefault_transport = uucp:h", "x@other.test", "uucp:h"},

		{"relocated", "relocated_maps = inline:{ {x@mbox.test=x at other.test} }", "x@mbox.test", "error:5.1.6 User has moved to x at other.test"},
		{"relocated, extension", "relocated_maps = inline:{ {x@mbox.test=there} }", "x+e@mbox.test", "error:5.1.6 User has moved to there"},
		{"relocated, domain", "relocated_maps = inline:{ {@other.test=there} }", "x@other.test", "error:5.1.6 User has moved to there"},
		{"relocated in an alias domain", "relocated_maps = inline:{ {@alias.test=there} }", "x@alias.test", "error:5.1.6 User has moved to there"},
		{"relocated, local name", "relocated_maps = inline:{ {john=there} }", "john@localhost", "error:5.1.6 User has moved to there"},
		{"a name stands for local domains only", "relocated_maps = inline:{ {john=there} }", "john@mbox.test", "virtual:mbox.test"},
		{"relocated beats transport_maps", "relocated_maps = inline:{ {x@mbox.test=there} }\ntransport_maps = inline:{*=star:}", "x@mbox.test", "error:5.1.6 User has moved to there"},

		{"transport_maps fail", "transport_maps = fail:x", "x@other.test", "failure of transport_maps"},
		{"transport_maps fail, alias domain", "transport_maps = fail:x", "x@alias.test", "error:5.1.1 User unknown in virtual alias table"},
		{"relocated_maps fail", "relocated_maps = fail:x", "x@alias.test", "failure of relocated_maps"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, classes+tt.main)
			if got := resolve(t, w.Router, tt.in, ""); !strings.HasSuffix(got, tt.want) {
				t.Errorf("%s: %s, want %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestBySender(t *testing.T) {
	const world = classes + `relayhost = [general.test]
sender_dependent_relayhost_maps = inline:{ann@own.test=[ann.test], @own.test=[own.test], dunno@own.test=DUNNO, <>=[null.test]}
sender_dependent_default_transport_maps = inline:{t@own.test=slow, u@own.test=slow:[slow.test], d@own.test=dunno, e@own.test={error:5.7.1 not you}}
`
	tests := []struct{ sender, in, want string }{
		{"ann@own.test", "x@other.test", "smtp:[ann.test]"},
		{"ANN@own.test", "x@other.test", "smtp:[ann.test]"},
		{"ann+tag@own.test", "x@other.test", "smtp:[ann.test]"},
		{"bob@own.test", "x@other.test", "smtp:[own.test]"},
		{"dunno@own.test", "x@other.test", "smtp:[general.test]"},
		{"who@else.test", "x@other.test", "smtp:[general.test]"},
		{"", "x@other.test", "smtp:[null.test]"},
		{"ann@own.test", "x@relay.test", "relay:[ann.test]"},
		{"ann@own.test", "x@mbox.test", "virtual:mbox.test"},
		{"t@own.test", "x@other.test", "slow:[own.test]"},
		{"t@own.test", "x@relay.test", "relay:[own.test]"}, // the default class alone
		{"u@own.test", "x@other.test", "slow:[slow.test]"},
		{"d@own.test", "x@other.test", "smtp:[own.test]"},
	}
	w := routetest.New(t, world)
	for _, tt := range tests {
		if got := resolve(t, w.Router, tt.in, tt.sender); !strings.HasSuffix(got, " "+tt.want) {
			t.Errorf("from %q to %s: %s, want %s", tt.sender, tt.in, got, tt.want)
		}
	}
	for _, parameter := range []string{"sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps"} {
		w := routetest.New(t, classes+parameter+" = fail:x")
		if got := resolve(t, w.Router, "x@other.test", "a@b.test"); got != "failure of "+parameter {
			t.Errorf("%s fails: %s", parameter, got)
		}
		if got := resolve(t, w.Router, "x@mbox.test", "a@b.test"); !strings.HasSuffix(got, "virtual:mbox.test") {
			t.Errorf("%s fails, mailbox class: %s", parameter, got)
		}
	}
}

func TestSenderKeyOfTheNullAddress(t *testing.T) {
	w := routetest.New(t, `empty_address_relayhost_maps_lookup_key = nobody
empty_address_default_transport_maps_lookup_key = noone
sender_dependent_relayhost_maps = inline:{nobody=[n.test]}
sender_dependent_default_transport_maps = inline:{noone=slow}
`)
	if got := resolve(t, w.Router, "x@other.test", ""); !strings.HasSuffix(got, " slow:[n.test]") {
		t.Error(got)
	}
}
