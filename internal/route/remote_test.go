package route_test

import (
	"strings"
	"testing"

	"postern/internal/route/routetest"
)

// Tables that anybody on the network could answer do not say who owns a mailbox,
// where it lies, or what an alias of this host does.
func TestRemoteTables(t *testing.T) {
	for _, typ := range []string{"tcp:127.0.0.1:1", "socketmap:inet:127.0.0.1:1:x"} {
		const refusal = " map is not allowed for security sensitive data"
		for _, parameter := range []string{"virtual_uid_maps", "virtual_gid_maps", "virtual_mailbox_maps", "alias_maps"} {
			w := routetest.New(t, parameter+" = "+typ+"\n")
			if want := ": " + parameter + ": " + typ + " is unavailable. " + typ + refusal; strings.Count(w.Log.Lines(), want) != 1 {
				t.Errorf("%s = %s: log %q, want %q once", parameter, typ, w.Log.Lines(), want)
			}
		}
		for _, parameter := range []string{"virtual_alias_maps", "transport_maps", "local_recipient_maps", "relay_recipient_maps"} {
			w := routetest.New(t, parameter+" = "+typ+"\n")
			if strings.Contains(w.Log.Lines(), refusal) {
				t.Errorf("%s = %s: log %q", parameter, typ, w.Log.Lines())
			}
		}
	}
}

// What Postfix's proxymap would not open is told of, and nothing else.
func TestProxyReadMaps(t *testing.T) {
	tests := []struct {
		main string
		want string // the table that is told of
	}{
		{"virtual_alias_maps = proxy:inline:{a=b}\n", ""},
		{"virtual_alias_maps = unionmap:{proxy:inline:{a=b}, static:x}\n", ""},
		{"virtual_uid_maps = proxy:static:5000\n", ""},
		{"local_recipient_maps = $alias_maps proxy:unix:passwd.byname\nproxy_read_maps = proxy:unix:passwd.byname\n", ""},
		{"local_recipient_maps = proxy:unix:passwd.byname\nproxy_read_maps = $virtual_alias_maps\n", "unix:passwd.byname"},
		{"virtual_mailbox_maps = proxy:static:x/\nproxy_read_maps = proxy:static:y/\n", "static:x/"},
	}
	for _, tt := range tests {
		w := routetest.New(t, tt.main)
		want := 0
		if tt.want != "" {
			want = 1
		}
		if got := strings.Count(w.Log.Lines(), "request for unapproved table"); got != want || !strings.Contains(w.Log.Lines(), tt.want) {
			t.Errorf("%s: log %q, want %q named", tt.main, w.Log.Lines(), tt.want)
		}
	}
}
