// Package cf is what the tables have in common that are described by a .cf
// file: sqlite:, mysql:, pgsql:, ldap:, memcache:. It reads the file (Load),
// decides which keys the table is asked for and puts their parts into a query
// (Common, Template), and makes one result of the values that come back
// (Collector).
//
// The file has "name = value" lines in the line format of main.cf, without
// $name expansion. It is named "mysql:/etc/postfix/alias.cf" in main.cf. A name
// that starts neither with '/' nor with '.' is Postfix's older form, a common
// prefix of main.cf parameters (alias_hosts, alias_query); with
// table_relative_names it is a file in the configuration directory unless
// main.cf has such parameters. The file is read once, when the table is opened.
// A parameter that the type does not know is ignored with a warning that names
// the nearest one.
//
// A Template may contain
//
//	%s      the whole key
//	%u %d   what is before and behind its last '@'; without '@' %u is the whole
//	%1..%9  the labels of its domain, counted from the right
//	%%      a percent sign
//
// In a query the capital letters mean the same. In result_format %s %u %d are
// the value and its parts, and %S %U %D %1..%9 those of the key. A key that
// lacks a part which the query or result_format asks for is not found, and so
// is, when there is a domain list, a key that is not user@domain with a listed
// domain; the server is not asked.
//
// An empty value is left out with a warning. Everything else goes through
// result_format, and the pieces are joined with commas. No piece at all is "not
// found"; more than expansion_limit is a failure. Several pieces are a failure
// as well when the caller needs one value and table_single_value is strict.
//
// It imports address, origin, syntax and table.
package cf
