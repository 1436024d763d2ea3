// Package mtasts holds the lookup table that asks other domains for their MTA-STS
// policies (RFC 8461): mta-sts:, for smtp_tls_policy_maps.
//
//	smtp_tls_security_level = dane
//	smtp_tls_policy_maps    = hash:/etc/postfix/tls_policy, mta-sts:
//
// # Lookup
//
// The key is a next hop. For a plain domain whose policy has the mode enforce the
// value is an entry of a TLS policy table (package tlspolicy):
//
//	secure match=mx1.example.test:.example.net servername=hostname policy_type=sts
//
// The certificate of a mail server is good when an authority of smtp_tls_CAfile,
// smtp_tls_CApath or, with tls_append_default_CA, of the system says so.
//
// The names are the mx patterns of the policy; ".example.net" is the pattern
// "*.example.net". Everything else is not found: modes testing and none, domains
// without a policy, and keys that are no domain, such as "[mx.test]:587" or
// ".example.test". Trouble with the DNS, with the web server of a domain or with
// the text of a policy is "not found" as well, unless an earlier policy still
// holds: without a policy, mail is never held up (RFC 8461, 5.1).
//
// # Where policies come from
//
// The TXT record _mta-sts.DOMAIN says that there is a policy, and by its id when
// it changes. The policy is read from https://mta-sts.DOMAIN/.well-known/mta-sts.txt:
// the certificate must be good, redirections are not followed, the media type must
// be text/plain, and the text has at most 64 KiB.
//
// A policy holds for its max_age, whatever becomes of the TXT record and of the web
// server: whoever can cut a domain off cannot take its policy away. It is kept in
// a file of cache_directory, so it holds across restarts too. A lookup looks for a
// new id when the last look is 5 minutes old, and reads a policy anew when its id
// changed or the text is a day old. Lookups of one domain share this work, which
// takes timeout seconds at most and is done at most once in 5 minutes.
//
// # Configuration
//
// "mta-sts:" alone is good for most. "mta-sts:/file.cf" names a file of
// "name = value" lines (package cf):
//
//	cache_directory  where policies are kept; default: $queue_directory/postern/mta-sts.
//	                 A server without root's rights can write to no other place
//	timeout          of one discovery, in seconds; default: 10
//	dns_servers      default: dns_servers of main.cf, then /etc/resolv.conf
//	CAfile           authorities for the web servers; default: those of the system
//	https_address    host:port that is connected to for every policy, for tests
//
// # Limits
//
// Policies are refreshed when mail is sent, not in between: one of a domain that
// gets no mail for max_age is forgotten. 10000 domains are held in memory. Reports
// (RFC 8460) are not sent. The rows cannot be listed.
//
// The package imports dns, origin, table, table/cf, golang.org/x/net/idna and
// golang.org/x/sync/singleflight.
package mtasts
