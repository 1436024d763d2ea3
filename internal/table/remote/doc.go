// Package remote holds the lookup tables that a server answers over a small
// protocol of one question and one reply: tcp: and socketmap:.
//
//	tcp:127.0.0.1:2000                      a server of tcp_table(5)
//	tcp:[::1]:2000                          numbers of IPv6 stand in brackets
//	socketmap:inet:127.0.0.1:2000:aliases   the table "aliases" of a server of
//	socketmap:unix:/run/maps/socket:aliases socketmap_table(5)
//
// A host that is not written is localhost; a port may be a name. A relative
// path of a socket begins at queue_directory, where Postfix's daemons run.
//
// # Protocols
//
//	tcp        get info%40example.test       200 john@example.test
//	socketmap  25:aliases info@example.test, 20:OK john@example.test,
//
// tcp: ends both with a newline and writes bytes that are no visible ASCII, and
// the percent sign, as %XX. A reply that begins with 2 is the value, with 4 a
// failure, with 5 "not found"; three digits and a blank are mandatory. With its
// newline it has 4096 bytes at most. socketmap: sends netstrings of up to
// 100000 bytes: OK is the value, NOTFOUND is "not found", TEMP and TIMEOUT are
// failures, PERM is a failure for which the configuration is to blame. Any other
// reply is a failure that quotes it. A value ends at a NUL, as in Postfix.
//
// # Connections
//
// A table opens up to 8 connections, so that one slow answer does not hold up
// the lookups of others, and keeps them for the next ones: for 10 seconds
// without use, and 100 seconds in all. A lookup that meets a closed connection,
// or whose connection is closed before the reply is complete, is tried once more
// on a new one. A server that cannot be reached is a failure at once. A lookup
// takes 100 seconds at most, and ends with its context; after one that took so
// long the server is left alone for 10 seconds, lookups fail at once meanwhile,
// and then one of them asks again. Failures are logged once a minute for all
// tables that ask the server, and so is their end; bad replies once a minute for
// each table and text.
//
// # Security
//
// Nothing proves who answers. Where that matters (owners and paths of
// mailboxes, aliases that run commands) the types are refused (Use.NoRemote).
//
// The types are pattern types: the server is asked for whole keys only, and they
// are not folded. Rows cannot be listed.
//
// It imports origin and table.
package remote
