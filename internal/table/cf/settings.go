package cf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
)

// Settings are the parameters of one table, from a file or from main.cf.
type Settings struct {
	Source string // the file, or "main.cf"
	Prefix string // in front of the names, in main.cf
	values map[string]setting
	// Unknown are the lines of the file that set what the type does not know.
	Unknown []Unknown
}

// Unknown is a parameter that the type does not know, and ignores.
type Unknown struct {
	Name string
	At   origin.At // its Text is without the value, which may be a password
	Near string    // what may have been meant; "": none is near
}

type setting struct {
	value string
	at    origin.At
}

// ErrRequired is the error of a parameter that must have a value and has none.
var ErrRequired = errors.New("must not be empty: write its value behind the '='")

// PlacedError is an error that says where it was written. Its text does, too.
type PlacedError struct {
	At  origin.At
	Err error
}

func (e *PlacedError) Error() string {
	if e.At.Line == 0 {
		return fmt.Sprintf("%s: %v", e.At.File, e.Err)
	}
	return fmt.Sprintf("%s, line %d: %v", e.At.File, e.At.Line, e.Err)
}

func (e *PlacedError) Unwrap() error { return e.Err }

// Load finds the parameters of a table: in the file of that
// name or in main.cf (package comment). known are the names that the type
// understands.
func Load(o *table.Opener, name string, known []string) (*Settings, error) {
	s := &Settings{values: make(map[string]setting)}
	isPath := name != "" && (name[0] == '/' || name[0] == '.')
	if !isPath && s.readPrefix(o, name, known) {
		return s, nil
	}
	if !isPath && !o.RelativeNames {
		return nil, fmt.Errorf("main.cf has no parameters %s_%s, %s_%s ...: a name without a leading '/' means these; to name a file, write its full path",
			name, known[0], name, known[1])
	}
	path := o.Path(name)
	f, err := o.OpenFile(path)
	if err != nil {
		if !isPath && os.IsNotExist(err) {
			return nil, fmt.Errorf("%s: there is no file %s, and main.cf has no parameters %s_*: create the file, or name it with its full path", name, path, name)
		}
		if os.IsPermission(err) {
			return nil, fmt.Errorf("%w: the user that the mail server runs as may not read it; chgrp the file to that user's group, and chmod 640", table.OpenError(path, err))
		}
		return nil, fmt.Errorf("%w: this is the file with the parameters of the table: create it, or correct its name in main.cf", table.OpenError(path, err))
	}
	defer f.Close()
	s.Source = path
	return s, s.readFile(o, f, known)
}

// readPrefix takes the parameters NAME_dbpath ... of main.cf and reports
// whether there are any.
func (s *Settings) readPrefix(o *table.Opener, name string, known []string) bool {
	if o.Param == nil {
		return false
	}
	for _, k := range known {
		if value, at, ok := o.Param(name + "_" + k); ok {
			at.Text = shown(k, name+"_"+k, at.Text)
			s.values[k] = setting{value, at}
		}
	}
	if len(s.values) == 0 {
		return false
	}
	s.Source, s.Prefix = "main.cf", name+"_"
	return true
}

// readFile reads "name = value" lines. The last one of several with the same
// name counts.
func (s *Settings) readFile(o *table.Opener, f io.Reader, known []string) error {
	for line, err := range syntax.Lines(f) {
		at := origin.At{File: s.Source, Line: line.Number, Text: line.Text}
		if errors.Is(err, syntax.ErrOrphan) {
			o.Warn("%s, line %d: %v", s.Source, line.Number, err)
			continue
		}
		if err != nil {
			return table.OpenError(s.Source, err)
		}
		name, value, err := syntax.NameValue(line.Text)
		if err != nil {
			return &PlacedError{origin.At{File: s.Source, Line: line.Number}, withoutValue(line.Text, err)}
		}
		if !slices.Contains(known, name) {
			o.Warn("%s, line %d: unknown parameter %q is ignored%s", s.Source, line.Number, name, suggestion(name, known))
			at.Text = name + " = ..."
			s.Unknown = append(s.Unknown, Unknown{name, at, near(name, known)})
			continue
		}
		at.Text = shown(name, name, line.Text)
		if old, ok := s.values[name]; ok { // the value may hold a password
			o.Warn("%s, line %d: %s overrides the earlier entry of line %d", s.Source, line.Number, name, old.at.Line)
		}
		s.values[name] = setting{value, at}
	}
	return nil
}

// withoutValue words the error of a line that is not "name = value". Only the
// first word is shown: the rest may be a password.
func withoutValue(line string, err error) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if rest == "" || strings.Contains(word, "=") {
		return err
	}
	return fmt.Errorf("missing '=' after attribute name %q: write \"%s = value\"", word, word)
}

// Lookup is the value of a parameter and where it is written.
func (s *Settings) Lookup(name string) (value string, at origin.At, ok bool) {
	set, ok := s.values[name]
	return set.value, set.at, ok
}

// Get is the value of a parameter, "" when it is not set.
func (s *Settings) Get(name string) string { return s.values[name].value }

// Required is the value of a parameter that must not be empty.
func (s *Settings) Required(name string) (string, error) {
	set, ok := s.values[name]
	switch {
	case !ok:
		full := s.Prefix + name
		return "", &PlacedError{origin.At{File: s.Source}, &missingError{full}}
	case set.value == "":
		return "", s.Wrong(name, ErrRequired)
	}
	return set.value, nil
}

// missingError is ErrRequired of a parameter that is not written at all.
type missingError struct{ name string }

func (e *missingError) Error() string {
	return fmt.Sprintf("parameter %s is missing: add a line \"%s = ...\"", e.name, e.name)
}

func (e *missingError) Is(target error) bool { return target == ErrRequired }

// Number is a parameter that counts something; unset is 0.
func (s *Settings) Number(name string) (int, error) {
	set, ok := s.values[name]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseUint(set.value, 10, 31)
	if err != nil {
		return 0, s.Wrong(name, fmt.Errorf("%q is not a number from 0 to %d", set.value, 1<<31-1))
	}
	return int(n), nil
}

// Wrong says where the parameter is that caused err.
func (s *Settings) Wrong(name string, err error) error {
	at := s.values[name].at
	if at.File == "" {
		at.File = s.Source
	}
	return &PlacedError{at, fmt.Errorf("%s%s: %w", s.Prefix, name, err)}
}
