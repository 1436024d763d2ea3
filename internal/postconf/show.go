package postconf

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/internal/config"
)

// Format says how values are shown.
type Format struct {
	Expand    bool // replace $name
	Fold      bool // break long lines
	HideName  bool
	HideValue bool
}

// show writes a value in the format.
func (f Format) show(w io.Writer, name, value string) {
	text := name + " = " + value
	switch {
	case f.HideValue:
		text = name
	case f.HideName:
		text = value
	}
	fmt.Fprintln(w, foldText(text, f.Fold))
}

// Show lists parameters: those that are named, or all of the classes, by name.
// onlySet leaves out those that main.cf does not set.
func (c *Config) Show(w io.Writer, f Format, classes Class, onlySet bool, names []string) error {
	if len(names) == 0 {
		names = slices.DeleteFunc(sorted(c.known), func(name string) bool { return c.known[name]&classes == 0 })
	}
	for _, name := range names {
		if c.known[name] == 0 {
			c.tool.warn("%s: unknown parameter", name)
			continue
		}
		value, set := c.main[name]
		if !set {
			if onlySet {
				continue
			}
			value = c.defaultOf(name)
		}
		if p, ok := config.LookupParam(name); f.Expand && !(ok && p.Type == "raw") && !f.HideValue {
			var err error
			if value, err = c.expand(c.values, value); err != nil {
				return err
			}
		}
		f.show(w, name, value)
	}
	return nil
}

// defaultOf is the default of a known parameter.
func (c *Config) defaultOf(name string) string {
	if general, ok := c.general[name]; ok {
		return "$" + general
	}
	if own, ok := c.own[name]; ok {
		return own
	}
	value, _ := c.values.Default(name)
	return value
}

// pattern selects services, and fields or parameters of them: name/type/what.
type pattern struct {
	text    string
	part    [3]string // "*" where it does not matter
	matched bool
}

// parsePattern reads NAME[/TYPE[/WHAT]] of least to most parts.
func parsePattern(text string, least, most int) (*pattern, bool) {
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '/' })
	if strings.HasPrefix(text, "/") || len(parts) < least || len(parts) > most {
		return nil, false
	}
	p := &pattern{text: text, part: [3]string{"*", "*", "*"}}
	for i, s := range parts {
		if s != "*" && strings.Contains(s, "*") {
			return nil, false
		}
		p.part[i] = s
	}
	return p, true
}

// fits reports whether a service is meant.
func (p *pattern) fits(name, kind string) bool {
	return (p.part[0] == "*" || p.part[0] == name) && (p.part[1] == "*" || p.part[1] == kind)
}

// each runs visit for the services that the requests select, once for each
// request; without requests for all services. visit reports whether it found
// what was asked for; a request for which nothing was found is warned of.
func (c *Config) each(requests []string, depth int, wrong string, visit func(s *service, what string) (bool, error)) error {
	var patterns []*pattern
	for _, r := range requests {
		p, ok := parsePattern(r, 1, depth)
		if !ok {
			return errors.New(wrong)
		}
		patterns = append(patterns, p)
	}
	if requests == nil {
		patterns = []*pattern{{part: [3]string{"*", "*", "*"}, matched: true}}
	}
	for _, s := range c.services {
		for _, p := range patterns {
			if !p.fits(s.fields[fieldService], s.fields[fieldType]) {
				continue
			}
			found, err := visit(s, p.part[2])
			if err != nil {
				return err
			}
			p.matched = p.matched || found
		}
	}
	for _, p := range patterns {
		if !p.matched {
			c.tool.warn("unmatched request: \"%s\"", p.text)
		}
	}
	return nil
}

// expansion is the expansion of -o values of a service, or nil.
func (c *Config) expansion(s *service, wanted bool) expansion {
	if !wanted {
		return nil
	}
	values := c.scopeValues(s.scope)
	return func(text string) (string, error) { return c.expand(values, text) }
}

// Entries lists services as they stand in master.cf: all, or those that NAME or
// NAME/TYPE select.
func (c *Config) Entries(w io.Writer, f Format, requests []string) error {
	return c.each(requests, 2, "-M option requires service_name[/type]", func(s *service, _ string) (bool, error) {
		text, err := s.entry(f.Fold, c.expansion(s, f.Expand))
		if err == nil {
			fmt.Fprintln(w, text)
		}
		return true, err
	})
}

// fieldIndex is the place of a field; -1 is all of them.
func fieldIndex(name string) (int, error) {
	if name == "*" {
		return -1, nil
	}
	i := slices.Index(fieldNames[:], name)
	if i < 0 {
		return 0, fmt.Errorf("invalid service attribute name: \"%s\"", name)
	}
	return i, nil
}

// Fields lists the fields of services, one a line: all, or those that
// NAME[/TYPE[/FIELD]] selects.
func (c *Config) Fields(w io.Writer, f Format, requests []string) error {
	const wrong = "-F option requires service_name[/type[/field]]"
	for _, r := range requests {
		if p, ok := parsePattern(r, 1, 3); !ok {
			return errors.New(wrong)
		} else if _, err := fieldIndex(p.part[2]); err != nil {
			return err
		}
	}
	return c.each(requests, 3, wrong, func(s *service, field string) (bool, error) {
		for i, name := range fieldNames {
			if field != "*" && field != name {
				continue
			}
			l := &layout{fold: f.Fold}
			if !f.HideName {
				l.write(s.name() + "/" + name)
			}
			if !f.HideName && !f.HideValue {
				l.write(" = ")
			}
			if !f.HideValue {
				l.write(s.fields[i])
				if i == fieldCommand {
					if err := s.layOut(l, c.expansion(s, f.Expand)); err != nil {
						return false, err
					}
				}
			}
			fmt.Fprintln(w, l.String())
		}
		return true, nil
	})
}

// Overrides lists the -o parameters of services, one a line: all, or those that
// NAME[/TYPE[/PARAMETER]] selects.
func (c *Config) Overrides(w io.Writer, f Format, requests []string) error {
	const wrong = "-P option requires service_name[/type[/parameter]]"
	return c.each(requests, 3, wrong, func(s *service, want string) (bool, error) {
		if !slices.ContainsFunc(s.options, func(o daemonOption) bool { _, _, ok := o.setting(); return ok }) {
			return false, nil
		}
		found := want == "*"
		for _, name := range sorted(s.scope.params) {
			if want != "*" && want != name {
				continue
			}
			found = true
			value := s.scope.params[name]
			if expand := c.expansion(s, f.Expand && !f.HideValue); expand != nil {
				var err error
				if value, err = expand(value); err != nil {
					return false, err
				}
			}
			f.show(w, s.name()+"/"+name, value)
		}
		return found, nil
	})
}

// Explain says what a parameter is for, what it is set to and where.
func (c *Config) Explain(w io.Writer, f Format, name string) error {
	if c.known[name] == 0 {
		c.tool.warn("%s: unknown parameter", name)
		return nil
	}
	if err := c.Show(w, f, All, false, []string{name}); err != nil {
		return err
	}
	where := "the default"
	if line := c.lines[name]; line > 0 {
		where = fmt.Sprintf("set in %s, line %d", c.source(nil), line)
	}
	fmt.Fprintf(w, "%s%s\n", indent, where)
	if p, ok := config.LookupParam(name); ok {
		doc := p.Doc
		if doc == "" {
			doc = "no effect in this version"
		}
		fmt.Fprintf(w, "%s%s\n", indent, doc)
	}
	return nil
}
