package route

import (
	"fmt"
	"net/netip"
	"strings"

	"postern/internal/config"
	"postern/internal/syntax"
)

// parameters are the scalar settings that routing needs, read once.
type parameters struct {
	myhostname, mydomain, myorigin       string
	appendAtMyorigin, appendDotMydomain  bool
	swapBangpath, allowPercentHack       bool
	recipientDelimiter                   string
	ownerRequestSpecial                  bool
	doubleBounceSender                   string
	emptyAddressRecipient                string
	resolveDequoted, resolveNumeric      bool
	resolveNullDomain, allowMinUser      bool
	allowUntrustedRouting, smtputf8      bool
	showTableName                        bool
	localTransport, virtualTransport     string
	relayTransport, defaultTransport     string
	relayhost                            string
	emptyRelayhostKey, emptyTransportKey string
	parentDomains                        map[string]bool // parent_domain_matches_subdomains
	propagate                            map[string]bool // propagate_unmatched_extensions
	canonicalClasses                     map[string]bool
	senderCanonicalClasses               map[string]bool
	recipientCanonicalClasses            map[string]bool
	expansionLimit, recursionLimit       int
	addressLengthLimit, duplicateLimit   int
	enableOriginalRecipient              bool
	alwaysBcc                            string
	overridesCatchall                    bool // virtual_mailbox_overrides_catchall
	rejectUnlistedTarget                 bool // smtpd_reject_unlisted_target
	codeLocal, codeAlias                 int  // unknown_*_reject_code
	codeMailbox, codeRelay               int
	mailboxBase                          string
	minimumUID                           int
	formatAuto                           bool // virtual_mailbox_format = auto
	spoolDirectory, homeMailbox          string
	luserRelay                           string
	expandOwnerAlias, resetOwnerAlias    bool
	frozenDeliveredTo, requireHome       bool
	forwardPath                          []string
	forwardFilter, directoryFilter       string          // *_expansion_filter
	allowCommands, allowFiles            map[string]bool // allow_mail_to_commands, allow_mail_to_files
	executionDirectory, defaultPrivs     string
	mailboxTransport, fallbackTransport  string
	mailboxCommand                       string
}

func (p *parameters) read(s *config.Settings) error {
	*p = parameters{
		myhostname: s.String("myhostname"), mydomain: s.String("mydomain"), myorigin: s.String("myorigin"),
		appendAtMyorigin: s.Bool("append_at_myorigin"), appendDotMydomain: s.Bool("append_dot_mydomain"),
		swapBangpath: s.Bool("swap_bangpath"), allowPercentHack: s.Bool("allow_percent_hack"),
		recipientDelimiter: s.String("recipient_delimiter"), ownerRequestSpecial: s.Bool("owner_request_special"),
		doubleBounceSender: s.String("double_bounce_sender"), emptyAddressRecipient: s.String("empty_address_recipient"),
		resolveDequoted: s.Bool("resolve_dequoted_address"), resolveNumeric: s.Bool("resolve_numeric_domain"),
		resolveNullDomain: s.Bool("resolve_null_domain"), allowMinUser: s.Bool("allow_min_user"),
		allowUntrustedRouting: s.Bool("allow_untrusted_routing"), smtputf8: s.Bool("smtputf8_enable"),
		showTableName:  s.Bool("show_user_unknown_table_name"),
		localTransport: s.String("local_transport"), virtualTransport: s.String("virtual_transport"),
		relayTransport: s.String("relay_transport"), defaultTransport: s.String("default_transport"),
		relayhost:         s.String("relayhost"),
		emptyRelayhostKey: s.String("empty_address_relayhost_maps_lookup_key"),
		emptyTransportKey: s.String("empty_address_default_transport_maps_lookup_key"),
		parentDomains:     set(s.String("parent_domain_matches_subdomains")),
		propagate:         set(s.String("propagate_unmatched_extensions")),
		canonicalClasses:  set(s.String("canonical_classes")), senderCanonicalClasses: set(s.String("sender_canonical_classes")),
		recipientCanonicalClasses: set(s.String("recipient_canonical_classes")),
		expansionLimit:            s.Int("virtual_alias_expansion_limit"), recursionLimit: s.Int("virtual_alias_recursion_limit"),
		addressLengthLimit: s.Int("virtual_alias_address_length_limit"), duplicateLimit: s.Int("duplicate_filter_limit"),
		enableOriginalRecipient: s.Bool("enable_original_recipient"), alwaysBcc: s.String("always_bcc"),
		overridesCatchall: s.Bool("virtual_mailbox_overrides_catchall"), rejectUnlistedTarget: s.Bool("smtpd_reject_unlisted_target"),
		codeLocal: s.Int("unknown_local_recipient_reject_code"), codeAlias: s.Int("unknown_virtual_alias_reject_code"),
		codeMailbox: s.Int("unknown_virtual_mailbox_reject_code"), codeRelay: s.Int("unknown_relay_recipient_reject_code"),
		mailboxBase: s.String("virtual_mailbox_base"), minimumUID: s.Int("virtual_minimum_uid"),
		formatAuto:     s.String("virtual_mailbox_format") == "auto",
		spoolDirectory: s.String("mail_spool_directory"), homeMailbox: s.String("home_mailbox"),
		luserRelay:       s.Raw("luser_relay"),
		expandOwnerAlias: s.Bool("expand_owner_alias"), resetOwnerAlias: s.Bool("reset_owner_alias"),
		frozenDeliveredTo: s.Bool("frozen_delivered_to"), requireHome: s.Bool("require_home_directory"),
		forwardPath:   syntax.Split(s.Raw("forward_path"), syntax.Separators),
		forwardFilter: s.String("forward_expansion_filter"), directoryFilter: s.String("execution_directory_expansion_filter"),
		allowCommands: set(s.String("allow_mail_to_commands")), allowFiles: set(s.String("allow_mail_to_files")),
		executionDirectory: s.Raw("command_execution_directory"), defaultPrivs: s.String("default_privs"),
		mailboxTransport: s.String("mailbox_transport"), fallbackTransport: s.String("fallback_transport"),
		mailboxCommand: s.Raw("mailbox_command"),
	}
	for _, name := range []string{"local_transport", "virtual_transport", "relay_transport", "default_transport"} {
		if v := s.Value(name); v.Text == "" || v.Text[0] == ':' {
			return fmt.Errorf("%v: parameter %s: null transport is not allowed", v.At, name)
		}
	}
	return nil
}

// set makes a set of the words of a list parameter.
func set(text string) map[string]bool {
	m := map[string]bool{}
	for _, w := range syntax.Split(text, syntax.Separators) {
		m[strings.ToLower(w)] = true
	}
	return m
}

// ownAddresses evaluates inet_interfaces and proxy_interfaces: "all" and
// "loopback-only" choose from the host's addresses, anything else must be an
// address. Host names are looked up by nobody here: they are left out.
func ownAddresses(s *config.Settings, host []netip.Addr) (map[netip.Addr]bool, error) {
	own := map[netip.Addr]bool{}
	for _, name := range []string{"inet_interfaces", "proxy_interfaces"} {
		for _, w := range s.List(name) {
			switch w {
			case "all", "loopback-only":
				for _, a := range host {
					if w == "all" || a.IsLoopback() {
						own[a.Unmap().WithZone("")] = true
					}
				}
			default:
				text := strings.TrimSuffix(strings.TrimPrefix(w, "["), "]")
				if a, err := netip.ParseAddr(text); err == nil {
					own[a.Unmap()] = true
				}
			}
		}
	}
	return own, nil
}
