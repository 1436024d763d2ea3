package check

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/syntax"
	"postern/internal/table"
)

// hiddenWord is a word of a parameter of secrets that is not shown as it is.
type hiddenWord struct {
	text, shown string // as it is written, and what is shown of it
	secret      string // what is not
}

// hidden are the words of a value that hold more than a type and the name of a table: a
// table written in its place, a row that was meant for a file, a type that there is not.
func (s secrets) hidden(value string) []hiddenWord {
	var list []hiddenWord
	for n, text := range syntax.Split(value, syntax.Separators) {
		word := table.Direct(text)
		typ, name, ok := strings.Cut(word, ":")
		inner, whole := syntax.Unbrace(name)
		switch {
		case s.isReference(text):
		case !ok && n == 0 && isHost(text), !ok && s.isPath(text), !ok && s.isType(text):
		case !ok:
			list = append(list, hiddenWord{text, "...", text})
		case isComposed(typ):
			list = append(list, s.hidden(inner)...)
			if !whole && typ != "debug" {
				list = append(list, hiddenWord{word, typ + ":...", name})
			}
		case strings.HasPrefix(name, "{"):
			list = append(list, hiddenWord{word, typ + ":{...}", name})
		case typ == "static", !s.isName(typ, name):
			list = append(list, hiddenWord{word, typ + ":...", name})
		}
	}
	return list
}

// isReference reports a word with $name in it that is a table all the same, by what
// the names stand for: ${indexed}passwd, hash:$config_directory/passwd.
func (s secrets) isReference(word string) bool {
	if s.settings == nil || !strings.Contains(word, "$") {
		return false
	}
	names, err := config.Names(word)
	if err != nil || slices.ContainsFunc(names, s.isPassword) {
		return false
	}
	text, err := s.settings.Expand(word)
	return err == nil && text != "" && !strings.Contains(text, "$") && len(s.hidden(text)) == 0
}

func isComposed(typ string) bool { return typ == "unionmap" || typ == "pipemap" || typ == "debug" }

func (s secrets) isType(typ string) bool {
	return s.opener != nil && s.opener.Types[typ] != nil
}

// isName reports what is a file or another name of a table. Behind a type that there is
// not that is only the path of a file.
func (s secrets) isName(typ, name string) bool {
	switch {
	case typ == "tcp" || typ == "socketmap":
		return true
	case typ == "static" || typ == "inline" || strings.ContainsAny(name, ":=@{}"):
		return false
	}
	return s.isType(typ) || s.isPath(name)
}

// isPath reports a file, or a path in a directory that there is, as a password is not.
func (s secrets) isPath(name string) bool {
	if s.opener == nil || name == "" || filepath.Dir(name) == "/" {
		return false
	}
	path := s.opener.Path(name)
	if filepath.IsAbs(name) {
		path = filepath.Dir(path)
	}
	_, err := s.opener.Stat(path)
	return err == nil
}

// isHost reports a name with dots, or a host in brackets.
func isHost(word string) bool {
	return hostKey.MatchString(word) || strings.Contains(word, ".") && !strings.ContainsFunc(word, func(r rune) bool {
		return !(r == '.' || r == '-' || unicode.IsLower(r) || unicode.IsDigit(r))
	})
}

// shortest is the length of a secret that is looked for in texts, and certain that from
// which on a part of one is taken for it.
const (
	shortest = 3
	certain  = 8
)

// partsOf are the secrets in a text as messages may quote them: whole, item by item, and
// behind the user name of each. Names of files are none.
func partsOf(text string) []string {
	var parts []string
	add := func(part string) {
		if part = strings.TrimSpace(part); len(part) >= shortest && strings.ContainsFunc(part, isLetter) && !isFileName(part) {
			parts = append(parts, part)
		}
	}
	items := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",{}", r) })
	for _, item := range items {
		if _, value, ok := strings.Cut(item, "="); ok && strings.Trim(value, "=") != "" {
			item = value
		}
		add(item)
		if _, pw, ok := strings.Cut(strings.TrimLeft(item, ":"), ":"); ok {
			add(pw)
		}
		if strings.Contains(item, "$") { // a pattern table finds fault with what is behind
			for _, group := range strings.FieldsFunc(item, func(r rune) bool { return !isLetter(r) }) {
				add(group)
			}
		}
	}
	if len(items) == 1 {
		add(text)
	}
	return parts
}

// isFileName tells the name of a file from base64, which begins so by chance.
func isFileName(word string) bool {
	return strings.Count(word, "/") > 1 && word[0] == '/' && (strings.ContainsAny(word, ".-_") || word == strings.ToLower(word))
}

// mask hides words in texts.
type mask struct {
	words []string // small letters, longest first
	keep  []string // what is shown even with a part of such a word in it
}

func newMask(words, keep []string) mask {
	if len(words) == 0 {
		return mask{}
	}
	return mask{words: forms(words), keep: forms(keep)}
}

// forms are words as messages may have them: folded, quoted, without blanks.
func forms(words []string) []string {
	var list []string
	for _, word := range words {
		for _, word := range []string{word, address.Fold(word)} {
			for _, form := range []string{word, strings.Trim(strconv.Quote(word), `"`), visible(word)} {
				list = append(list, address.FoldASCII(form))
			}
		}
	}
	slices.SortFunc(list, longestFirst)
	return slices.DeleteFunc(slices.Compact(list), func(form string) bool { return form == "" })
}

func (m mask) isEmpty() bool { return len(m.words) == 0 }

// visible is a word without blanks of any kind, as a near one is proposed.
func visible(word string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, word)
}

// text is a text without the words.
func (m mask) text(text string) string {
	if m.isEmpty() {
		return text
	}
	var b strings.Builder
	small := address.FoldASCII(text)
	for i := 0; i < len(text); {
		kept, hidden := m.kept(small[i:]), m.whole(small, i)
		if kept == 0 && hidden == 0 {
			hidden = m.part(small, i)
		}
		if hidden > kept {
			b.WriteString("...")
			i += hidden
			continue
		}
		if kept == 0 {
			_, kept = utf8.DecodeRuneInString(text[i:])
		}
		b.WriteString(text[i : i+kept])
		i += kept
	}
	return b.String()
}

// kept is how much of the beginning of a text is shown but for a longer secret.
func (m mask) kept(text string) int {
	for _, word := range m.keep {
		if strings.HasPrefix(text, word) {
			return len(word)
		}
	}
	return 0
}

// whole is the length of the word of the mask that begins at i.
func (m mask) whole(text string, i int) int {
	for _, word := range m.words {
		end := i + len(word)
		if strings.HasPrefix(text[i:], word) && (len(word) >= certain || isApart(text, i, end)) {
			return len(word)
		}
	}
	return 0
}

// part is how much of a text is secret when a certain part of a word begins at i: all up
// to the next blank or quote, for texts are cut and put in quotes.
func (m mask) part(text string, i int) int {
	for _, word := range m.words {
		if len(word) >= certain && i+certain <= len(text) && isLetter(rune(text[i])) && strings.Contains(word, text[i:i+certain]) {
			if n := strings.IndexAny(text[i+certain:], " \t\r\n\"'"); n >= 0 {
				return certain + n
			}
			return len(text) - i
		}
	}
	return 0
}

// isApart reports a part of a text that is no part of a longer word.
func isApart(text string, begin, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:begin])
	behind, _ := utf8.DecodeRuneInString(text[end:])
	return !isLetter(before) && !isLetter(behind)
}

func isLetter(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
