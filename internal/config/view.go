package config

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"postern/internal/origin"
)

// Params are the entries of the catalogue, sorted by name.
func Params() []*Param {
	var list []*Param
	for _, p := range catalogue() {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *Param) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// AsWritten returns settings in which exactly these values are written. They are
// not judged: only Expand and Default work. That is for commands that look at a
// configuration whether it is right or wrong.
func AsWritten(o Options, values map[string]string) *Settings {
	s := &Settings{options: o.withDefaults(), params: catalogue(), written: map[string]Value{}}
	s.dir = s.params["config_directory"].Default
	for name, value := range values {
		s.written[name] = Value{Raw: value, Set: true, At: origin.At{Parameter: name}}
	}
	return s
}

// All are the values of all parameters, in no order.
func (s *Settings) All() iter.Seq2[string, Value] { return maps.All(s.values) }

// Default is the default of a parameter, not expanded: that of the catalogue, or
// computed from the host. A name that is not in the catalogue has none.
func (s *Settings) Default(name string) (string, bool) {
	p, ok := s.params[name]
	if !ok {
		return "", false
	}
	return s.defaultOf(p), true
}

// Names are the parameters that a text refers to with $name, in the order of the
// text, both branches of conditions included. With an error come the names in
// front of the mistake.
func Names(text string) ([]string, error) {
	var names []string
	x := &expander{s: &Settings{}, visit: func(name string) { names = append(names, name) }}
	_, err := x.expand(text, 0)
	return names, err
}
