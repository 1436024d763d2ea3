package pattern_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
)

func TestRules(t *testing.T) {
	tests := []struct {
		name, typ, text string
		want            map[string]string // key to value; "-": not found
		warnings        []string          // without "TYPE map FILE, "
	}{
		{
			name: "first match wins", typ: "regexp",
			text: "/^a/ one\n/^ab/ two\n/b/ three\n",
			want: map[string]string{"ab": "one", "b": "three", "c": "-", "AB": "one"},
		},
		{
			name: "negation", typ: "regexp",
			text: "!/a/ no a\n!!/b/ b\n! /c/ no c\n",
			want: map[string]string{"x": "no a", "ab": "b", "a": "no c", "ac": "-"},
		},
		{
			name: "but not", typ: "regexp",
			text: "/a(.)/!/z/ got $1\n!/b/!/c/ no b, no c\n/d/!!/e/ d and e\n",
			want: map[string]string{"ax": "got x", "axz": "no b, no c", "bd": "-", "cdeb": "d and e", "bc": "-"},
		},
		{
			name: "if", typ: "regexp",
			text: "if /^a/\n/^ab/ ab\nIF!/^ac/i\n/^ad/ ad\nendif\nENDIF\n/^a/ a\nif /^z/\n/zz/ zz",
			want: map[string]string{"abc": "ab", "ad": "ad", "ac": "a", "b": "-", "zz": "zz", "xzz": "-"},
			warnings: []string{
				"line 8: IF has no matching ENDIF",
			},
		},
		{
			name: "flags", typ: "regexp",
			text: "/^a$/i small\n/^b$/ii either\n/^c+$/x plus\n/^d.e$/m one line\n/^f$/m line f\n/q/v q\n",
			want: map[string]string{"a": "small", "A": "-", "B": "either", "c+": "plus", "c": "-", "d\ne": "-", "dxe": "one line", "x\nf\ny": "line f"},
			warnings: []string{
				`line 6: unknown flag 'v': skipping this rule`,
			},
		},
		{
			name: "delimiters", typ: "regexp",
			text: ",^comma, C\n|^pi\\|pe| P\n/^a\\/b$/ slash\n@^at @ A  T \n/open\n/open\\/ x\n!\n!y Y\nword x\n",
			want: map[string]string{"comma": "C", "pi|pe": "P", "a/b": "slash", "at ": "A  T"},
			warnings: []string{
				`line 5: no closing delimiter '/': skipping this rule`,
				`line 6: no closing delimiter '/': skipping this rule`,
				`line 7: no pattern: skipping this rule`,
				`line 8: no closing delimiter 'y': skipping this rule`,
				`line 9: unrecognized request: skipping this rule`,
			},
		},
		{
			name: "substitution", typ: "regexp",
			text: "/^a(.)(x)?$/ $1-${1}y$(1)z$01[$2]$$\n/^b$/ $$x\n/^d(.)/ $1 x\n",
			want: map[string]string{"aq": "q-qyqzq[]$", "aqx": "q-qyqzq[x]$", "b": "$x", "de": "e x"},
		},
		{
			name: "bad substitution", typ: "regexp",
			text: "/^a(.)/ $1y\n/^a/ $0\n/^a(.)/ $2\n!/./ $1\n/^a/ x$\n/^a(.)/ x${1\n/^a(.)/ ${1?x}\n/^a/ ${}\n/^a(.)/ $(1}\n/^a(.)/ ${ 1 }\n/^a/ $99999999999999999999\n/^a/!/(z)/ $1\n/^a/",
			want: map[string]string{"ab": ""},
			warnings: []string{
				`line 1: bad replacement syntax: non-numeric replacement index "1y": skipping this rule`,
				`line 2: bad replacement syntax: out-of-range replacement index "0": skipping this rule`,
				`line 3: out of range replacement index "2": skipping this rule`,
				`line 4: $number found in negative match replacement text: skipping this rule`,
				`line 5: bad replacement syntax: no group number after '$': skipping this rule`,
				`line 6: bad replacement syntax: no end of a group number in braces or parentheses: skipping this rule`,
				`line 7: bad replacement syntax: non-numeric replacement index "1?x": skipping this rule`,
				`line 8: bad replacement syntax: no group number after '$': skipping this rule`,
				`line 9: bad replacement syntax: no end of a group number in braces or parentheses: skipping this rule`,
				`line 10: bad replacement syntax: non-numeric replacement index " 1 ": skipping this rule`,
				`line 11: bad replacement syntax: out-of-range replacement index "99999999999999999999": skipping this rule`,
				`line 12: out of range replacement index "1": skipping this rule`,
				`line 13: no replacement text: using empty string`,
			},
		},
		{
			name: "loose ends", typ: "regexp",
			text: "  orphan\nif /a/ extra\nendif more\nendif\nif /(/\n/b/ x\nendif\n/c/!q\n/d/!/(/ x\n",
			want: map[string]string{"b": "x", "c": "-"},
			warnings: []string{
				`line 1: logical line must not start with whitespace: "  orphan"`,
				`line 2: ignoring extra text after IF statement: "extra" (a line that starts with white space continues the line above)`,
				`line 3: ignoring extra text after ENDIF`,
				`line 4: ENDIF without IF: skipping this rule`,
				`line 5: unmatched ( or \(: skipping this rule`,
				`line 7: ENDIF without IF: skipping this rule`,
				`line 8: no closing delimiter 'q': skipping this rule`,
				`line 9: unmatched ( or \(: skipping this rule`,
			},
		},
		{
			name: "bytes", typ: "regexp",
			text: "/^(\xc3)\xa9$/ $1\xa9\n/^[\xe0-\xff]$/ high\n/^(..)$/ two $1\n",
			want: map[string]string{"\u00e9": "\u00e9", "\u00c9": "two \u00c9", "\xe9": "high", "\xc9": "-"},
		},
		{
			name: "engines", typ: "regexp",
			text: "/^(.)\\1$/ twice $1\n/\\<cat\\>/ cat\n/^(ab|a)(bc)?$/ [$1][$2]\n/^(x{1,50}){1,100}y/ many\n",
			want: map[string]string{"zz": "twice z", "zZ": "twice z", "zy": "-", "a cat.": "cat", "cats": "-", "abc": "[a][bc]", "xxxy": "many"},
		},
		{
			name: "pcre", typ: "pcre",
			text: "/^a(?=b)/ ahead\n/^x(.)\\1$/ twice $1\n/^un(a)?(b)?$/ [$1$2]\n/^s t$/x spaced\n/^U/i big\n/^b$/A b\n/^c+/U c\n/^w/X w\n" +
				"/^e/ !/x/ text\n/^f/!/x/ x\n/(/ x\nif /g/\n/(?<name>g)/ $1\nendif",
			want: map[string]string{"ab": "ahead", "ac": "-", "xqq": "twice q", "unb": "[b]", "st": "spaced", "U": "big", "u": "-", "W": "w", "e": "!/x/ text", "f": "-", "fg": "g"},
			warnings: []string{
				`line 8: ignoring obsolete option 'X'`,
				`line 10: unknown flag '!': skipping this rule`,
				`line 11: missing closing parenthesis at offset 1: skipping this rule`,
			},
		},
		{
			name: "cidr", typ: "cidr",
			text: "192.0.2.1 one\n192.0.2.0/24   net work \n2001:db8::/32 six\n[2001:db9::]/48 outside\n[2001:dba::/48] inside\n!10.0.0.0/8 not 10\nif 10.0.0.0/8\n10.1.0.0/16 ten one\nIF !10.2.0.0/16\n10.0.0.0/8 ten\nendif\nendif\n",
			want: map[string]string{
				"192.0.2.1": "one", "192.0.2.9": "net work", "192.0.3.1": "not 10", "2001:DB8:0::7": "six", "2001:db9::1": "outside", "2001:dba::1": "inside",
				"10.1.2.3": "ten one", "10.2.0.1": "-", "10.3.0.1": "ten", "host": "-", "": "-", "[192.0.2.1]": "-", "192.0.2.001": "-", "fe80::1%eth0": "-", "::ffff:192.0.2.1": "-",
			},
		},
		{
			name: "bad cidr", typ: "cidr",
			text: "192.0.2.1/24 x\n10.0.0.0/33 x\n10.0.0.0/ x\n10.0.0 x\n010.0.0.1 x\nendif\n10.0.0.0/8\n!\nif\nif 10.0.0.0/8 x\nfe80::1%eth0 x\n1.2.3.4/24/5 x\n[::1 x\n::1] x\n[::1]x/128 x\n/24 x\n10.0.0.0/+8 x\nif 10.0.0.0/8",
			want: map[string]string{"192.0.2.1": "-", "10.0.0.1": "-", "::1": "-"},
			warnings: []string{
				`line 1: non-null host address bits in "192.0.2.1/24", perhaps you should use "192.0.2.0/24" instead: skipping this rule`,
				`line 2: bad mask length in "10.0.0.0/33": skipping this rule`,
				`line 3: bad mask value in "10.0.0.0/": skipping this rule`,
				`line 4: bad address pattern "10.0.0": skipping this rule`,
				`line 5: bad address pattern "010.0.0.1": skipping this rule`,
				`line 6: ENDIF without IF: skipping this rule`,
				`line 7: no lookup result: skipping this rule`,
				`line 8: no address pattern: skipping this rule`,
				`line 9: no address pattern: skipping this rule`,
				`line 10: bad mask value in "10.0.0.0/8 x": skipping this rule`,
				`line 11: bad address pattern "fe80::1%eth0": skipping this rule`,
				`line 12: bad mask value in "1.2.3.4/24/5": skipping this rule`,
				`line 13: missing ']' character after "[::1": skipping this rule`,
				`line 14: bad address pattern "::1]": skipping this rule`,
				`line 15: garbage after "[::1]": skipping this rule`,
				`line 16: bad address pattern "/24": skipping this rule`,
				`line 17: bad mask value in "10.0.0.0/+8": skipping this rule`,
				`line 18: IF has no matching ENDIF`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tab, log := open(t, tt.typ, tt.text, table.Use{})
			var got []string
			for _, line := range log.take() {
				_, text, _ := strings.Cut(line, "/rules, ")
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.warnings, got); diff != "" {
				t.Errorf("warnings (-want +got)\n%s", diff)
			}
			for key, want := range tt.want {
				if got := ask(t, tab, key); got != want {
					t.Errorf("Lookup(%q) = %q, want %q", key, got, want)
				}
			}
		})
	}
}

func TestNoSubstitution(t *testing.T) {
	text := "/^j(.*)/ box-$1/\n/^k/ $$k/\n/./ rest/\n"
	for _, typ := range []string{"regexp", "pcre"} {
		tab, log := open(t, typ, text, table.Use{NoSubstitution: true})
		for key, want := range map[string]string{"john": "rest/", "k": "$k/"} {
			if got := ask(t, tab, key); got != want {
				t.Errorf("%s: Lookup(%q) = %q, want %q", typ, key, got, want)
			}
		}
		got := log.take()
		if len(got) != 1 || !strings.HasSuffix(got[0], "line 1: $number substitution is not allowed here: skipping this rule") {
			t.Errorf("%s: warnings %q, want one that forbids the substitution of line 1", typ, got)
		}
	}
}
