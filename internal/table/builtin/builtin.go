// Package builtin is the list of the lookup table types that Postern has: the
// word before the colon of "type:name", and who opens such a table.
//
// It imports table and its type packages, and is imported by programs only.
package builtin

import (
	"postern/internal/table"
	"postern/internal/table/compose"
	"postern/internal/table/pattern"
	"postern/internal/table/sql"
	"postern/internal/table/text"
)

// Types returns a new map of all types, for Opener.Types.
func Types() map[string]table.Constructor {
	return map[string]table.Constructor{
		"btree":    text.Indexed("btree"),
		"cdb":      text.Indexed("cdb"),
		"cidr":     pattern.Cidr,
		"dbm":      text.Indexed("dbm"),
		"environ":  compose.Environ,
		"fail":     compose.Fail,
		"hash":     text.Indexed("hash"),
		"inline":   compose.Inline,
		"lmdb":     text.Indexed("lmdb"),
		"pcre":     pattern.Pcre,
		"pipemap":  compose.Pipe,
		"randmap":  compose.Rand,
		"regexp":   pattern.Regexp,
		"sdbm":     text.Indexed("sdbm"),
		"sqlite":   sql.SQLite,
		"static":   compose.Static,
		"texthash": text.TextHash,
		"unionmap": compose.Union,
		"unix":     compose.Unix,
	}
}
