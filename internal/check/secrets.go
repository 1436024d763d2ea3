package check

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// secrets hides passwords and private keys in what is said. Every finding goes through
// finding, every other text through text. What is hidden:
//
//   - passwords of URIs, settings called password (config.IsPassword), columns of
//     databases called so
//   - rows of the tables that parameters of passwords or of keys name
//     (config.HasSecretTables), in a file, an index, a database or the parameter itself:
//     of a row the key is left, of a parameter the types and files of its tables
//   - settings of one's own that both refer to
//   - what a finding says of such a row or parameter with the same words
//
// Rather too much is hidden than too little: the file and the line are always left.
// The zero value knows of no parameters.
type secrets struct {
	opener   *table.Opener
	settings *config.Settings
	words    *strings.Replacer // whole words of settings, wherever they are quoted
	files    map[string]bool   // whose lines are a key and a secret
	cfs      map[string]bool   // .cf files that describe tables of secrets
	tables   map[string]bool   // type:name of those
	own      map[string]bool   // parameters of one's own that those of secrets refer to: may they be one?
	rest     []string          // secret words of settings, for findings that concern them
	plain    []string          // names of files, tables and parameters, which are no secret
}

// secretsOf finds the tables of secrets that main.cf or a -o of master.cf names.
func secretsOf(o *table.Opener, s *config.Settings) secrets {
	hide := secrets{opener: o, settings: s, files: map[string]bool{}, cfs: map[string]bool{}, tables: map[string]bool{}, own: map[string]bool{}}
	shown := map[string]string{}
	hide.gather(s, shown)
	for _, m := range s.Services() {
		if own, err := s.ForService(m); err == nil && len(m.Overrides) > 0 {
			hide.gather(own, shown)
		}
	}
	var pairs []string
	for _, word := range slices.SortedFunc(maps.Keys(shown), longestFirst) {
		pairs = append(pairs, word, shown[word])
	}
	hide.words = strings.NewReplacer(pairs...)
	for _, set := range []map[string]bool{hide.files, hide.cfs, hide.tables} {
		hide.plain = slices.AppendSeq(hide.plain, maps.Keys(set))
	}
	slices.SortFunc(hide.plain, longestFirst)
	return hide
}

func longestFirst(a, b string) int {
	return cmp.Or(len(b)-len(a), strings.Compare(a, b))
}

// gather notes the secrets of the settings of main.cf, or of one service.
func (s *secrets) gather(settings *config.Settings, shown map[string]string) {
	for name, v := range settings.All() {
		if config.IsPassword(name) || config.HasSecretTables(name) {
			s.refer(settings, v.Raw)
		}
	}
	for name, v := range settings.All() {
		if s.isPassword(name) && v.Text != "" {
			shown[name+"="+v.Text] = name + "=..."
		}
		if !config.HasSecretTables(name) {
			continue
		}
		s.plain = append(s.plain, name)
		for _, w := range s.hidden(v.Text) {
			s.rest = append(s.rest, partsOf(w.secret)...)
			if strings.Contains(w.text, ":") { // others are words of too many texts
				shown[w.text] = w.shown
			}
		}
		s.tablesIn(v.Text)
	}
}

// refer notes the parameters of one's own that a value is made of.
func (s *secrets) refer(settings *config.Settings, raw string) {
	names, _ := config.Names(raw) // a value with a mistake is empty
	for _, name := range names {
		_, known := settings.Default(name)
		if _, seen := s.own[name]; !known && !seen {
			s.own[name] = !s.isTables(settings.Value(name).Text)
			s.refer(settings, settings.Raw(name))
		}
	}
}

// isTables reports a value of nothing but types and names: hash:/etc/postfix/, a directory.
func (s secrets) isTables(value string) bool {
	return value != "" && !slices.ContainsFunc(syntax.Split(value, syntax.Separators), func(word string) bool {
		typ, name, ok := strings.Cut(table.Direct(word), ":")
		if !ok {
			return !s.isType(word) && !s.isPath(word)
		}
		return !s.isType(typ) || !s.isName(typ, name)
	})
}

// isPassword reports a setting whose value is a password, or may be one.
func (s secrets) isPassword(name string) bool { return config.IsPassword(name) || s.own[name] }

// tablesIn notes the files and databases of a value, those inside of composed tables too.
func (s *secrets) tablesIn(value string) {
	for _, word := range syntax.Split(value, syntax.Separators) {
		spec := table.Direct(word)
		typ, name, ok := strings.Cut(spec, ":")
		switch {
		case !ok:
		case isComposed(typ):
			inner, _ := syntax.Unbrace(name)
			s.tablesIn(inner)
		case s.isName(typ, name):
			path := s.opener.Path(name)
			s.tables[spec] = true
			if strings.HasSuffix(name, ".cf") {
				s.cfs[path] = true
				continue
			}
			for _, suffix := range []string{"", ".db", ".lmdb", ".cdb"} {
				s.files[path+suffix] = true
			}
		}
	}
}

// text is a text without secrets.
func (s secrets) text(text string) string {
	if s.words != nil {
		text = s.words.Replace(text)
	}
	return cf.WithoutPasswords(text)
}

// finding is a finding without secrets.
func (s secrets) finding(f finding.Finding) finding.Finding {
	at := make([]origin.At, min(len(f.At), finding.MaxPlaces))
	var words, keep []string
	concerns := slices.ContainsFunc(s.plain, func(name string) bool { return strings.Contains(f.Message+f.Fix, name) })
	for n := range at {
		place, key, hidden := s.place(f.At[n])
		at[n], keep = place, append(keep, key, place.Key)
		words, concerns = append(words, hidden...), concerns || len(hidden) > 0
	}
	if concerns {
		words = append(words, s.rest...)
	}
	words = slices.DeleteFunc(words, s.isParameter) // in a line that was to be two
	m := newMask(words, append(keep, s.plain...))
	for n, a := range at {
		if at[n].Text = m.text(a.Text); !m.isEmpty() && !s.isThere(a.File) {
			at[n].File = m.text(a.File)
		}
	}
	near := make([]string, len(f.Near))
	for n, word := range f.Near {
		near[n] = s.text(m.text(word))
	}
	if f.At = at; f.Near != nil {
		f.Near = near
	}
	f.Message, f.Fix = s.text(m.text(f.Message)), s.text(m.text(f.Fix))
	return f
}

// isParameter reports the name of a parameter of Postfix.
func (s secrets) isParameter(word string) bool {
	if s.settings == nil {
		return false
	}
	_, ok := s.settings.Default(word)
	return ok
}

// isThere reports a file that there is. Others may have a secret for their name.
func (s secrets) isThere(name string) bool {
	if s.opener == nil || name == "" {
		return true
	}
	_, err := s.opener.Stat(name)
	return err == nil
}
