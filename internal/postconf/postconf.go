// Package postconf shows and edits the two files of a Postfix configuration:
// postconf(1).
//
// Open reads main.cf and master.cf as they are written, without judging values:
// a configuration that the server would refuse can be looked at, and mended. The
// Config then lists parameters (Show), services (Entries), their fields (Fields)
// and their -o options (Overrides), and knows which names nobody uses (Unused).
//
// A parameter is known when Postfix or Postern has it (the catalogue of package
// config), when a service of master.cf brings it (relay_destination_rate_delay),
// or when it is set and something refers to it: $name in another value,
// smtpd_restriction_classes, or a table such as ldap:name, whose parameters are
// called name_server_host and so on. The rest is unused, mostly a misspelt name.
//
// EditMain, EditEntries, EditFields and EditOverrides change a file: comments,
// blank lines and the order stay, every other line stays as it is to the byte,
// and the new file takes the place of the old one in one step, with its mode
// and owner. They lock each other out, and Postfix's own postconf as well.
//
// Bounce templates and the state of TLS libraries are not shown. It imports
// config and syntax.
package postconf

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"postern/internal/config"
	"postern/internal/syntax"
)

// Tool is a configuration directory and what surrounds it.
type Tool struct {
	Dir     string            // as the user named it; files in messages begin with it
	Chosen  bool              // the directory is not the usual one: config_directory counts as set
	Warn    func(text string) // something odd that does not stop the work
	Options config.Options    // the host, for the defaults that depend on it
}

// Config is a configuration as it is written.
type Config struct {
	tool     *Tool
	defaults bool              // main.cf is left out
	main     map[string]string // with overrides
	lines    map[string]int    // where main.cf sets a parameter
	services []*service
	known    map[string]Class
	general  map[string]string // parameter of a service → the one that its default refers to
	own      map[string]string // that a program sets for itself
	checked  map[string]bool   // files of tables that were looked into
	values   *config.Settings  // for $name in main.cf
}

// Open reads a configuration. overrides are name=value texts that count as
// written in main.cf. A missing master.cf is a warning unless it is needed.
func (t *Tool) Open(overrides []string, needMaster bool) (*Config, error) {
	c := t.empty()
	if needMaster {
		if err := c.readMaster(true); err != nil {
			return nil, err
		}
	}
	if t.Chosen {
		c.main["config_directory"] = t.Dir
	}
	if err := c.readMain(); err != nil {
		return nil, err
	}
	for _, o := range overrides {
		name, value, err := nameValue(o)
		if err != nil {
			return nil, fmt.Errorf("invalid parameter override: %s: %w", o, err)
		}
		c.main[name] = value
	}
	if !needMaster {
		if err := c.readMaster(false); err != nil {
			return nil, err
		}
	}
	return c, c.learn()
}

// Defaults is a configuration in which main.cf sets nothing. Of master.cf it
// takes the names of the services, whose parameters have defaults as well.
func (t *Tool) Defaults() (*Config, error) {
	c := t.empty()
	c.defaults = true
	if err := c.readMaster(false); err != nil {
		return nil, err
	}
	return c, c.learn()
}

func (t *Tool) empty() *Config {
	return &Config{
		tool: t, main: map[string]string{}, lines: map[string]int{}, known: map[string]Class{},
		general: map[string]string{}, checked: map[string]bool{},
		own: map[string]string{"process_name": "postconf", "process_id": strconv.Itoa(os.Getpid())},
	}
}

func (t *Tool) path(file string) string {
	// Not filepath.Join: messages show the directory as it was typed.
	return t.Dir + string(filepath.Separator) + file
}

func (t *Tool) warn(format string, args ...any) { t.Warn(fmt.Sprintf(format, args...)) }

// Misreadings of name=value, worded as Postfix words them, without the text.
var errNameValue = []error{syntax.ErrNoName, syntax.ErrNoEquals}

// nameValue cuts name=value. The error does not repeat the text.
func nameValue(text string) (name, value string, err error) {
	name, value, err = syntax.NameValue(text)
	for _, known := range errNameValue {
		if errors.Is(err, known) {
			return "", "", known
		}
	}
	return name, value, err
}

// assignments reads a file of name = value lines. set gets each of them, with
// the number of its line.
func (t *Tool) assignments(file *os.File, set func(name, value string, line int)) error {
	for line, err := range syntax.Lines(file) {
		if errors.Is(err, syntax.ErrOrphan) {
			t.warn("%s: %v", file.Name(), err)
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", file.Name(), plain(err))
		}
		name, value, err := nameValue(line.Text)
		if err != nil {
			return fmt.Errorf("%s, line %d: %w: \"%s\"", file.Name(), line.Number, err, line.Text)
		}
		set(name, value, line.Number)
	}
	return nil
}

func (c *Config) readMain() error {
	f, err := os.Open(c.tool.path("main.cf"))
	if err != nil {
		return openError(err)
	}
	defer f.Close()
	return c.tool.assignments(f, func(name, value string, line int) {
		if old, ok := c.main[name]; ok && old != value {
			c.tool.warn("%s, line %d: overriding earlier entry: %s=%s", f.Name(), line, name, old)
		}
		c.main[name], c.lines[name] = value, line
	})
}

func (c *Config) readMaster(needed bool) error {
	path := c.tool.path("master.cf")
	f, err := os.Open(path)
	if err != nil {
		if needed {
			return openError(err)
		}
		c.tool.warn("%v", openError(err))
		return nil
	}
	defer f.Close()
	scopes := map[string]*scope{}
	for line, err := range syntax.Lines(f) {
		if errors.Is(err, syntax.ErrOrphan) {
			c.tool.warn("%s: %v", path, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, plain(err))
		}
		s, err := c.tool.parseService(line.Text)
		if errors.Is(err, errFields) {
			return fmt.Errorf("file %s: line %d: %w", path, line.Number, err)
		}
		if err != nil {
			return err
		}
		if scopes[s.name()] == nil {
			scopes[s.name()] = newScope(s)
		}
		s.scope = scopes[s.name()]
		s.scope.add(s)
		c.services = append(c.services, s)
	}
	return nil
}

// openError is the error of a file that cannot be opened, as Postfix words it.
func openError(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("open %s: %w", path.Path, plain(err))
	}
	return err
}

// reason is a system error whose text begins with a capital letter, as strerror(3)
// writes it.
type reason struct{ err error }

func (r reason) Error() string {
	text := r.err.Error()
	return string(text[0]-'a'+'A') + text[1:]
}

func (r reason) Unwrap() error { return r.err }

// plain is the reason of a file error without operation and path.
func plain(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if text := err.Error(); text != "" && text[0] >= 'a' && text[0] <= 'z' {
		return reason{err}
	}
	return err
}

// expander makes the settings in which $name is expanded: main.cf on top of the
// defaults of services, and further values on top of that.
func (c *Config) expander(more ...map[string]string) *config.Settings {
	all := maps.Clone(c.own)
	for name, general := range c.general {
		all[name] = "$" + general
	}
	maps.Copy(all, c.main)
	for _, m := range more {
		maps.Copy(all, m)
	}
	return config.AsWritten(c.tool.Options, all)
}

// expand is the value of a text with $name.
func (c *Config) expand(s *config.Settings, text string) (string, error) {
	out, err := s.Expand(text)
	if err != nil {
		c.tool.warn("%v", err)
		return "", errMacro
	}
	return out, nil
}

var errMacro = errors.New("macro processing error")

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
