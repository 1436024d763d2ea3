// Package ldap holds the lookup tables that ask an LDAP directory: ldap:.
//
// # Configuration
//
// A table is described by a file of "name = value" lines, in the line format of
// main.cf but without $name expansion (package cf):
//
//	server_host      = ldap1.example.org, ldaps://ldap2.example.org
//	search_base      = ou=people,dc=example,dc=org
//	query_filter     = (&(objectClass=inetOrgPerson)(mail=%s))
//	result_attribute = maildrop
//
// The parameters are those of ldap_table(5). cache, cache_expiry, cache_size,
// debuglevel, sasl_realm, sasl_minssf, tls_cipher_suite and tls_random_file have
// no effect, which is said when they are set. With table_cache_ttl answers are
// kept for a while (package cache).
//
// # From key to search
//
// %-letters in search_base and query_filter stand for parts of the key, quoted
// so that no key can change what is asked: *, (, ), \ and what is not printable
// ASCII in a filter (RFC 4515), the special characters of names in search_base
// (RFC 4514). In a filter they may stand for values only. As in OpenLDAP, white
// space between the parts of a filter means nothing, and a single comparison
// needs no parentheses. A key that is not UTF-8 is not found.
//
// # From entries to result
//
// The attributes of an entry are used in the order in which the server returns
// them. result_attribute values go through result_format, and the pieces are
// joined with commas. The values of special_result_attribute are names of
// entries, or LDAP URLs whose host is ignored; these are searched, and their
// attributes used in the same way. An entry with a terminal_result_attribute
// gives that and nothing else; one with a special attribute does not give its
// leaf_result_attribute. A name that does not exist is left out with a warning;
// recursion_limit, a name that leads back to itself, and more than 100000
// searches for one key are failures. So are more than size_limit entries or
// expansion_limit values.
//
// A search_base that does not exist is a failure, unless it depends on the key:
// then the key is not found. Entries on other servers are left out, or with
// chase_referrals asked for there, without a login; a server that cannot be
// asked is a failure then.
//
// # Servers
//
// The servers are tried in their order when a connection is needed. A table has
// up to eight, and uses them again. timeout bounds each connect, login and
// search. A server that failed is tried again after 5 seconds; when none is
// left, lookups fail at once meanwhile. A connection is closed after a minute
// without use. When one that was used before turns out to be dead, or is not
// answered within timeout, it is replaced, with all that are idle, and the search
// repeated once. What is wrong with a server is logged once a minute for all
// tables that ask it, and when it is over; the *table.Error says Told. The first
// lookup is what connects: a table opens when its servers are down.
//
// # Differences from Postfix
//
//   - The protocol version is 3, whatever version says.
//   - SASL can do EXTERNAL only (ldapi://, or tls_cert).
//   - A certificate must name its host as an alternative name; the common name
//     does not count.
//   - A terminal or special attribute counts for the entry it is in. In Postfix it
//     counts for the entries that follow in the same answer, too.
//   - search_base must not be empty. A wrong server_host is a failure where Postfix
//     goes on with the others, a timeout of 0 where Postfix never waits.
//
// Rows cannot be listed, and nothing is written.
//
// The package imports origin, syntax, table, table/cache and table/cf, and an
// LDAP client.
package ldap
