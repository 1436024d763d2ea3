package bounce

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"postern/internal/config"
)

// LoadTemplates reads the templates of a configuration (postconf
// bounce_template_file) and expands $name in their texts. Mistakes are errors
// that name file and line; where there are any, the built-in template is used.
// open opens the file; nil: os.Open.
func LoadTemplates(s *config.Settings, open func(name string) (*os.File, error)) (*Templates, []error) {
	t := BuiltIn()
	var errs []error
	if name := s.String("bounce_template_file"); name != "" {
		t, errs = readTemplates(name, open)
	}
	t, more := t.Expand(s)
	return t, append(errs, more...)
}

// Expand replaces $name in the texts by the values of the settings, as main.cf
// does; besides, delay_warning_time and maximal_queue_lifetime are there in
// units (delay_warning_time_hours). A text that cannot be expanded is an error,
// and the built-in one takes its place; a time that its unit does not suit is an
// error as well, but the text is used.
func (t *Templates) Expand(s *config.Settings) (*Templates, []error) {
	view, err := s.With(timesInUnits(s))
	if err != nil {
		return BuiltIn(), []error{err}
	}
	out := *t
	var errs []error
	for k := range out.kinds {
		words := &out.kinds[k]
		text, err := expandText(view, words.text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: %s_template: %w; the built-in template is used", words.at, Kind(k), err))
			*words = builtIn[k]
			text, err = expandText(view, words.text)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, name := range unsuited(view, s, words.text) {
			errs = append(errs, fmt.Errorf("%v: %s_template: $%s is %s: choose another unit", words.at, Kind(k), name, view.String(name)))
		}
		words.text = text
	}
	return &out, errs
}

// expandText expands a text all of whose names have to be defined.
func expandText(s *config.Settings, text string) (string, error) {
	names, err := config.Names(text)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if _, ok := s.Lookup(name); !ok {
			return "", fmt.Errorf("undefined parameter $%s", name)
		}
	}
	return s.Expand(text)
}

// units of times in templates.
var units = []struct {
	name string
	unit time.Duration
}{
	{"seconds", time.Second}, {"minutes", time.Minute}, {"hours", time.Hour},
	{"days", 24 * time.Hour}, {"weeks", 7 * 24 * time.Hour},
}

// timedParameters are those that templates can have in units.
var timedParameters = []string{"delay_warning_time", "maximal_queue_lifetime"}

// timesInUnits are the parameters that only templates have. The names of host and
// domain are as people write them (RFC 5890, U-labels).
func timesInUnits(s *config.Settings) []config.Override {
	var list []config.Override
	for _, parameter := range timedParameters {
		for _, u := range units {
			n := s.Duration(parameter) / u.unit
			list = append(list, config.Override{Name: parameter + "_" + u.name, Value: strconv.FormatInt(int64(n), 10)})
		}
	}
	if !s.Bool("smtputf8_enable") {
		return list
	}
	for _, parameter := range []string{"myhostname", "mydomain"} {
		name := s.String(parameter)
		if readable, err := idna.ToUnicode(name); err == nil && readable != name && !strings.Contains(readable, "$") {
			list = append(list, config.Override{Name: parameter, Value: readable})
		}
	}
	return list
}

// unsuited are the names of a text whose time is nothing in the unit, or more
// than a thousand.
func unsuited(view, s *config.Settings, text string) []string {
	var list []string
	names, _ := config.Names(text) // expanded before: no error is left
	for _, name := range names {
		for _, parameter := range timedParameters {
			if strings.HasPrefix(name, parameter+"_") && s.Duration(parameter) > 0 &&
				(view.String(name) == "0" || len(view.String(name)) > 3) {
				list = append(list, name)
			}
		}
	}
	return list
}
