package config

import (
	"strings"

	"postern/internal/origin"
)

// Problem is something odd about a configuration that works.
type Problem struct {
	Kind      Kind
	At        origin.At
	Parameter string
	Text      string
	Near      []string    // what may have been meant
	Also      []origin.At // further places of the same problem
	// Lost says that a domain, a table or a service is lost by it: what stands
	// there is not what the server has.
	Lost bool
}

// Kind says what a problem is about.
type Kind uint8

// The kinds of problems. Those from Repeated to Wrong are mistakes of writing, for
// which check has a code (VD310); of the others only the log tells.
const (
	Ineffective Kind = iota // written well, and without effect in this version
	Unused                  // a parameter that nobody knows, and nothing is near
	Notice                  // a class of notices that does not exist
	Program                 // a service of a program that nobody knows, and nothing is near

	Repeated  // an earlier line, or service, has other words
	Orphan    // a line that begins with white space and continues nothing
	Swallowed // a setting that became the end of the one before it
	Comment   // a word of a list that begins with '#'
	Unknown   // a parameter or program that nobody knows, close to a known one
	Blanks    // words behind an -o option
	Wrong     // a value that its parameter cannot have
)

// Miswritten reports whether the problem is a mistake of writing.
func (k Kind) Miswritten() bool { return k >= Repeated }

// String is the problem on one line, with its place in front.
func (p Problem) String() string {
	text := p.Text
	if len(p.Near) > 0 {
		text += "; did you mean " + strings.Join(p.Near, " or ") + "?"
	}
	return p.At.String() + ": " + text
}

// Fault is one thing that is wrong with a configuration, in the error of Load.
type Fault struct {
	At  origin.At
	Err error
}

func (f *Fault) Error() string { return f.At.String() + ": " + f.Err.Error() }

func (f *Fault) Unwrap() error { return f.Err }

// Faults are all of them in an error of Load, With or ForService, in the order of
// the files.
func Faults(err error) []*Fault {
	switch e := err.(type) {
	case *Fault:
		return []*Fault{e}
	case interface{ Unwrap() []error }:
		var list []*Fault
		for _, err := range e.Unwrap() {
			list = append(list, Faults(err)...)
		}
		return list
	case interface{ Unwrap() error }:
		return Faults(e.Unwrap())
	}
	return nil
}

func (s *Settings) problem(kind Kind, at origin.At, parameter, text string, near ...string) {
	s.problems = append(s.problems, Problem{Kind: kind, At: at, Parameter: parameter, Text: text, Near: near})
}
