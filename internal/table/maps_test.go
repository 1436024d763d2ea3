package table_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/address"
	"postern/internal/table"
)

func keys(k ...table.Key) func(func(table.Key) bool) { return slices.Values(k) }

func TestFind(t *testing.T) {
	full, partial := table.Key{Text: "full"}, table.Key{Text: "part", Partial: true}
	alt := table.Key{Text: "ext", Alt: "int"}
	tests := []struct {
		name, value string
		keys        []table.Key
		want        string // "table key value", or "" when not found
		err         string
		steps       string
	}{
		{"nothing", "", []table.Key{full}, "", "", ""},
		{"first table wins", "map:full=1, map:full=2", []table.Key{full}, "map:full=1 full 1", "", "1/full+"},
		{"key before table", "map:part=1 map:full=2", []table.Key{full, partial}, "map:full=2 full 2", "", "1/full- 2/full+"},
		{"partial", "map:x=1 map:part=2", []table.Key{full, partial}, "map:part=2 part 2", "", "1/full- 2/full- 1/part- 2/part+"},
		{"no partial keys for patterns", "pat:part=1 map:part=2", []table.Key{partial}, "map:part=2 part 2", "", "2/part+"},
		{"alternative", "map:int=1 map:x=2", []table.Key{alt}, "map:int=1 int 1", "", "1/ext- 2/ext- 1/int+"},
		{"external form first", "map:int=1 map:ext=2", []table.Key{alt}, "map:ext=2 ext 2", "", "1/ext- 2/ext+"},
		{"same alternative", "map:x=1", []table.Key{{Text: "a", Alt: "a"}}, "", "", "1/a-"},
		{"empty key", "map:=1", []table.Key{{}}, "", "", ""},
		{"failure ends", "map:x=1 fail:y map:full=2", []table.Key{full}, "", "fail:y is unavailable. down", "1/full- 2/full!"},
		{"found before the failure", "map:full=1 fail:y", []table.Key{full}, "map:full=1 full 1", "", "1/full+"},
		{"an error without class", "rude:x", []table.Key{full}, "", `rude:x lookup error for "full": plain`, "1/full!"},
		{"broken key", "map:full=1", []table.Key{{Err: errors.New("no myorigin")}, full}, "", "no myorigin", ""},
		{"empty result", "map:full=", []table.Key{full}, "",
			`map:full= lookup error for "full": test_maps lookup of full returns an empty string result; test_maps should return NO RESULT in case of NOT FOUND`, "1/full+"},
		{"bare name", "virtual", []table.Key{full}, "", `virtual is unavailable. open dictionary: expecting "type:name" form instead of "virtual"`, "1/full!"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			m, _ := w.Maps(t.Context(), tt.value, table.Use{Parameter: "test_maps"})
			var steps []string
			found, err := m.Find(t.Context(), keys(tt.keys...), func(s table.Step) {
				n := slices.IndexFunc(m.Tables, func(tab table.Table) bool { return tab.Name() == s.Table }) + 1
				sign := "!"
				if s.Err == nil {
					sign = "+"
				} else if s.Err == table.ErrNotFound {
					sign = "-"
				}
				if s.Parameter != "test_maps" {
					t.Errorf("step without its parameter: %+v", s)
				}
				steps = append(steps, fmt.Sprintf("%d/%s%s", n, s.Key, sign))
			})
			if got := strings.Join(steps, " "); got != tt.steps {
				t.Errorf("steps %q, want %q", got, tt.steps)
			}
			switch {
			case tt.err != "":
				if err == nil || err.Error() != tt.err {
					t.Errorf("Find: %v, want %s", err, tt.err)
				}
			case tt.want == "":
				if err != table.ErrNotFound {
					t.Errorf("Find = %+v, %v, want ErrNotFound", found, err)
				}
			case err != nil:
				t.Errorf("Find: %v, want %s", err, tt.want)
			default:
				got := strings.Join([]string{found.Table.Name(), found.Key.Text, found.Value}, " ")
				if got != tt.want || len(found.At) == 0 {
					t.Errorf("Find = %q at %v, want %q", got, found.At, tt.want)
				}
			}
		})
	}
}

func TestEmptyResultIsConfigError(t *testing.T) {
	w := newWorld(t)
	m, err := w.Maps(t.Context(), "map:a=", table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Find(t.Context(), table.OnlyKey("a"), nil)
	var e *table.Error
	if !errors.As(err, &e) || !e.Config || e.At.IsZero() {
		t.Errorf("Find: %#v, want a configuration error with its place", err)
	}
}

func TestMapsErrors(t *testing.T) {
	w := newWorld(t)
	m, err := w.Maps(t.Context(), "map:a=1, nope:x, {map:b=2} broken:y", table.Use{})
	if len(m.Tables) != 4 || m.Empty() {
		t.Fatalf("Maps has %d tables", len(m.Tables))
	}
	for _, want := range []string{"unsupported dictionary type: nope", "broken:y is unavailable", "{map"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Maps: %v, want %q in it", err, want)
		}
	}
	var none *table.Maps
	if !none.Empty() {
		t.Error("a nil Maps is not empty")
	}
	if _, err := none.Find(t.Context(), table.OnlyKey("a"), nil); err != table.ErrNotFound {
		t.Errorf("Find in a nil Maps: %v", err)
	}
}

// key is a Key in short: kind, text, alternative when it differs, extension.
func short(k table.Key) string {
	names := map[table.KeyKind]string{
		table.Full: "full", table.NoExtension: "noext", table.BareFull: "bare", table.BareNoExtension: "barenoext",
		table.CatchAll: "catchall", table.Domain: "domain", table.Parent: "parent", table.Star: "star",
		table.LocalAt: "localat", table.LocalAtNoExtension: "localatnoext",
	}
	if k.Err != nil {
		return "error " + k.Err.Error()
	}
	s := names[k.Kind] + " " + k.Text
	if k.Alt != "" && k.Alt != k.Text {
		s += "|" + k.Alt
	}
	if k.Extension != "" {
		s += " (" + k.Extension + ")"
	}
	if k.Partial == (k.Kind == table.Full) {
		s += " PARTIAL IS WRONG"
	}
	return s
}

func collect(seq func(func(table.Key) bool)) []string {
	var got []string
	for k := range seq {
		got = append(got, short(k))
	}
	return got
}

func TestKeys(t *testing.T) {
	plus := address.Delimiter{Set: "+-", DoubleBounce: "double-bounce", OwnerRequest: true}
	yes := func() (bool, error) { return true, nil }
	no := func() (bool, error) { return false, nil }
	broken := func() (bool, error) { return false, errors.New("down") }
	addr := address.Split
	tests := []struct {
		call string
		seq  func(func(table.Key) bool)
		want []string
	}{
		{"address, not local", table.AddressKeys(addr("user+ext@a.test"), plus, no, table.ExternalFirst),
			[]string{"full user+ext@a.test", "noext user@a.test (+ext)", "catchall @a.test"}},
		{"address, local", table.AddressKeys(addr("user+ext@a.test"), plus, yes, table.ExternalFirst),
			[]string{"full user+ext@a.test", "noext user@a.test (+ext)", "bare user+ext", "barenoext user (+ext)", "catchall @a.test"}},
		{"first delimiter", table.AddressKeys(addr("a-b+c@a.test"), plus, nil, table.ExternalFirst),
			[]string{"full a-b+c@a.test", "noext a@a.test (-b+c)", "catchall @a.test"}},
		{"no delimiter", table.AddressKeys(addr("user+ext@a.test"), address.Delimiter{}, yes, table.ExternalFirst),
			[]string{"full user+ext@a.test", "bare user+ext", "catchall @a.test"}},
		{"never split", table.AddressKeys(addr("owner-list@a.test"), plus, nil, table.ExternalFirst),
			[]string{"full owner-list@a.test", "catchall @a.test"}},
		{"bare fails", table.AddressKeys(addr("user@a.test"), plus, broken, table.ExternalFirst),
			[]string{"full user@a.test", "error down"}},
		{"quoted", table.AddressKeys(addr("a b+c@a.test"), plus, yes, table.ExternalFirst),
			[]string{`full "a b+c"@a.test|a b+c@a.test`, `noext "a b"@a.test|a b@a.test (+c)`, `bare "a b+c"|a b+c`, `barenoext "a b"|a b (+c)`, "catchall @a.test"}},
		{"quoted, external only", table.AddressKeys(addr("a b@a.test"), plus, nil, table.ExternalOnly),
			[]string{`full "a b"@a.test`, "catchall @a.test"}},
		{"without domain", table.AddressKeys(addr("user+ext"), plus, yes, table.ExternalFirst),
			[]string{"full user+ext", "noext user (+ext)"}},
		{"case is kept", table.AddressKeys(addr("User@A.test"), plus, nil, table.ExternalFirst),
			[]string{"full User@A.test", "catchall @A.test"}},
		{"transport", table.TransportKeys(addr("user+ext@a.b.test"), plus, false),
			[]string{"full user+ext@a.b.test", "noext user@a.b.test (+ext)", "domain a.b.test", "parent .b.test", "parent .test", "star *"}},
		{"transport, parents without dot", table.TransportKeys(addr("user@a.b.test"), plus, true),
			[]string{"full user@a.b.test", "domain a.b.test", "parent b.test", "parent test", "star *"}},
		{"transport, literal", table.TransportKeys(addr("user@[192.0.2.1]"), plus, false),
			[]string{"full user@[192.0.2.1]", "domain [192.0.2.1]", "star *"}},
		{"access", table.AccessAddressKeys(addr("user+ext@a.b.test"), plus, true),
			[]string{"full user+ext@a.b.test", "noext user@a.b.test (+ext)", "domain a.b.test", "parent b.test", "parent test", "localat user+ext@", "localatnoext user@ (+ext)"}},
		{"access, quoted", table.AccessAddressKeys(addr("a b@t.test"), plus, false),
			[]string{`full "a b"@t.test|a b@t.test`, "domain t.test", "parent .test", `localat "a b"@|a b@`}},
		{"host", table.HostKeys("mx.a.test", true), []string{"full mx.a.test", "parent a.test", "parent test"}},
		{"host, dotted", table.HostKeys("mx.a.test", false), []string{"full mx.a.test", "parent .a.test", "parent .test"}},
		{"host, odd dots", table.HostKeys("..a.", true), []string{"full ..a.", "parent a."}},
		{"net", table.NetKeys("192.0.2.1"), []string{"full 192.0.2.1", "parent 192.0.2", "parent 192.0", "parent 192"}},
		{"net, IPv6", table.NetKeys("2001:db8::1"), []string{"full 2001:db8::1", "parent 2001:db8:", "parent 2001:db8", "parent 2001"}},
		{"alias", table.AliasKeys("user+ext", plus), []string{"full user+ext", "noext user (+ext)"}},
		{"only", table.OnlyKey("x"), []string{"full x"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, collect(tt.seq)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.call, diff)
		}
		for n := range collect(tt.seq) { // every early end must be borne
			i := 0
			for range tt.seq {
				if i == n {
					break
				}
				i++
			}
		}
	}
}

func TestBareIsAskedLate(t *testing.T) {
	seq := table.AddressKeys(address.Split("a@b.test"), address.Delimiter{}, func() (bool, error) {
		t.Error("bare was called though the full address was found")
		return false, nil
	}, table.ExternalFirst)
	for range seq {
		break
	}
}
