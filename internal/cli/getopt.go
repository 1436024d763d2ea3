package cli

import (
	"fmt"
	"strings"
)

// option is one flag of a historic command line.
type option struct {
	letter byte
	value  string
}

// getopt reads options as getopt(3) does: letters may be clustered, a letter
// that takes a value takes the rest of its word or the next word, "--" ends the
// options. Letters that a colon follows in spec take a value; optional lists
// letters whose value is the rest of the word only.
func getopt(args []string, spec, optional string) (opts []option, rest []string, err error) {
	for len(args) > 0 {
		word := args[0]
		if word == "--" {
			return opts, args[1:], nil
		}
		if len(word) < 2 || word[0] != '-' {
			return opts, args, nil
		}
		args = args[1:]
		for i := 1; i < len(word); i++ {
			c := word[i]
			at := strings.IndexByte(spec, c)
			switch {
			case strings.IndexByte(optional, c) >= 0:
				opts = append(opts, option{c, word[i+1:]})
				i = len(word)
			case at < 0 || c == ':':
				return opts, args, fmt.Errorf("invalid option -- '%c'", c)
			case at+1 < len(spec) && spec[at+1] == ':':
				value := word[i+1:]
				if value == "" {
					if len(args) == 0 {
						return opts, args, fmt.Errorf("option requires an argument -- '%c'", c)
					}
					value, args = args[0], args[1:]
				}
				opts = append(opts, option{c, value})
				i = len(word)
			default:
				opts = append(opts, option{letter: c})
			}
		}
	}
	return opts, nil, nil
}
