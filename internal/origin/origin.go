// Package origin says where a fact was written: the line of a configuration or
// table file, the default of a parameter, or the row of a database. Every value
// and every lookup result carries its origin, so that a decision can be blamed
// on the line that made it.
//
// It imports only the standard library and is a leaf of everything else.
package origin

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// At is one place. Exactly one of three forms is filled in: a line of a file
// (File, Line, Text), a default (Parameter, Line 0), or a database row (Table,
// Key, Query, Row). The JSON form is that of the explain and check commands.
type At struct {
	File      string            `json:"file,omitempty"`      // as opened; absolute unless the user named it relatively
	Line      int               `json:"line"`                // physical line where the logical line starts, from 1; 0: not written anywhere
	Text      string            `json:"text,omitempty"`      // the logical line, or "(default) VALUE"
	Parameter string            `json:"parameter,omitempty"` // main.cf parameter of a default
	Table     string            `json:"table,omitempty"`     // type:name of a database table, without "proxy:"
	Key       string            `json:"key,omitempty"`       // the key that found the row
	Query     string            `json:"query,omitempty"`     // the query as sent, values filled in for reading
	Row       map[string]string `json:"row,omitempty"`       // column name to value
}

// MarshalJSON writes "line" with every file, also 0 for a default, and leaves
// it out of database rows.
func (a At) MarshalJSON() ([]byte, error) {
	type plain At
	if a.File != "" {
		return json.Marshal(plain(a))
	}
	row := struct {
		plain
		Line int `json:"line,omitempty"`
	}{plain: plain(a)}
	return json.Marshal(row)
}

// IsZero reports whether the place is unknown.
func (a At) IsZero() bool {
	return a.File == "" && a.Parameter == "" && a.Table == ""
}

// String gives the short form for messages: "main.cf:12", "virtual:7",
// "default of virtual_alias_domains", `sqlite:x.cf "@example.org"`.
func (a At) String() string {
	switch {
	case a.Table != "":
		return fmt.Sprintf("%s %q", a.Table, a.Key)
	case a.File != "" && a.Line > 0:
		return fmt.Sprintf("%s:%d", a.File, a.Line)
	case a.Parameter != "":
		return "default of " + a.Parameter
	default:
		return a.File
	}
}

// RelativeTo returns a copy whose File is relative to dir when it lies below it.
func (a At) RelativeTo(dir string) At {
	if rel, err := filepath.Rel(dir, a.File); err == nil && a.File != "" && filepath.IsAbs(a.File) &&
		rel != ".." && !strings.HasPrefix(rel, "../") {
		a.File = rel
	}
	return a
}
