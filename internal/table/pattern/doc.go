// Package pattern holds the lookup tables whose keys are patterns: regexp:,
// pcre: and cidr:.
//
// # Rules
//
// A table is a list of rules, one to a line, in the line format of main.cf:
//
//	# blank lines and comments mean nothing
//	/^postmaster@/           OK
//	!/@example\.test$/       REJECT not one of ours
//	if /@lists\./
//	/^(.*)-request@(.*)$/    owner-$1@$2
//	endif
//
// The rules are tried from the first to the last; the first one that matches
// gives the result. An exclamation mark in front turns a pattern over, a second
// one turns it back. The rules between "if" and "endif" are only tried when the
// pattern of the if holds; these pairs nest. An if without endif reaches to the
// end of the table.
//
// A table is a file, or is written in main.cf itself, each rule in braces:
// "regexp:{{/^postmaster@/ OK}, {!/@example\.test$/ REJECT}}".
//
// A rule that cannot be used is left out, with a warning that names its line;
// the others work. That goes for an if, too: the rules behind it are then
// tried as if it were not there, and its endif is left out like it.
//
// # Patterns of text: regexp, pcre
//
// Any character but a letter, a digit or white space delimits a pattern; a
// backslash takes it in. The letters behind it turn options over:
//
//	i  letters match in either case; on to begin with
//	m  ^ and $ match at newlines as well; off
//	x  regexp: extended syntax; on. pcre: white space means nothing; off
//
// and for pcre: s (a dot matches newlines; on), A (anchored), E ($ only at the
// very end), U (not greedy). A regexp: rule may have a second pattern that must
// not match, /this/!/that/.
//
// In the result $1, ${1} and $(1) are the text of a group, empty if it took no
// part, and $$ is a dollar sign. A number that no group has, groups of a negated
// pattern, and any group where the caller forbids it (Use.NoSubstitution) make
// the rule unusable.
//
// Keys and patterns are bytes; only ASCII letters have case. regexp: reads
// patterns as the GNU C library does, oddities included: where case does not
// matter, a small letter behind a backslash (\d, \n) matches nothing, and a range
// is one of capitals ([A-z] is [A-Z]). Of several matches the leftmost counts, of
// those the longest, and of those the one that takes the first alternatives and
// the most repetitions. The Go engine finds it in time linear in the length of
// the key; patterns with back-references, \< or \> are tried out, within limits;
// those with too many repetitions for either are given to PCRE2, which takes the
// first alternative instead of the longest. pcre: is PCRE2. A match that needs
// too many steps is a failure of the lookup and not a mismatch.
//
// The C library finds the same matches, but for its errors: it is wrong about
// anchors in a repeated group and back-references to or in one, and after
// (x){0,2}, (x*)* and (x|)* its groups may hold another part of the same match.
//
// Of many patterns the literal text is read that a key must have in order to match
// (the @lists. of the example). A key without it is a mismatch, and the engine is not
// asked; a table of many such rules has an index of these texts, so that a search
// costs a probe for each byte of the key instead of a match for each rule. It finds
// the rules that one by one would be found; but a pattern that the engine would give
// up on is no failure for a key that lacks the text.
//
// # Patterns of addresses: cidr
//
// A pattern is an address or a network, 192.0.2.1 or 2001:db8::/32, which may
// stand in brackets. Bits of the address beyond the mask must be zero. Keys that
// are not an address match nothing, and a negated pattern matches only other
// addresses of its family; an IPv4 address in IPv6 form is an IPv6 address.
//
// # Life
//
// A file is read again when it changes (table.File). The types are pattern
// types: they are asked for whole keys only. They have no rows to list, but show
// their rules as they are written, each with the ifs around it.
//
// The package imports origin, syntax, table, table/text for the problems of a line,
// and the PCRE2 library.
package pattern
