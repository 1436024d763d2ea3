package pipe

import (
	"strings"

	"postern/internal/macro"
)

// wildcard stands for any text in the form of an argument. No argument of a
// program holds it.
const wildcard = "\x00"

// Fits reports whether argv may be what the arguments of the service become for
// some message: fixed arguments are there as they are written, in their order,
// and the others with the text around their macros. The values of macros, and
// how often an argument is repeated, are not looked at.
func (t *Attributes) Fits(argv []string) bool {
	reached := make([]bool, len(argv)+1) // so many arguments are explained
	reached[0] = true
	for _, arg := range t.Argv {
		form, repeated := formOf(arg)
		if repeated {
			for i := range argv {
				reached[i+1] = reached[i+1] || reached[i] && matches(form, argv[i])
			}
			continue
		}
		for i := len(argv) - 1; i >= 0; i-- {
			reached[i+1] = reached[i] && matches(form, argv[i])
		}
		reached[0] = false
	}
	return reached[len(argv)]
}

// formOf is an argument with a wildcard for each macro; one with a condition can
// be anything. repeated says that it may be there any number of times.
func formOf(arg string) (form string, repeated bool) {
	anything := false
	form, _, err := macro.Expand(arg, func(name string, test bool) (string, bool) {
		repeated = repeated || macroNames[name]
		anything = anything || test
		return wildcard, true
	})
	if anything {
		return wildcard, true
	}
	if err != nil {
		return "", false // Parse has refused it
	}
	return form, repeated
}

// matches reports whether text has a form.
func matches(form, text string) bool {
	first, rest, open := strings.Cut(form, wildcard)
	text, ok := strings.CutPrefix(text, first)
	if !open {
		return ok && text == ""
	}
	for ok {
		piece, more, open := strings.Cut(rest, wildcard)
		if !open {
			return strings.HasSuffix(text, piece)
		}
		_, text, ok = strings.Cut(text, piece)
		rest = more
	}
	return false
}
