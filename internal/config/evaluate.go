package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/internal/origin"
)

// evaluate expands and checks every parameter.
func (s *Settings) evaluate() error {
	s.values = make(map[string]Value, len(s.params)+16)
	s.ints, s.bools, s.times = map[string]int64{}, map[string]bool{}, map[string]time.Duration{}
	x := &expander{s: s}
	var errs []error
	for name := range s.written {
		if _, known := s.params[name]; !known {
			errs = append(errs, s.evaluateOne(x, name, nil))
		}
	}
	for name, p := range s.params {
		errs = append(errs, s.evaluateOne(x, name, p))
	}
	return joinSorted(errs)
}

// joinSorted joins errors in the order of their texts, so that one broken file
// always gives one message.
func joinSorted(errs []error) error {
	byText := map[string]error{}
	var texts []string
	for _, err := range errs {
		if err != nil && byText[err.Error()] == nil {
			byText[err.Error()] = err
			texts = append(texts, err.Error())
		}
	}
	sortStrings(texts)
	var out []error
	for _, t := range texts {
		out = append(out, byText[t])
	}
	return errors.Join(out...)
}

// evaluateOne expands one parameter; p is nil for a user-defined one.
func (s *Settings) evaluateOne(x *expander, name string, p *Param) error {
	v := s.source(name, p)
	v.Text = v.Raw
	if p == nil || p.Type != "raw" {
		text, err := x.expand(v.Raw, 0)
		if err != nil {
			return fmt.Errorf("%v: parameter %s: macro processing error: %w", v.At, name, err)
		}
		v.Text = text
	}
	s.values[name] = v
	if p == nil {
		return nil
	}
	if err := s.check(p, v.Text); err != nil {
		return fmt.Errorf("%v: %w", v.At, err)
	}
	return nil
}

// source is the written value, or the default.
func (s *Settings) source(name string, p *Param) Value {
	if v, ok := s.written[name]; ok {
		return v
	}
	if p == nil {
		return Value{}
	}
	return Value{Raw: s.defaultOf(p), At: origin.At{File: s.dir + "/main.cf", Parameter: name, Text: "(default) " + p.Default}}
}

// check parses a value by its type and remembers the result.
func (s *Settings) check(p *Param, text string) error {
	switch {
	case p.boolean():
		switch strings.ToLower(text) {
		case "yes":
			s.bools[p.Name] = true
		case "no":
			s.bools[p.Name] = false
		default:
			return fmt.Errorf("bad boolean configuration: %s = %s (use yes or no)", p.Name, text)
		}
	case p.numeric():
		n, err := parseInt(text)
		if err != nil {
			return fmt.Errorf("bad numerical configuration: %s = %s", p.Name, text)
		}
		if n < p.Min {
			return fmt.Errorf("invalid %s parameter value %d < %d", p.Name, n, p.Min)
		}
		if p.Max > 0 && n > p.Max {
			return fmt.Errorf("invalid %s parameter value %d > %d", p.Name, n, p.Max)
		}
		s.ints[p.Name] = n
	case p.Type == "time":
		d, err := parseTime(text, timeUnit(p.Default))
		if err != nil {
			return fmt.Errorf("parameter %s: bad time value or unit: %s", p.Name, text)
		}
		if d < time.Duration(p.Min)*time.Second {
			return fmt.Errorf("invalid %s: %s (min %d)", p.Name, text, p.Min)
		}
		s.times[p.Name] = d
	case int64(len(text)) < p.Min && s.values[p.Name].Set:
		return fmt.Errorf("bad string length %d < %d: %s = %s", len(text), p.Min, p.Name, text)
	}
	return s.checkChoice(p.Name, text)
}

// choices are the values of Postern's own enumerations.
var choices = map[string][]string{
	"compatibility":          {"postern", "postfix"},
	"virtual_mailbox_format": {"auto", "slash"},
	"table_single_value":     {"strict", "join"},
	"mailbox_sync":           {"auto", "each"},
}

func (s *Settings) checkChoice(name, text string) error {
	list, ok := choices[name]
	if !ok {
		return nil
	}
	for _, c := range list {
		if c == text {
			return nil
		}
	}
	return fmt.Errorf("bad value: %s = %s (use %s)", name, text, strings.Join(list, " or "))
}

func parseInt(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

// units of time values, in seconds.
var units = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}

// timeUnit is the unit of a default, which numbers without a unit have.
func timeUnit(def string) byte {
	for i := len(def) - 1; i >= 0; i-- {
		if _, ok := units[def[i]]; ok {
			return def[i]
		}
	}
	return 's'
}

// parseTime reads a number and an optional unit letter. What follows the unit
// is ignored, as in Postfix.
func parseTime(text string, unit byte) (time.Duration, error) {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	v, err := strconv.ParseInt(text[:n], 10, 64)
	if err != nil {
		return 0, err
	}
	if n < len(text) {
		unit = text[n]
	}
	u, ok := units[unit]
	if !ok || v > int64(1<<62/u) {
		return 0, errors.New("bad unit")
	}
	return time.Duration(v) * u, nil
}
