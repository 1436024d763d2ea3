package check

import (
	"regexp"
	"strings"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/origin"
	"postern/internal/table"
)

// place is a place without secrets, the key that is left of its line (shownLine), and the
// secrets that were in it.
func (s secrets) place(a origin.At) (shown origin.At, key string, words []string) {
	switch {
	case a.Text == "":
	case s.isOf(s.files, a.File):
		a.Text, key, words = shownLine(a.Text)
	case s.isOf(s.cfs, a.File):
		a.Text, words = literals(a.Text)
	}
	if a.File != "" {
		var more []string
		a.Text, more = s.assigned(a.Text)
		words = append(words, more...)
	}
	secret := a.Table != "" && s.tables[table.Direct(a.Table)]
	if secret {
		words, a.Query = append(words, rowSecrets(a)...), ""
	}
	a.Row = shownRow(a, secret)
	a.Text, a.Table, a.Query = s.text(a.Text), s.text(a.Table), s.text(a.Query)
	return a, key, words
}

// isOf reports a file of a set, whether or not it is named with its directory.
func (s secrets) isOf(files map[string]bool, name string) bool {
	return name != "" && (files[name] || s.opener != nil && files[s.opener.Path(name)])
}

// rowSecrets are the secrets in a row of a database: all but its key.
func rowSecrets(a origin.At) []string {
	var words []string
	for _, value := range a.Row {
		if address.Fold(value) != address.Fold(a.Key) {
			words = append(words, partsOf(value)...)
		}
	}
	return words
}

// shownRow is the row of a place without secrets: in a table of secrets only the key is
// shown, elsewhere all but passwords.
func shownRow(a origin.At, secret bool) map[string]string {
	if a.Row == nil {
		return nil
	}
	row := make(map[string]string, len(a.Row))
	for column, value := range a.Row {
		if value != "" && (strings.Contains(strings.ToLower(column), "passw") || secret && address.Fold(value) != address.Fold(a.Key)) {
			value = "..."
		}
		if secret { // a text that is selected is the name of its column
			column, _ = literals(column)
		}
		row[column] = value
	}
	return row
}

// shownLine is what is shown of a line of a table of secrets: its key. A word alone may be
// the secret itself, in a line that was meant to continue the one before. keep is the key
// when it is so long that a login at the same host may have a part of it.
func shownLine(text string) (shown, keep string, words []string) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return text, "", nil
	}
	key, rest := keyIn(fields[0])
	words = partsOf(rest)
	for _, field := range fields[1:] {
		words = append(words, partsOf(field)...)
	}
	words = append(words, partsOf(strings.Join(fields[1:], " "))...)
	if len(key) >= certain {
		keep = key
	}
	switch {
	case len(fields) > 1 && !startsBlank(text):
		return key + " ...", keep, words
	case rest == "" && (hostKey.MatchString(key) || patternKey.MatchString(key) || strings.EqualFold(key, "endif")):
		return text, keep, words
	case rest != "" && strings.HasPrefix(key, "/"):
		return key + "...", keep, words
	}
	return "...", "", append(words, partsOf(fields[0])...)
}

func startsBlank(text string) bool { return text[0] == ' ' || text[0] == '\t' }

// A key as it is at the beginning of a word: a host in brackets with its port, a
// pattern between its delimiters, or what comes before a ':' or '='.
var (
	hostKey    = regexp.MustCompile(`^\[[^\]]*\](?::(?:[0-9]{1,5}|smtps?|submissions?))?$`)
	patternKey = regexp.MustCompile(`^!?/(?:[^/\\]|\\.)*/[imosxAEUX]{0,8}$`)
	openKey    = regexp.MustCompile(`^(!?/(?:[^/\\]|\\.)*/|\[[^\]]*\]|[^:=,;]*)`)
	portKey    = regexp.MustCompile(`^[^:=\[\]@]*\.[^:=\[\]@]*:(?:[0-9]{1,5}|smtps?|submissions?)$`)
)

// longestKey is the length of a key that is no host, address or pattern.
const longestKey = 40

// keyIn cuts the key of a row from what may have been written behind it without a blank.
func keyIn(word string) (key, rest string) {
	if hostKey.MatchString(word) || patternKey.MatchString(word) || portKey.MatchString(word) {
		return word, ""
	}
	key = openKey.FindString(word)
	if len(word) > longestKey && !strings.ContainsAny(key, `.@[^$\()*?|-`) {
		return "", word // base64
	}
	return key, word[len(key):]
}

// literal is a text in a query.
var literal = regexp.MustCompile(`'[^']*'|"[^"]*"`)

// literals hides the texts of a query, but for those that are asked with.
func literals(query string) (shown string, words []string) {
	shown = literal.ReplaceAllStringFunc(query, func(quoted string) string {
		text := quoted[1 : len(quoted)-1]
		if len(text) < shortest || strings.Contains(text, "%") {
			return quoted
		}
		words = append(words, partsOf(text)...)
		return quoted[:1] + "..." + quoted[:1]
	})
	return shown, words
}

// setting is a name with a value, of main.cf, a .cf file, or a -o of master.cf.
var setting = regexp.MustCompile(`([a-zA-Z0-9_]+)[ \t]*=[ \t]*`)

// nextOption is where the value of a -o ends.
var nextOption = regexp.MustCompile(`[ \t](-o|\{)[ \t]*[a-zA-Z0-9_]+[ \t]*=`)

// assigned is a line of settings without the secrets that it gives to parameters.
func (s secrets) assigned(text string) (shown string, words []string) {
	for begin := 0; begin < len(text); {
		m := setting.FindStringSubmatchIndex(text[begin:])
		if m == nil {
			break
		}
		name, from, first := text[begin+m[2]:begin+m[3]], begin+m[1], strings.TrimSpace(text[:begin+m[2]]) == ""
		begin = from
		if !config.HasSecretTables(name) && !(s.isPassword(name) && (first || isOption(text[:from]))) {
			continue
		}
		end := len(text)
		if next := nextOption.FindStringIndex(text[from:]); next != nil && !first {
			end = from + next[0]
		}
		value, hidden := s.value(name, text[from:end])
		words = append(words, hidden...)
		text = text[:from] + value + text[end:]
		begin = from + len(value)
	}
	return text, words
}

// value is what is shown of the value of a parameter with a password or with tables of
// secrets, and what is not.
func (s secrets) value(name, value string) (shown string, words []string) {
	if !config.HasSecretTables(name) {
		return hiddenPassword(value), partsOf(value)
	}
	for _, w := range s.hidden(value) {
		words = append(words, partsOf(w.secret)...)
		value = strings.Replace(value, w.text, w.shown, 1)
	}
	return value, words
}

// option is a -o of master.cf up to its value.
var option = regexp.MustCompile(`-o[ \t]*\{?[ \t]*[a-zA-Z0-9_]+[ \t]*=[ \t]*$`)

func isOption(text string) bool { return option.MatchString(text) }

// hiddenPassword is what is shown of a password; an empty one is no secret.
func hiddenPassword(value string) string {
	if strings.TrimSpace(value) == "" {
		return value
	}
	return "..."
}
