// Package sql holds the lookup tables that ask a database: mysql:, pgsql: and
// sqlite:.
//
// # Configuration
//
// A table is described by a file of "name = value" lines, in the line format of
// main.cf but without $name expansion, which package cf reads:
//
//	hosts    = unix:/run/mysqld/mysqld.sock, 192.0.2.1
//	user     = mail
//	password = secret
//	dbname   = mailserver
//	query    = SELECT destination FROM virtual_aliases WHERE source='%s'
//
// The parameters are those of mysql_table(5), pgsql_table(5) and
// sqlite_table(5). All three know query, result_format, domain, expansion_limit
// and, instead of query, the older table, select_field, where_field and
// additional_conditions (pgsql: select_function as well). dbpath is for sqlite:,
// the others are below.
//
// # From key to query
//
// Keys never become part of the text of the query. Each quoted text that has a %
// in it is sent as one bound value ('%u@%d' is a single value), and a %s outside
// of quotes is a bound value too, with a warning when the table is opened. So a
// % letter cannot stand for a table or a column name, and a type cannot stand in
// front of it (DATE '%s'): write CAST('%s' AS date). The quotes, escapes and
// comments are those of the database: "%s" and backslashes in mysql:, $$%s$$ and
// E'%s' in pgsql:. The server infers the type of a value, as it does with a
// quoted text; where it cannot, the value is a text.
//
// Keys that the database cannot hold are not found: keys with a NUL in pgsql:,
// and keys that are not UTF-8 unless charset or encoding says otherwise.
//
// # From rows to result
//
// Every column of every row counts, as text as the server writes it; sqlite: uses
// the first column only. NULL is skipped in silence; in pgsql: it is an empty
// text, as in Postfix. What becomes of the values is told in package cf. The
// origin of a result has every column of the rows that made it.
//
// A mysql: query may CALL a procedure that has one result set. Several are an
// error; none is one unless require_result_set = no, then the key is not found.
//
// # Servers
//
// hosts is a list of host, host:port, [address]:port, inet:host:port, unix:/path
// and /path; the default is localhost. In mysql: localhost is the socket, the one
// of the option file or /run/mysqld/mysqld.sock. In pgsql: a path is the directory
// of the socket, with :port behind it if need be, and there are postgresql:// URIs;
// what a URI does not say is taken from the other parameters.
//
// A table opens without asking its servers. It keeps up to 8 connections, opened
// when they are needed and closed after idle_interval (60) seconds. A new one goes
// to a socket before it goes elsewhere, and else to a random server. A server that
// cannot be reached, does not accept the user, or does not answer is left alone for
// retry_interval (60) seconds, or for 1 second when it is the only one; then one
// lookup tries it again, while the others use other servers or fail at once. An
// attempt to connect may take 5 seconds, a query 10, and both end with the context
// of the lookup. When a connection turns out to be dead, the lookup is done once
// more on a new one: a restart of the server between two lookups is not noticed.
//
// A failing lookup is a passing trouble (451 4.3.0). Why a server cannot be used
// is logged once a minute for all tables of an Opener, and when it answers again
// (table.Troubles); the *table.Error says Told. A query that the server refuses is
// an error that names file, line, server and the server's words; unlike in Postfix
// it does not make the server count as down.
//
// With Opener.CacheTTL the answers of mysql: and pgsql: are kept for a while
// (package cache).
//
// # MySQL and MariaDB
//
// Queries are prepared. charset is utf8mb4 by default. option_file names an option
// file; without it /etc/my.cnf and /etc/mysql/my.cnf are read, unless option_group
// is set to nothing. The groups client, client-server, client-mariadb and
// option_group count (default client), with the options user, password, host, port,
// socket, connect-timeout, default-character-set and those of TLS. The .cf file goes
// before them, with MySQL's own oddities: a host there replaces a socket of hosts,
// and its password is for its user only. ~/.my.cnf is not read.
//
// Any tls_ parameter asks for TLS. tls_CAfile or tls_CApath makes the server's
// certificate be checked, tls_verify_cert = yes its name as well, against the
// authorities of the system when there are no others. tls_ciphers is for TLS 1.2.
//
// # PostgreSQL
//
// encoding is UTF8 by default. Queries are prepared, under a name that depends on
// their text alone. When a prepared statement is gone at its first use, there is a
// pooler in between that gives every transaction another connection, such as
// PgBouncer: from then on the table sends the text of the query with every lookup.
// TLS is asked for by sslmode and its like in a URI; the default is to use it when
// the server offers it. The PG... variables of the environment and ~/.pgpass count
// as they do for libpq.
//
// # The database file of SQLite
//
// A relative dbpath is treated like a relative name: with table_relative_names it
// lies in the configuration directory, else in the working directory. The database
// is opened for reading only and never created: a missing file is an error (Postfix
// makes an empty database in its place), and so is a query that it refuses. A lookup
// waits 2 seconds for a writer. When another file is moved to dbpath, lookups use it
// within a second. An SQL error fails the lookup and names the line of the query; it
// does not disturb other lookups.
//
// # Rows
//
// A table can list its rows when its query has a plain shape:
//
//	SELECT expressions FROM tables WHERE column = '%s' AND active = 1
//
// Instead of a column there may be any expression of the row, lower(email) or
// user || '@' || domain, and instead of '%s' one of '%u', '%d', '%u@%d', '@%d' and
// what CONCAT or || joins of them, also with columns of the row: that is how alias
// domains are written. Several such conditions are tied by AND; ORDER BY, LIMIT and
// UNION may follow. The query is sent once more, in a transaction that only reads,
// without the conditions on the key and with their columns added; these say which
// key finds a row. A key is listed as it is stored. Where '%d' alone decides, the
// key is "@domain". At most 100 000 rows are read, within 3 seconds, or 10 of a file;
// what goes beyond, and every other shape, is table.ErrNotListed.
//
// Hidden lists the rows that the other conditions leave out, active = 0, and those
// without a value. Remember answers from rows that were listed, when it is known how
// the database compares texts: a column of SQLite without NOCASE, text and varchar of
// PostgreSQL, the usual collations of MySQL for printable ASCII.
//
// Nothing is written.
//
// The package imports origin, syntax, table, table/cache and table/cf, and the
// drivers: mysql, pgx's pgconn, and SQLite's library.
package sql
