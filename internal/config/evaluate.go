package config

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/origin"
)

// joinFaults makes one error of them, in the order of the files.
func joinFaults(faults []*Fault) error {
	slices.SortStableFunc(faults, func(a, b *Fault) int { return compareAt(a.At, b.At) })
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

func compareAt(a, b origin.At) int {
	return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, strings.Compare(a.Parameter, b.Parameter))
}

// evaluate expands and checks every parameter. Each mistake is reported once,
// where it is written: not again for the values that refer to it, nor for the
// defaults that depend on it. What is wrong with parameters that Postern does not
// act on, or that are user-defined and not used, is a warning: Postfix would
// not look at it either, or only in a program that has no counterpart here.
func (s *Settings) evaluate() []*Fault {
	s.values = make(map[string]Value, len(s.params)+16)
	s.ints, s.bools, s.times = map[string]int64{}, map[string]bool{}, map[string]time.Duration{}
	var written, defaults []*Fault
	needed := map[string]bool{}
	for name, p := range s.params {
		f := s.evaluateOne(name, p, needed)
		switch set := s.written[name].Set; {
		case f == nil:
		case p.Doc == "" && set:
			s.problem(Wrong, f.At, name, f.Err.Error())
		case set:
			written = append(written, f)
		case p.Doc != "":
			defaults = append(defaults, f)
		}
	}
	for name := range s.written {
		if s.params[name] != nil {
			continue
		}
		p := s.serviceParam(name)
		switch f := s.evaluateOne(name, p, needed); {
		case f == nil:
		case needed[name] || p != nil:
			written = append(written, f)
		default:
			s.problem(Wrong, f.At, name, f.Err.Error())
		}
	}
	if len(written) > 0 {
		return written
	}
	return defaults
}

// evaluateOne expands one parameter and checks it by its type; p is nil for a
// user-defined one. It adds the parameters to needed in which the expansion
// met an error.
func (s *Settings) evaluateOne(name string, p *Param, needed map[string]bool) *Fault {
	v := s.source(name, p)
	v.Text = v.Raw
	if p == nil || p.Type != "raw" {
		text, err := s.Expand(v.Raw)
		if err != nil {
			var ref *referenceError
			for e := err; errors.As(e, &ref); e = ref.err {
				needed[ref.name] = true
			}
			if ref != nil && !errors.Is(err, errNesting) {
				return nil
			}
			return &Fault{v.At, fmt.Errorf("parameter %s: macro processing error: %w", name, err)}
		}
		v.Text = text
	}
	if name == "myorigin" && strings.HasPrefix(v.Text, "/") {
		text, err := s.firstWord(v.Text)
		if err != nil {
			s.values[name] = v
			return &Fault{v.At, fmt.Errorf("myorigin: %w", err)}
		}
		v.Text = text
	}
	s.values[name] = v
	if p == nil {
		return nil
	}
	if err := s.check(p, v.Text); err != nil {
		return &Fault{v.At, err}
	}
	return nil
}

// firstWord reads a value from a file, as Debian's Postfix does for "myorigin =
// /etc/mailname": the first line that is neither empty nor a comment. In other
// parameters $myorigin stays the name of the file, which a list of domains may hold.
func (s *Settings) firstWord(name string) (string, error) {
	f, err := s.options.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, 64<<10))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
			return line, nil
		}
	}
	return "", fmt.Errorf("the file %s is empty", name)
}

// source is the written value, or the default.
func (s *Settings) source(name string, p *Param) Value {
	if v, ok := s.written[name]; ok {
		return v
	}
	if p == nil {
		return Value{}
	}
	return Value{Raw: s.defaultOf(p), At: origin.At{File: filepath.Join(s.dir, "main.cf"), Parameter: name, Text: "(default) " + p.Default}}
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
		if err != nil || p.Type != "long" && n > math.MaxInt32 {
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
		if p.Max > 0 && d > time.Duration(p.Max)*time.Second {
			return fmt.Errorf("invalid %s: %s (max %d)", p.Name, text, p.Max)
		}
		s.times[p.Name] = d
	case int64(len(text)) < p.Min && s.values[p.Name].Set:
		return fmt.Errorf("bad string length %d < %d: %s = %s", len(text), p.Min, p.Name, text)
	}
	if p.Name == "compatibility_level" {
		_, err := parseLevel(text)
		return err
	}
	return s.checkChoice(p.Name, text)
}

// choices are the values of Postern's own enumerations.
var choices = map[string][]string{
	"compatibility":          {"postern", "postfix"},
	"virtual_mailbox_format": {"auto", "slash"},
	"table_single_value":     {"strict", "join"},
	"mailbox_sync":           {"auto", "each"},
	"dns_trust_ad":           {"loopback", "all", "none"},
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
// is ignored, as in Postfix, whose times end at 2^31-1 seconds as well.
func parseTime(text string, unit byte) (time.Duration, error) {
	text = strings.TrimPrefix(text, "+")
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	v, err := strconv.ParseInt(text[:n], 10, 32)
	if err != nil {
		return 0, err
	}
	if n < len(text) {
		unit = text[n]
	}
	u, ok := units[unit]
	if !ok || v > math.MaxInt32/int64(u/time.Second) {
		return 0, errors.New("bad unit")
	}
	return time.Duration(v) * u, nil
}
