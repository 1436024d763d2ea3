// Package config reads main.cf and master.cf (postconf(5), master(5)) as they
// stand and gives typed access to every parameter.
//
// A file is a sequence of logical lines "name = value"; later lines win. Values
// refer to others with $name, ${name}, ${name?{a}:{b}} and comparisons, and are
// expanded when everything is read, so the order of lines does not matter. Every
// value remembers the file and line that set it.
//
// master.cf names the services: listeners and transports, each with -o options
// that are settings of its own (ForService). Without the file there is one
// listener on port 25 and the usual transports.
//
// Load checks all values against the catalogue (catalogue.tsv: name, type,
// bounds, default, and one line of documentation for each parameter that Postern
// acts on), so that the accessors cannot fail afterwards. What is wrong comes
// back as one error with all places; what is only odd, or wrong in a parameter
// without effect, is in Warnings.
//
// Without compatibility_level in main.cf the level is 3.6; with compatibility =
// postfix it is 0, as in Postfix.
//
// It imports origin and syntax.
package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/origin"
	"postern/internal/syntax"
)

// Value is the value of a parameter.
type Value struct {
	Text string    // expanded
	Raw  string    // as written, or the default
	At   origin.At // Line 0 and Parameter for a default
	Set  bool      // written in main.cf or by -o
}

// Override is a setting from outside main.cf: an -o of master.cf, or of a
// command line.
type Override struct {
	Name, Value string
	At          origin.At
}

// Options say what surrounds a configuration. The zero value is this host.
type Options struct {
	Hostname   func() (string, error)         // nil: os.Hostname
	Interfaces func() ([]netip.Prefix, error) // nil: those of this host, for mynetworks
	Overrides  []Override
	// Open opens main.cf, master.cf, and the file that myorigin names; nil: os.Open.
	Open func(name string) (*os.File, error)
}

// Settings is a configuration. It is immutable and safe for concurrent use.
type Settings struct {
	dir      string
	options  Options
	params   map[string]*Param // of the catalogue
	written  map[string]Value  // by name, Text not expanded yet
	values   map[string]Value  // of the catalogue and user-defined ones, expanded
	ints     map[string]int64
	bools    map[string]bool
	times    map[string]time.Duration
	services []Service
	problems []Problem
}

// Load reads dir/main.cf and dir/master.cf. The error joins everything that is
// wrong, each with file and line, in the order of the files. Settings comes back
// with it unless a file cannot be read, for commands that look at a broken
// configuration: a parameter whose value is wrong is zero there. Faults takes the
// error apart.
func Load(dir string, o Options) (*Settings, error) {
	o = o.withDefaults()
	s := &Settings{dir: dir, options: o, params: catalogue(), written: map[string]Value{}}
	faults, err := s.readMain()
	if err != nil {
		return nil, err
	}
	more, err := s.readMaster()
	if err != nil {
		return nil, err
	}
	faults = append(faults, more...)
	for _, ov := range o.Overrides {
		s.written[ov.Name] = Value{Raw: ov.Value, At: ov.At, Set: true}
	}
	faults = append(faults, s.evaluate()...)
	s.limitProcesses()
	s.lint()
	return s, joinFaults(faults)
}

func (o Options) withDefaults() Options {
	if o.Hostname == nil {
		o.Hostname = os.Hostname
	}
	if o.Open == nil {
		o.Open = os.Open
	}
	if o.Interfaces == nil {
		o.Interfaces = hostPrefixes
	}
	return o
}

// readMain reads main.cf. The error is that of a file that cannot be read.
func (s *Settings) readMain() (faults []*Fault, err error) {
	name := filepath.Join(s.dir, "main.cf")
	f, err := s.options.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for line, err := range syntax.Lines(f) {
		at := origin.At{File: name, Line: line.Number, Text: line.Text}
		switch {
		case errors.Is(err, syntax.ErrOrphan):
			s.problem(Orphan, at, "", err.Error())
			continue
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := s.setLine(at, line.Text); err != nil {
			faults = append(faults, &Fault{at, err})
		}
	}
	return faults, nil
}

// setLine takes one logical line of main.cf.
func (s *Settings) setLine(at origin.At, text string) error {
	text, _, _ = strings.Cut(text, "\x00")
	name, value, err := syntax.NameValue(text)
	if err != nil {
		return err
	}
	at.Parameter = name
	if old, ok := s.written[name]; ok && old.Raw != value {
		s.repeated(name, old, at)
	}
	s.written[name] = Value{Raw: value, At: at, Set: true}
	return nil
}

// repeated notes a parameter that had another value before: one problem, however often
// it is set.
func (s *Settings) repeated(name string, old Value, at origin.At) {
	also := []origin.At{old.At}
	if i := slices.IndexFunc(s.problems, func(p Problem) bool { return p.Kind == Repeated && p.Parameter == name }); i >= 0 {
		also = append(s.problems[i].Also, old.At)
		s.problems = slices.Delete(s.problems, i, i+1)
	}
	value := old.Raw
	if IsPassword(name) || HasSecretTables(name) {
		value = "..."
	}
	s.problems = append(s.problems, Problem{Kind: Repeated, At: at, Parameter: name, Also: also,
		Text: fmt.Sprintf("overriding earlier entry: %s=%s (%v)", name, value, old.At)})
}

// With returns the settings with overrides on top; the last one of a name
// counts. Without overrides it is s itself.
func (s *Settings) With(overrides []Override) (*Settings, error) {
	if len(overrides) == 0 {
		return s, nil
	}
	c := *s
	c.written = maps.Clone(s.written)
	for _, o := range overrides {
		at := o.At
		at.Parameter = o.Name
		c.written[o.Name] = Value{Raw: o.Value, At: at, Set: true}
	}
	c.problems = nil
	if err := joinFaults(c.evaluate()); err != nil {
		return nil, err
	}
	c.problems = s.problems
	return &c, nil
}

// ForService returns the settings as the program of a master.cf service sees
// them: with its -o options, and with $service_name and $process_name.
func (s *Settings) ForService(m Service) (*Settings, error) {
	own := []Override{
		{Name: "service_name", Value: m.Name, At: m.At},
		{Name: "process_name", Value: m.Command, At: m.At},
	}
	return s.With(append(own, m.Overrides...))
}

// Dir is the configuration directory.
func (s *Settings) Dir() string { return s.dir }

// Warnings are the oddities of the files, in order of appearance.
func (s *Settings) Warnings() []Problem { return s.problems }

// Services are the services of master.cf, in order.
func (s *Settings) Services() []Service { return s.services }

// Value returns a parameter with its place. A name that is neither in the
// catalogue nor in main.cf has the zero Value.
func (s *Settings) Value(name string) Value { return s.values[name] }

// Lookup is Value that says whether there is such a parameter.
func (s *Settings) Lookup(name string) (Value, bool) {
	v, ok := s.values[name]
	return v, ok
}

// String returns the expanded text of a parameter.
func (s *Settings) String(name string) string { return s.values[name].Text }

// Raw returns the text of a parameter whose $ are for later: of the type raw in
// the catalogue.
func (s *Settings) Raw(name string) string { return s.values[name].Raw }

// Bool returns a parameter of the type bool.
func (s *Settings) Bool(name string) bool { return s.bools[name] }

// Int returns a numeric parameter.
func (s *Settings) Int(name string) int { return int(s.ints[name]) }

// Int64 returns a numeric parameter.
func (s *Settings) Int64(name string) int64 { return s.ints[name] }

// Duration returns a parameter of the type time.
func (s *Settings) Duration(name string) time.Duration { return s.times[name] }

// List returns the items of a list parameter; {...} protects separators.
func (s *Settings) List(name string) []string {
	return syntax.Split(s.values[name].Text, syntax.Separators)
}

// TransportInt returns NAME_SUFFIX for a transport, and default_SUFFIX where it
// is not set: TransportInt("relay", "destination_recipient_limit"). Names that
// the catalogue has, such as local_destination_recipient_limit, have defaults
// of their own.
func (s *Settings) TransportInt(transport, suffix string) int {
	for _, name := range []string{transport + "_" + suffix, "default_" + suffix} {
		if n, ok := s.ints[name]; ok {
			return int(n)
		}
	}
	return s.Int(suffix)
}
