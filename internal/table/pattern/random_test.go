package pattern_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"postern/internal/table"
)

// TestPostfixRandom compares random tables with Postfix: what is found for keys
// that fit the patterns more or less, and which lines are complained about. Each
// table has a seed, which a failure names. In the environment, SEED is the first
// one, and TABLES how many tables of each type there are (30000 are a soak of some
// minutes).
func TestPostfixRandom(t *testing.T) {
	p := newPostfix(t)
	first, count := number(t, "SEED", 1), number(t, "TABLES", 50)
	t.Logf("seeds %d to %d", first, first+count-1)
	for _, g := range generators {
		t.Run(g.typ, func(t *testing.T) {
			t.Parallel()
			var wait sync.WaitGroup
			todo := make(chan int64)
			for range 2 {
				wait.Go(func() {
					for seed := range todo {
						p.compareRandom(t, g, seed)
					}
				})
			}
			for seed := first; seed < first+count && !t.Failed(); seed++ {
				todo <- seed
			}
			close(todo)
			wait.Wait()
		})
	}
}

// number reads a variable of the environment.
func number(t *testing.T, name string, def int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// generator writes random tables of one type, and keys for them.
type generator struct {
	typ  string
	make func(g *gen) (text string, keys []string)
}

var generators = []generator{
	{"regexp", func(g *gen) (string, []string) { g.flags = "imx"; return g.textTable() }},
	{"pcre", func(g *gen) (string, []string) { g.perl, g.flags = true, "imsxAEU"; return g.textTable() }},
	{"cidr", (*gen).cidrTable},
}

func (p postfix) compareRandom(t *testing.T, g generator, seed int64) {
	random := &gen{Rand: rand.New(rand.NewPCG(uint64(seed), 1))}
	text, keys := g.make(random)
	path := filepath.Join(p.dir, fmt.Sprint(g.typ, seed))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Error(err)
		return
	}
	var log warnings
	tab, err := types()[g.typ](t.Context(), &table.Opener{Log: &log}, path, table.Use{})
	if err != nil {
		t.Error(err)
		return
	}
	defer tab.Close()
	found, complaints := p.query(t, g.typ+":"+path, keys)
	for _, key := range keys {
		want, ok := found[key]
		if !ok {
			want = "-"
		}
		got := answer(tab, key)
		if strings.HasSuffix(got, "too much backtracking for this key") {
			continue // the C library takes its time
		}
		if got != want {
			t.Errorf("seed %d, %s table\n%sLookup(%q) = %q, Postfix says %q", seed, g.typ, text, key, got, want)
			return
		}
	}
	if got, want := lineNumbers(log), lineNumbers(complaints); got != want {
		t.Errorf("seed %d, %s table\n%swarnings of lines %s, Postfix warns of %s\n%s\n%s", seed, g.typ, text, got, want,
			strings.Join(log, "\n"), strings.Join(complaints, "\n"))
	}
}

// gen makes random tables.
type gen struct {
	*rand.Rand
	flags  string // letters behind a pattern
	perl   bool
	groups int  // of the pattern that is being written
	vague  bool // its groups may hold this or that: see the package comment
	loops  bool // a group is repeated in it
	refers bool // it has a back-reference
}

// one returns one of the items.
func (g *gen) one(items ...string) string { return items[g.IntN(len(items))] }

// often is true in n of 100 cases.
func (g *gen) often(n int) bool { return g.IntN(100) < n }

// node is a piece of a pattern, a text that it is likely to match, and whether
// it may match nothing.
type node struct {
	pattern, sample string
	empty           bool
}

// textTable writes a table of regexp or pcre rules.
func (g *gen) textTable() (string, []string) {
	var text strings.Builder
	var samples []string
	depth := 0
	for range 1 + g.IntN(6) {
		n := g.pattern()
		samples = append(samples, n.sample)
		switch {
		case g.often(15):
			depth++
			fmt.Fprintf(&text, "%s %s%s%s\n", g.one("if", "IF", "if "), g.one("", "", "!", "!!", "! "), n.pattern, g.one("", "", " x"))
		case depth > 0 && g.often(30):
			depth--
			fmt.Fprintf(&text, "%s\n", g.one("endif", "ENDIF", "endif x", "endif"))
		default:
			fmt.Fprintf(&text, "%s%s%s%s\n", g.one("", "", "", "", "!", "!!"), n.pattern, g.one(" ", "\t", "\n  "), g.result())
		}
	}
	if g.often(80) {
		text.WriteString(strings.Repeat("endif\n", depth))
	}
	text.WriteString(g.one("", "/^/ nothing\n", "endif\n"))
	return text.String(), g.keys(samples)
}

// result writes the result of a rule.
func (g *gen) result() string {
	if g.vague || g.groups == 0 && g.often(80) {
		return g.one("x", "y z", "100$$", "  x  ")
	}
	n := 1 + g.IntN(max(1, g.groups))
	switch g.IntN(20) {
	case 0:
		return fmt.Sprintf("$%d", g.groups+1)
	case 1:
		return g.one("$", "$0", "$x", "${}", "${1", "$(1", "${1}}", "$1x", "$1_", "$$$1", "${1x}", "$ 1", "a$", "$01", "${01}", "$(1}", "$-1", "$\xe9")
	case 2:
		return ""
	}
	var b strings.Builder
	for i := 1; i <= g.groups; i++ {
		fmt.Fprintf(&b, g.one("[$%d]", "(${%d})", "$(%d)|", "<${%d}>"), i)
	}
	if g.often(20) {
		fmt.Fprintf(&b, "$%d", n)
	}
	return b.String()
}

// pattern writes a delimited pattern with flags.
func (g *gen) pattern() node {
	g.groups, g.vague, g.loops, g.refers = 0, false, false, false
	basic := false
	flags := ""
	for g.often(20) {
		c := g.flags[g.IntN(len(g.flags))]
		flags += string(c)
		if c == 'x' && !g.perl {
			basic = !basic
		}
	}
	if g.often(2) {
		flags += g.one("q", "X", "Z", "1", "/")
	}
	n := g.expression(3)
	if basic && g.often(70) {
		n.pattern = toBasic.Replace(n.pattern)
	}
	delimiter := g.one("/", "/", "/", "/", "|", "#", "~", "@", "{")
	if strings.HasPrefix(delimiter, "#") {
		delimiter = "," // a line that begins with # is a comment
	}
	body := strings.ReplaceAll(n.pattern, delimiter, "\\"+delimiter)
	n.pattern = delimiter + body + delimiter + flags
	if !g.perl && g.often(10) {
		groups := g.groups
		but := g.expression(1)
		g.groups = groups
		n.pattern += "!/" + strings.ReplaceAll(but.pattern, "/", `\/`) + "/" + g.one("", "", "i", "m")
	}
	return n
}

// toBasic turns most operators of extended syntax into those of basic syntax.
var toBasic = strings.NewReplacer(`\(`, "(", `\)`, ")", "(", `\(`, ")", `\)`, "{", `\{`, "}", `\}`, "|", `\|`, "+", `\+`, "?", `\?`)

// expression writes alternatives.
func (g *gen) expression(depth int) node {
	n := g.branch(depth)
	for g.often(20) {
		other := g.branch(depth)
		n.pattern += "|" + other.pattern
		g.vague = g.vague || (n.empty || other.empty) && !g.perl
		n.empty = n.empty || other.empty
		if g.often(50) {
			n.sample = other.sample
		}
	}
	return n
}

func (g *gen) branch(depth int) node {
	n := node{empty: true}
	for range 1 + g.IntN(4) {
		piece := g.piece(depth)
		n.pattern += piece.pattern
		n.sample += piece.sample
		n.empty = n.empty && piece.empty
	}
	if g.often(3) {
		return node{empty: true}
	}
	return n
}

// piece writes an atom, perhaps repeated.
func (g *gen) piece(depth int) node {
	n := g.atom(depth)
	if !g.often(30) {
		return n
	}
	if strings.HasSuffix(n.pattern, ")") && !g.perl {
		if g.refers || strings.ContainsAny(n.pattern, `^$\`) {
			return n // the C library is wrong about references and anchors in a repetition
		}
		g.loops = true
	}
	times := 1
	g.vague = g.vague || n.empty && !g.perl
	switch g.IntN(9) {
	case 0, 1:
		n.pattern += "*"
		times = g.IntN(4)
	case 2, 3:
		n.pattern += "+"
		times = 1 + g.IntN(3)
	case 4, 5:
		n.pattern += "?"
		times = g.IntN(2)
	case 6:
		low, more := g.IntN(3), g.IntN(3)
		g.vague = g.vague || more == 2 && strings.HasSuffix(n.pattern, ")") && !g.perl
		n.pattern += fmt.Sprintf("{%d,%d}", low, low+more)
		times = low + g.IntN(more+1)
	case 7:
		times = g.IntN(3)
		n.pattern += fmt.Sprintf(g.one("{%d}", "{%d,}"), times)
	case 8:
		g.vague = !g.perl
		n.pattern += g.one("{,2}", "{2,1}", "{", "{1", "{1,", "{x}", "**", "*?", "+?", "??", "*+", "{1}{2}", "{}", "{,}")
	}
	n.sample = strings.Repeat(n.sample, times)
	n.empty = n.empty || !strings.HasSuffix(n.pattern, "+")
	return n
}

// atom writes a character, a set, a group, an anchor.
func (g *gen) atom(depth int) node {
	switch {
	case depth > 0 && g.often(25):
		g.groups++
		n := g.expression(depth - 1)
		n.pattern = "(" + n.pattern + ")"
		return n
	case g.often(12):
		return g.bracket()
	case g.often(6) && g.groups > 0 && (g.perl || !g.loops):
		g.refers = true
		return node{fmt.Sprintf("\\%d", 1+g.IntN(g.groups)), g.one("a", "ab", ""), true}
	case g.often(8):
		return g.escape()
	case g.often(6):
		return node{g.one("^", "$"), "", true}
	case g.often(2):
		return g.odd()
	}
	c := g.one("a", "a", "b", "b", "ab", "c", "A", "B", ".", "@", "1", "-", "_", " ", "\xe9", "\xc9", "\xc3\xa9", "/", "x", "a.b")
	return node{c, strings.ReplaceAll(c, ".", g.one("a", "b", ".")), false}
}

func (g *gen) odd() node {
	if g.perl {
		n := g.branch(0)
		switch g.IntN(8) {
		case 0:
			return node{"(?:" + n.pattern + ")", n.sample, true}
		case 1:
			return node{"(?=" + n.pattern + ")", "", true}
		case 2:
			return node{"(?!" + n.pattern + ")", "", true}
		case 3:
			return node{"(?<=" + n.pattern + ")", "", true}
		case 4:
			return node{"(?i)" + n.pattern, n.sample, true}
		case 5:
			return node{"(?-i:" + n.pattern + ")", n.sample, true}
		case 6:
			return node{"(?>" + n.pattern + ")", n.sample, true}
		}
	}
	g.vague = !g.perl
	return node{g.one("(", ")", "[", "]", "{", "}", "*", "+", "?", "|", "()", "||", "(|a)", "[]", "[^]"), "", true}
}

func (g *gen) escape() node {
	pairs := []string{`\.`, ".", `\*`, "*", `\\`, `\`, `\+`, "+", `\?`, "?", `\(`, "(", `\)`, ")", `\[`, "[", `\]`, "]", `\{`, "{", `\}`, "}", `\|`, "|", `\^`, "^", `\$`, "$", `\@`, "@", `\-`, "-", `\w`, "a", `\W`, "-", `\s`, " ", `\S`, "a", `\b`, "", `\B`, "", `\_`, "_", `\/`, "/"}
	if g.perl {
		pairs = append(pairs, `\d`, "1", `\D`, "a", `\x41`, "A", `\A`, "", `\z`, "", `\Z`, "", `\h`, " ", `\Qa.b\E`, "a.b", `\R`, "", `\N`, "a", `\K`, "")
	} else {
		pairs = append(pairs, `\<`, "", `\>`, "", "\\`", "", `\'`, "", `\a`, "a", `\d`, "d", `\n`, "n", `\,`, ",", `\"`, `"`, "\\\xe9", "\xe9")
	}
	i := 2 * g.IntN(len(pairs)/2)
	return node{pairs[i], pairs[i+1], pairs[i+1] == ""}
}

// bracket writes a bracket expression.
func (g *gen) bracket() node {
	members := []string{"a", "a", "b", "b", "ab", "ba", "a-c", "a", "0-9", "1", "[:alpha:]", "b", "[:digit:]", "2", "[:upper:]", "A", "[:lower:]", "a", "[:space:]", " ",
		"[:punct:]", "-", "[:alnum:]", "1", "[:xdigit:]", "f", "[:blank:]", " ", "[:cntrl:]", "", "[:print:]", "a", "[:graph:]", "a", "A-Z", "B", "x-z", "y",
		"@", "@", ".", ".", "_", "_", "*", "*", "$", "$", "(", "(", "|", "|", "{", "{", "\xe9", "\xe9", "\xe0-\xff", "\xe9", "^", "^", "+", "+", "[", "["}
	if !g.perl {
		members = append(members, `\`, `\`, `\w`, "w", `\d`, "d", "[.a.]", "a", "[=a=]", "a", "[.-.]", "-", "[.a.]-c", "b")
	} else {
		members = append(members, `\w`, "w", `\d`, "1", `\\`, `\`, `\]`, "]", `\-`, "-", `\s`, " ")
	}
	if g.often(4) {
		members = append(members, "b-a", "", "a-", "a", "-a", "a", "[:foo:]", "", "[.ab.]", "", "a-[:digit:]", "", "+--", ",", "a-b-c", "", "[:alpha:", "", "[=", "", "[", "[")
	}
	var b strings.Builder
	b.WriteString("[" + g.one("", "", "", "^"))
	if g.often(8) {
		b.WriteString("]")
	}
	sample := ""
	for range 1 + g.IntN(3) {
		i := 2 * g.IntN(len(members)/2)
		b.WriteString(members[i])
		sample = members[i+1]
	}
	b.WriteString(g.one("]", "]", "]", "]", "-]"))
	return node{b.String(), sample, false}
}

// keys are texts like the samples, and others.
func (g *gen) keys(samples []string) []string {
	seen := map[string]bool{"": true}
	var keys []string
	add := func(key string) {
		key = noLine.Replace(key)
		if !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	for _, s := range samples {
		add(s)
		add(strings.ToUpper(s))
		for range 3 {
			add(g.change(s))
		}
		add(s + g.one(samples...))
		add(g.one("a", " ", "@") + s)
		add(s + g.one("b", " ", "-"))
	}
	for range 6 {
		add(g.noise())
	}
	return keys
}

// noLine takes out what postmap cannot read or write in a line.
var noLine = strings.NewReplacer("\n", "x", "\t", "x", "\x00", "x")

// change replaces, adds or drops a byte.
func (g *gen) change(s string) string {
	if s == "" {
		return g.noise()
	}
	i := g.IntN(len(s))
	return s[:i] + g.one("", "a", "b", "A", "1", " ", "aa", "\xe9") + s[i+g.IntN(2):]
}

func (g *gen) noise() string {
	var b strings.Builder
	for range g.IntN(8) {
		b.WriteString(g.one("a", "b", "c", "A", "B", "1", "2", ".", "@", "-", "_", " ", "\\", "(", "*", "\xe9", "\xc9", "ab"))
	}
	return b.String()
}

// cidrTable writes a table of networks.
func (g *gen) cidrTable() (string, []string) {
	var text strings.Builder
	var samples []string
	depth := 0
	for range 1 + g.IntN(12) {
		pattern, sample := g.network()
		samples = append(samples, sample)
		not := g.one("", "", "", "", "!", "!!", "! ")
		switch {
		case g.often(15):
			depth++
			fmt.Fprintf(&text, "%s %s%s%s\n", g.one("if", "IF"), not, pattern, g.one("", "", "", " ", " x"))
		case depth > 0 && g.often(30):
			depth--
			text.WriteString(g.one("endif\n", "ENDIF\n", "endif x\n"))
		default:
			fmt.Fprintf(&text, "%s%s%s\n", not, pattern, g.one(" x", "\ty z ", " $1", " a$", "", "  ", "\n 1"))
		}
	}
	text.WriteString(strings.Repeat("endif\n", g.IntN(depth+2)))
	text.WriteString(g.one("", "0.0.0.0/0 four\n::/0 six\n"))
	for range 10 {
		_, sample := g.network()
		samples = append(samples, sample)
	}
	samples = append(samples, "x", "192.0.2", "192.0.2.256", "192.0.2.1.1", "192.0.2.01", "::ffff:192.0.2.1", "fe80::1%lo", "fe80::1%1", "[::1]", ":::1", "1::2::3", "2001:DB8::1", "192.0.2.1 ", " 192.0.2.1", "0x7f.1", "127.1", "2130706433", "::192.0.2.1", "192.0.2.1/32", "-")
	seen := map[string]bool{}
	var keys []string
	for _, s := range samples {
		if !seen[s] {
			seen[s] = true
			keys = append(keys, s)
		}
	}
	return text.String(), keys
}

// network writes a network and an address that is likely to be in it.
func (g *gen) network() (pattern, sample string) {
	if g.often(4) {
		return g.one("x", "192.0.2", "192.0.2.0/", "192.0.2.0/x", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/+8", "192.0.2.0/24/24", "/24", "[192.0.2.1", "192.0.2.1]", "[192.0.2.1]x",
			"[2001:db8::]/32/", "2001:db8::/129", "fe80::1%lo", "::ffff:192.0.2.0/120", "192.0.2.0/024", "192.0.2.0/ 24", "256.0.0.0/8", "192.00.2.0/24", "[::1]]", "[]", "[[::1]]", "2001:db8:::/32", "/", "192.0.2.0/24x", "::/00"), "192.0.2.1"
	}
	var addr netip.Addr
	if g.often(65) {
		addr = netip.AddrFrom4([4]byte{byte(10 + g.IntN(2)), 0, byte(g.IntN(3)), byte(g.IntN(256))})
	} else {
		b := netip.MustParseAddr("2001:db8::").As16()
		b[5], b[15] = byte(g.IntN(2)), byte(g.IntN(4))
		if g.often(20) {
			b = netip.MustParseAddr("::ffff:10.0.0.1").As16()
		}
		addr = netip.AddrFrom16(b)
	}
	bits := addr.BitLen() - g.IntN(g.IntN(addr.BitLen())+1)
	prefix := netip.PrefixFrom(addr, bits)
	if g.often(95) {
		prefix = prefix.Masked()
	}
	switch text := prefix.String(); {
	case g.often(20):
		return prefix.Addr().String(), addr.String()
	case g.often(10):
		return "[" + text + "]", addr.String()
	case g.often(10):
		return fmt.Sprintf("[%s]/%d", prefix.Addr(), bits), addr.String()
	case g.often(5):
		return strings.ToUpper(text), addr.String()
	default:
		return text, addr.String()
	}
}
