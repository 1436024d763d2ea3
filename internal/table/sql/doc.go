// Package sql holds the lookup tables that ask a database: sqlite:.
//
// # Configuration
//
// A table is described by a file of "name = value" lines, in the line format of
// main.cf but without $name expansion:
//
//	dbpath = /var/lib/mail/mail.db
//	query  = SELECT destination FROM aliases WHERE source='%s'
//
// It is named "sqlite:/etc/postfix/alias.cf" in main.cf. A name that starts
// neither with '/' nor with '.' is Postfix's older form, a common prefix of
// main.cf parameters (alias_dbpath, alias_query); with table_relative_names it
// is a file in the configuration directory unless main.cf has such parameters.
// The file is read once, when the table is opened.
//
// The parameters are those of sqlite_table(5): dbpath, query, result_format,
// domain, expansion_limit, and, instead of query, the legacy form table,
// select_field, where_field and additional_conditions. A parameter that is not
// one of these is ignored with a warning that names the nearest one.
//
// # From key to query
//
// A key is folded if the caller says so (Use.Fold), then put into the query:
//
//	%s      the whole key
//	%u %d   what is before and behind its last '@'; without '@' %u is the whole
//	%1..%9  the labels of its domain, counted from the right
//	%%      a percent sign
//
// The capital letters mean the same. A key that lacks a part which the query or
// result_format asks for is not found, and so is, when there is a domain list, a
// key that is not user@domain with a listed domain; the database is not asked.
//
// Keys never become part of the text of the query. Each quoted literal that has
// a % in it is sent as one bound value ('%u@%d' is a single value), and a %s
// outside of single quotes is a bound value too, with a warning when the table
// is opened. So a % letter cannot stand for a table or a column name.
//
// # From rows to result
//
// NULL is skipped in silence, the empty string with a warning. Everything else
// goes through result_format, where %s %u %d are the value and its parts and
// %S %U %D %1..%9 those of the key, and the pieces are joined with commas in
// the order of the rows. sqlite: uses the first column only. No piece at all is
// "not found"; more than expansion_limit is a failure. Several pieces are a
// failure as well when the caller needs one value and table_single_value is
// strict. The origin of a result has every column of the rows that made it.
//
// # The database file
//
// A relative dbpath is treated like a relative name: with
// table_relative_names it lies in the configuration directory, else in the
// working directory. The database is opened for reading only and never created: a missing file is
// an error (Postfix makes an empty database in its place). A lookup waits 2
// seconds for a writer. When another file is moved to dbpath, lookups use it
// within a second. An SQL error fails the lookup and names the line of the
// query; it does not disturb other lookups.
//
// There are no mysql: and pgsql: tables here, rows cannot be listed, and
// nothing is written.
//
// The package imports address, origin, syntax and table, and SQLite's driver.
package sql
