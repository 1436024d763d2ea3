package check

import (
	"strings"

	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// secrets hides passwords in what is said: those of URIs, those in rows of the tables
// that parameters of passwords name, whether these are files or written in the
// parameter itself, and columns of databases that are called so.
//
//	smtp_sasl_password_maps = texthash:/etc/postfix/sasl, inline:{...}
//
// The zero value knows of no parameters.
type secrets struct {
	words *strings.Replacer
	files map[string]bool // whose lines are a key and a password
}

// secretsOf finds the tables of passwords that main.cf or a -o of master.cf names.
func secretsOf(o *table.Opener, s *config.Settings) secrets {
	var pairs []string
	files := map[string]bool{}
	gather := func(s *config.Settings) {
		for name, v := range s.All() {
			if strings.HasSuffix(name, "password") || strings.HasSuffix(name, "bind_pw") {
				pairs = append(pairs, name+"="+v.Text, name+"=...")
			}
			if !strings.HasSuffix(name, "password_maps") && name != "tls_server_sni_maps" { // of which an index has the keys themselves
				continue
			}
			pairs = append(pairs, hiding(v.Text)...)
			for _, word := range syntax.Split(v.Text, syntax.Separators) {
				if _, path, ok := strings.Cut(table.Direct(word), ":"); ok && !strings.HasSuffix(path, ".cf") {
					for _, suffix := range []string{"", ".db", ".lmdb", ".cdb"} {
						files[o.Path(path)+suffix] = true
					}
				}
			}
		}
	}
	gather(s)
	for _, m := range s.Services() {
		if own, err := s.ForService(m); err == nil && len(m.Overrides) > 0 {
			gather(own)
		}
	}
	return secrets{strings.NewReplacer(pairs...), files}
}

// hiding are the tables of a value that hold their rows themselves, each before what
// is shown of it.
func hiding(value string) []string {
	var pairs []string
	for _, word := range syntax.Split(value, syntax.Separators) {
		word = table.Direct(word)
		typ, rows, _ := strings.Cut(word, ":")
		switch {
		case typ == "inline":
			pairs = append(pairs, word, "inline:{...}")
		case typ == "static":
			pairs = append(pairs, word, "static:...")
		case typ == "unionmap" || typ == "pipemap" || typ == "debug":
			inner, _ := syntax.Unbrace(rows)
			pairs = append(pairs, hiding(inner)...)
		}
	}
	return pairs
}

// text is a text without them.
func (s secrets) text(text string) string {
	if s.words != nil {
		text = s.words.Replace(text)
	}
	return cf.WithoutPasswords(text)
}

// finding is a finding without them.
func (s secrets) finding(f finding.Finding) finding.Finding {
	f.Message, f.Fix = s.text(f.Message), s.text(f.Fix)
	at := make([]origin.At, len(f.At))
	for n, a := range f.At {
		at[n] = s.place(a)
	}
	near := make([]string, len(f.Near))
	for n, word := range f.Near {
		near[n] = s.text(word)
	}
	if f.At = at; f.Near != nil {
		f.Near = near
	}
	return f
}

// place is a place without them.
func (s secrets) place(a origin.At) origin.At {
	a.Text, a.Table, a.Query = s.text(a.Text), s.text(a.Table), s.text(a.Query)
	if key := strings.Fields(a.Text); s.files[a.File] && len(key) > 1 {
		a.Text = key[0] + " ..."
	}
	row := make(map[string]string, len(a.Row))
	for column, value := range a.Row {
		if strings.Contains(strings.ToLower(column), "passw") && value != "" {
			value = "..."
		}
		row[column] = value
	}
	if a.Row != nil {
		a.Row = row
	}
	return a
}
