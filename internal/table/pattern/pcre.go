package pattern

import (
	"context"
	"fmt"
	"regexp/syntax"

	"go.elara.ws/pcre/lib"

	"postern/internal/table"
)

// Pcre opens a pcre: table (pcre_table(5)). It is like a regexp: table with
// Perl's patterns. A match that needs too much backtracking is a failure of
// the lookup, not a mismatch.
func Pcre(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	return open(ctx, o, textDialect("pcre", compilePcre, false, "X"), name, use)
}

// compilePcre makes a matcher of a Perl pattern. Each flag letter turns an
// option over; i and s are on to begin with. X, an option of the first PCRE,
// has no effect.
func compilePcre(source, flags string) (matcher, int, error) {
	options := uint32(lib.DPCRE2_CASELESS | lib.DPCRE2_DOTALL)
	for i := 0; i < len(flags); i++ {
		option, ok := pcreOption(flags[i])
		if !ok {
			return nil, 0, fmt.Errorf("unknown flag %q", flags[i])
		}
		options ^= option
	}
	m, err := newBacktracking(source, options)
	if err != nil {
		return nil, 0, err
	}
	if options&lib.DPCRE2_EXTENDED != 0 || !shared(source) {
		return m, m.groups, nil
	}
	notation := syntax.Perl
	if options&lib.DPCRE2_MULTILINE != 0 {
		notation &^= syntax.OneLine
	}
	return screen(m, source, notation), m.groups, nil
}

func pcreOption(flag byte) (option uint32, ok bool) {
	switch flag {
	case 'i':
		return lib.DPCRE2_CASELESS, true
	case 'm':
		return lib.DPCRE2_MULTILINE, true
	case 's':
		return lib.DPCRE2_DOTALL, true
	case 'x':
		return lib.DPCRE2_EXTENDED, true
	case 'A':
		return lib.DPCRE2_ANCHORED, true
	case 'E':
		return lib.DPCRE2_DOLLAR_ENDONLY, true
	case 'U':
		return lib.DPCRE2_UNGREEDY, true
	case 'X':
		return 0, true
	}
	return 0, false
}
