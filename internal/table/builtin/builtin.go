// Package builtin is the list of the lookup table types that Postern has: the
// word before the colon of "type:name", and who opens such a table.
//
// It imports table and its type packages, and is imported by programs only.
package builtin

import (
	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/cdb"
	"postern/internal/table/compose"
	"postern/internal/table/index"
	"postern/internal/table/ldap"
	"postern/internal/table/lmdb"
	"postern/internal/table/memcache"
	"postern/internal/table/mtasts"
	"postern/internal/table/pattern"
	"postern/internal/table/remote"
	"postern/internal/table/sql"
	"postern/internal/table/text"
)

// Formats returns a new map of the index files that can be read and written, by
// the type of their tables.
func Formats() map[string]index.Format {
	formats := make(map[string]index.Format)
	for _, f := range []index.Format{bdb.Btree(), bdb.Hash(), cdb.Format(), lmdb.Format()} {
		formats[f.Type] = f
	}
	return formats
}

// Types returns a new map of all types, for Opener.Types.
func Types() map[string]table.Constructor {
	formats := Formats()
	return map[string]table.Constructor{
		"btree":     index.New(formats["btree"]),
		"cdb":       index.New(formats["cdb"]),
		"cidr":      pattern.Cidr,
		"dbm":       text.Indexed("dbm"),
		"debug":     compose.Debug,
		"environ":   compose.Environ,
		"fail":      compose.Fail,
		"hash":      index.New(formats["hash"]),
		"inline":    compose.Inline,
		"ldap":      ldap.Open,
		"lmdb":      index.New(formats["lmdb"]),
		"memcache":  memcache.Open,
		"mta-sts":   mtasts.Open,
		"mysql":     sql.MySQL,
		"pcre":      pattern.Pcre,
		"pgsql":     sql.PgSQL,
		"pipemap":   compose.Pipe,
		"randmap":   compose.Rand,
		"regexp":    pattern.Regexp,
		"sdbm":      text.Indexed("sdbm"),
		"socketmap": remote.Socketmap,
		"sqlite":    sql.SQLite,
		"static":    compose.Static,
		"tcp":       remote.TCP,
		"texthash":  text.TextHash,
		"unionmap":  compose.Union,
		"unix":      compose.Unix,
	}
}
