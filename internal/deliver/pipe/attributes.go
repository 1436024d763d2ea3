package pipe

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postern/internal/macro"
)

// Attributes are the arguments of a pipe service in master.cf.
type Attributes struct {
	User, Group string // Group "": that of User
	Flags       string // each a letter of knownFlags
	Directory   string
	EOL         string
	NullSender  string
	Size        int64 // 0: no limit
	Argv        []string
}

const knownFlags = "BDFORXhqu.>"

// Parse reads the arguments of a pipe service. Names of attributes count in
// any case; argv= is the last one, and what follows belongs to the program.
func Parse(args []string) (Attributes, error) {
	t := Attributes{EOL: "\n", NullSender: "MAILER-DAEMON"}
	for i, word := range args {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return t, fmt.Errorf("unknown attribute name: %s", word)
		}
		if strings.EqualFold(name, "argv") {
			if value != "" {
				t.Argv = append(t.Argv, value)
			}
			t.Argv = append(t.Argv, args[i+1:]...)
			break
		}
		if err := t.set(strings.ToLower(name), value); err != nil {
			return t, err
		}
	}
	switch {
	case t.User == "":
		return t, errors.New("missing user= command-line attribute")
	case len(t.Argv) == 0:
		return t, errors.New("missing argv= command-line attribute")
	}
	return t, t.checkMacros()
}

func (t *Attributes) set(name, value string) error {
	switch name {
	case "flags":
		for _, flag := range value {
			if !strings.ContainsRune(knownFlags, flag) {
				return fmt.Errorf("unknown flag: %c", flag)
			}
		}
		t.Flags += value
	case "user":
		t.User, t.Group, _ = strings.Cut(value, ":")
	case "directory":
		t.Directory = value
	case "chroot":
		return errors.New("chroot= is not supported: programs run in the file system of the server")
	case "eol":
		t.EOL = unescape(value)
	case "null_sender":
		t.NullSender = value
	case "size":
		size, err := strconv.ParseInt(value, 10, 64)
		if err != nil || size < 0 {
			return fmt.Errorf("bad size= value: %s", value)
		}
		t.Size = size
	default:
		return fmt.Errorf("unknown attribute name: %s", name)
	}
	return nil
}

// checkMacros finds names in the arguments that mean nothing, in both branches
// of conditions.
func (t *Attributes) checkMacros() error {
	for _, arg := range t.Argv {
		for _, value := range [...]string{"", "x"} {
			unknown := ""
			_, _, err := macro.Expand(arg, func(name string, _ bool) (string, bool) {
				if _, ok := macroNames[name]; !ok && unknown == "" {
					unknown = name
				}
				return value, true
			})
			if err != nil {
				return fmt.Errorf("argument %q: %w", arg, err)
			}
			if unknown != "" {
				return fmt.Errorf("unknown macro name: %q", unknown)
			}
		}
	}
	return nil
}

func (t *Attributes) has(flag rune) bool { return strings.ContainsRune(t.Flags, flag) }

// single is the flag that needs one recipient for each delivery, or 0.
func (t *Attributes) single() rune {
	for _, flag := range "DO" {
		if t.has(flag) {
			return flag
		}
	}
	return 0
}

// sender is the envelope sender as the program sees it.
func (t *Attributes) sender(internal string) string {
	if internal == "" {
		return t.NullSender
	}
	return internal
}

var escapes = map[byte]byte{'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// unescape reads \n and its like, and \ddd with up to three octal digits; the
// backslash before any other character goes.
func unescape(text string) string {
	var out []byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			out = append(out, c)
			continue
		}
		i++
		if octal := octalPrefix(text[i:]); octal != "" {
			n, _ := strconv.ParseUint(octal, 8, 16)
			out = append(out, byte(n))
			i += len(octal) - 1
		} else if special, ok := escapes[text[i]]; ok {
			out = append(out, special)
		} else {
			out = append(out, text[i])
		}
	}
	return string(out)
}

func octalPrefix(text string) string {
	n := 0
	for n < min(3, len(text)) && text[n] >= '0' && text[n] <= '7' {
		n++
	}
	return text[:n]
}
