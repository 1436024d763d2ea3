package builtin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/builtin"
)

// Every type opens, answers under its own name, and finds one key.
func TestTypes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(path, []byte("key value\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("key", "value")
	specs := map[string]string{ // what follows the colon, and the key when it is not "key"
		"cidr": "{{192.0.2.0/24 value}} 192.0.2.1", "regexp": "{{/^key$/ value}}", "pcre": "{{/^key$/ value}}",
		"inline": "{key=value}", "static": "value", "randmap": "{value}", "environ": "x",
		"unionmap": "{inline:{key=value}}", "pipemap": "{inline:{key=value}}",
		"unix": "group.byname root", "debug": "inline:{key=value}",
		"fail": "", "sqlite": "", "mysql": "", "pgsql": "", "ldap": "", "memcache": "", "socketmap": "", "tcp": "", "mta-sts": "",
	}
	o := &table.Opener{Types: builtin.Types(), UTF8: true, Autocompile: true}
	defer o.Close()
	for typ := range o.Types {
		name, ok := specs[typ]
		if !ok {
			name = path
		}
		if name == "" {
			continue // has nothing to find: see the tests of its package
		}
		key := "key"
		if i := strings.LastIndexByte(name, ' '); i > 0 && !strings.HasSuffix(name, "}") {
			name, key = name[:i], name[i+1:]
		}
		tab, err := o.Open(t.Context(), typ+":"+name, table.Use{Fold: true, At: origin.At{File: "main.cf", Line: 1}})
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		got, err := tab.Lookup(t.Context(), key)
		if err != nil || got.Value != "value" && typ != "unix" || len(got.At) == 0 {
			t.Errorf("%s: Lookup(%q) = %+v, %v", typ, key, got, err)
		}
		if tab.Name() != typ+":"+name {
			t.Errorf("%s: Name() = %q", typ, tab.Name())
		}
	}
}

// A table that fails names itself.
func TestFailures(t *testing.T) {
	o := &table.Opener{Types: builtin.Types()}
	defer o.Close()
	for _, spec := range []string{"fail:x", "sqlite:/no/such/file.cf", "hash:/no/such/file", "nonesuch:x"} {
		tab, _ := o.Open(t.Context(), spec, table.Use{})
		if _, err := tab.Lookup(t.Context(), "key"); err == nil || err == table.ErrNotFound || !strings.Contains(err.Error(), spec) {
			t.Errorf("%s: Lookup: %v", spec, err)
		}
	}
}
