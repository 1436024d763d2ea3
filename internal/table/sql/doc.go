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
// Package cf reads it.
//
// The parameters are those of sqlite_table(5): dbpath, query, result_format,
// domain, expansion_limit, and, instead of query, the legacy form table,
// select_field, where_field and additional_conditions.
//
// # From key to query
//
// Keys never become part of the text of the query. Each quoted literal that has
// a % in it is sent as one bound value ('%u@%d' is a single value), and a %s
// outside of single quotes is a bound value too, with a warning when the table
// is opened. So a % letter cannot stand for a table or a column name.
//
// # From rows to result
//
// NULL is skipped in silence; what becomes of the other columns is told in
// package cf. sqlite: uses the first column only. The origin of a result has
// every column of the rows that made it.
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
// The package imports origin, table and table/cf, and SQLite's driver.
package sql
