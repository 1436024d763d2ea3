package sql

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/table"
)

// Where MySQL's library looks for options when no option_file is named. Its
// third place, ~/.my.cnf, is left out: a service has no home.
var defaultOptionFiles = []string{"/etc/my.cnf", "/etc/mysql/my.cnf"}

// maxIncludes is how deep option files may include one another.
const maxIncludes = 10

// optionReader collects the options of some groups of MySQL option files.
//
//	[client]
//	password = "a b#c"  # a comment
//	ssl_ca   = /etc/ssl/ca.pem
//	!includedir /etc/mysql/conf.d/
//
// Of an option that is there twice the last one counts. In names - and _ are
// the same, and "loose-" in front is left out.
type optionReader struct {
	opener *table.Opener
	groups []string
	values map[string]string
}

// readOptions reads option_file, or the default ones, as option_group says. A
// file that cannot be read is a warning.
func (m *mysqlTable) readOptions() map[string]string {
	group, _, isSet := m.settings.Lookup(paramGroup)
	file := m.settings.Get(paramFile)
	if !isSet {
		group = "client"
	}
	if file == "" && group == "" {
		return nil
	}
	r := &optionReader{opener: m.opener, groups: []string{"client", "client-server", "client-mariadb", group}, values: make(map[string]string)}
	if file != "" {
		if err := r.readFile(m.opener.Path(file), 0); err != nil {
			m.opener.Warn("%v; the table is used without these options", m.settings.Wrong(paramFile, err))
		}
		return r.values
	}
	for _, path := range defaultOptionFiles {
		if err := r.readFile(path, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			m.opener.Warn("%s: %v; the table is used without these options", m.Table, err)
		}
	}
	return r.values
}

func (r *optionReader) readFile(path string, depth int) error {
	f, err := r.opener.OpenFile(path)
	if err != nil {
		return table.OpenError(path, err)
	}
	defer f.Close()
	return r.read(f, path, depth)
}

// read takes the options of one file. Errors name the file and the line.
func (r *optionReader) read(f io.Reader, path string, depth int) error {
	wanted, number := false, 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		var err error
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '!':
			err = r.directive(line[1:], path, depth)
		case line[0] == '[':
			name, _, ok := strings.Cut(line[1:], "]")
			if !ok {
				err = errors.New("no ] behind the name of a group")
			}
			wanted = slices.Contains(r.groups, name)
		case wanted:
			name, value, _ := strings.Cut(line, "=")
			name = strings.ReplaceAll(strings.TrimSpace(name), "_", "-")
			r.values[strings.TrimPrefix(name, "loose-")] = optionValue(value)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", path, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s, line %d: %w", path, number+1, err)
	}
	return nil
}

// directive follows !include FILE and !includedir DIRECTORY; the files of a
// directory are those that end in .cnf. Others are passed over.
func (r *optionReader) directive(text, path string, depth int) error {
	word, argument, _ := strings.Cut(text, " ")
	argument = strings.TrimSpace(argument)
	if argument == "" || word != "include" && word != "includedir" {
		return nil
	}
	if depth >= maxIncludes {
		return fmt.Errorf("more than %d files that include one another", maxIncludes)
	}
	if !filepath.IsAbs(argument) {
		argument = filepath.Join(filepath.Dir(path), argument)
	}
	if word == "include" {
		return r.readFile(argument, depth+1)
	}
	files, err := r.opener.ReadDir(argument) // sorted
	if err != nil {
		return table.OpenError(argument, err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".cnf") {
			if err := r.readFile(filepath.Join(argument, f.Name()), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// optionEscapes are the letters behind a backslash in a value.
var optionEscapes = strings.NewReplacer(`\b`, "\b", `\t`, "\t", `\n`, "\n", `\r`, "\r", `\s`, " ", `\\`, `\`, `\"`, `"`, `\'`, `'`)

// optionValue takes blanks, a comment, quotes and backslashes out of a value. A
// comment begins with a # outside of quotes; quotes count around the whole.
func optionValue(text string) string {
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quote != 0:
			i++
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '#':
			text = text[:i]
		}
	}
	text = strings.TrimSpace(text)
	if n := len(text); n >= 2 && (text[0] == '"' || text[0] == '\'') && text[0] == text[n-1] {
		text = text[1 : n-1]
	}
	return optionEscapes.Replace(text)
}
