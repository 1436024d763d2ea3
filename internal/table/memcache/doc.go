// Package memcache holds the lookup tables that ask a memcached server:
// memcache:.
//
// # Configuration
//
// A table is described by a file of "name = value" lines, in the line format of
// main.cf but without $name expansion (package cf):
//
//	memcache   = inet:127.0.0.1:11211
//	key_format = aliases:%s
//	backup     = mysql:/etc/postfix/aliases.cf
//
// The parameters are those of memcache_table(5): memcache (inet:host:port or
// unix:path), backup, key_format, domain, ttl, flags, timeout, max_try,
// retry_pause, line_size_limit, data_size_limit.
//
// # Lookup
//
// memcached is asked for the key in the form of key_format. When it does not
// have it, or cannot be asked, the backup table is asked for the key itself, and
// its answer is the answer; a value that is found there is stored in memcached
// for ttl seconds, with flags, if it has no more than data_size_limit bytes. That
// it could not be stored is logged and harms nobody. Without a backup a server
// that does not answer is a failing lookup, and so is a value of more than
// data_size_limit bytes, or an answer that is not understood. A value ends at its
// first NUL, as in Postfix.
//
// A key with white space or control characters is not found, and the backup is
// not asked. One that is too long for memcached, more than 250 bytes, is looked
// up in the backup only.
//
// # The server
//
// A table has up to eight connections, and uses them again; one without use is
// closed after a minute. timeout bounds
// connecting and each command. A command is tried max_try times, with a pause of
// retry_pause seconds; a server that takes no connection is not asked again
// before that pause is over, lookups do without it meanwhile. What is wrong is
// logged once a minute for all tables that ask the server, and when it is over;
// the *table.Error says Told. A table opens when its server is down.
//
// Whoever reaches the server can change what it says. So the type is refused
// where a table decides about the rights of a mailbox (Use.NoRemote).
//
// # Differences from Postfix
//
//   - Postfix sends keys of more than 250 bytes, and fails when memcached refuses
//     them.
//   - Postfix 3.7 sends control characters other than white space.
//   - An answer that is for another key is a failure.
//   - What the backup finds is not stored when memcached did not answer before.
//
// Rows cannot be listed, and other than of what a backup finds nothing is
// written.
//
// The package imports origin, table and table/cf.
package memcache
