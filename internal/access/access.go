// Package access decides whether a client may do what it asks for: the
// smtpd_*_restrictions lists of main.cf, evaluated as smtpd(8) does, and the
// access(5) tables in them.
//
// At each recipient the lists are asked in this order (with smtpd_delay_reject
// = yes; otherwise the first three at their own command):
//
//	smtpd_client_restrictions      who connects
//	smtpd_helo_restrictions        how it greets
//	smtpd_sender_restrictions      the envelope sender
//	smtpd_relay_restrictions       may this recipient be reached by this client?
//	smtpd_recipient_restrictions   anything about the recipient
//
// A list is read from left to right. Every restriction answers permit, reject
// or "don't know"; permit ends its own list, reject ends everything, and the
// end of a list is a permit. After the last list comes the question whether the
// recipient exists (smtpd_reject_unlisted_recipient).
//
// Lists are compiled when the configuration is loaded: an unknown name, or
// lists that make an open relay, are errors then, with file and line. Each
// restriction is one function of a table in restrictions.go; a new one is a new
// row there.
//
// It imports address, config, header, nearest, origin, route, smtp, syntax and table.
package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/syntax"
	"postern/internal/table"
)

// Request is what is known of a session when a list is asked.
type Request struct {
	Where      string // CONNECT, HELO, MAIL, RCPT, DATA, END-OF-MESSAGE, VRFY, ETRN
	ClientName string // verified host name, or "unknown"
	ClientAddr netip.Addr
	Helo       string // "" before HELO
	Domain     string // of ETRN; else ""
	Sender     address.Address
	HasSender  bool // MAIL was given; Sender may still be null
	SMTPUTF8   bool // asked for with MAIL
	Recipient  address.Address
	HasRcpt    bool // Recipient is set
	Recipients int  // accepted so far
	Discarded  bool // an access table said DISCARD about this message before
	TLS        bool
	SASLUser   string // "" when not authenticated
}

// Action is a side effect for the whole message that an access table asked for.
type Action struct {
	Verb string // DISCARD, HOLD, REDIRECT, BCC, PREPEND
	Text string // argument of the verb
}

// Note is something for the log beside the verdict: Action is the word in front,
// "warn" or "reject_warning".
type Note struct{ Action, Text string }

// Verdict is the answer of a stage. A zero Reply permits.
type Verdict struct {
	Reply   smtp.Reply
	Hangup  bool // end the connection without a reply
	Actions []Action
	Notes   []Note
}

// Logger takes warnings about failed lookups and bad results.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Options are what a Policy is made of.
type Options struct {
	Settings *config.Settings // of one smtpd service, with its -o overrides
	Opener   *table.Opener
	Router   *route.Router
	Own      []netip.Addr // addresses of this host, for permit_inet_interfaces
	Log      Logger
	// Strict makes a list that nobody understands an error whatever compatibility
	// says: for those who look for mistakes.
	Strict bool
}

// lenient says that a list which nobody understands is no error: who comes to
// it is refused for now, as smtpd(8) does (compatibility = postfix).
func (o *Options) lenient() bool {
	return !o.Strict && o.Settings.String("compatibility") == "postfix"
}

// Policy holds the compiled restriction lists of one smtpd service. It is
// immutable and safe for concurrent use.
type Policy struct {
	router *route.Router
	log    Logger
	own    map[netip.Addr]bool

	mynetworks *table.List
	delimiter  address.Delimiter

	lists map[string][]restriction // by stage parameter

	delayReject           bool
	rcptStages            []stage // the lists that are asked at RCPT, in order
	rejectUnlisted        bool
	rejectUnlistedSender  bool
	unlistedOff           bool // receive_override_options = no_unknown_recipient_checks
	parentsWithoutDot     bool
	nullKey               string
	doubleBounce          string
	codes                 map[string]int
	allowUntrustedRouting bool
	classes               map[string][]restriction // smtpd_restriction_classes
}

// stages are the list parameters with the side of the envelope each one's bare
// table names refer to.
var stages = []struct{ parameter, side string }{
	{"smtpd_client_restrictions", "client"},
	{"smtpd_helo_restrictions", "helo"},
	{"smtpd_sender_restrictions", "sender"},
	{"smtpd_relay_restrictions", "recipient"},
	{"smtpd_recipient_restrictions", "recipient"},
	{"smtpd_data_restrictions", ""},
	{"smtpd_end_of_data_restrictions", ""},
	{"smtpd_etrn_restrictions", ""},
}

// codeNames are the reply codes that main.cf can change.
var codeNames = []string{"reject_code", "defer_code", "access_map_reject_code", "access_map_defer_code",
	"non_fqdn_reject_code", "invalid_hostname_reject_code", "relay_domains_reject_code",
	"multi_recipient_bounce_reject_code", "plaintext_reject_code"}

// ErrRelayControl is the error of lists without a restriction that keeps foreign
// mail out.
var ErrRelayControl = errors.New("in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: " +
	"reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains")

// New compiles the lists. Errors hold a *config.Fault that names the file and line
// of the list.
func New(ctx context.Context, o Options) (*Policy, error) {
	s := o.Settings
	p := &Policy{
		router: o.Router, log: o.Log, own: map[netip.Addr]bool{}, lists: map[string][]restriction{},
		delayReject: s.Bool("smtpd_delay_reject"), rcptStages: rcptStages(s),
		rejectUnlisted:       s.Bool("smtpd_reject_unlisted_recipient"),
		rejectUnlistedSender: s.Bool("smtpd_reject_unlisted_sender"),
		nullKey:              s.String("smtpd_null_access_lookup_key"), doubleBounce: s.String("double_bounce_sender"),
		codes: map[string]int{}, classes: map[string][]restriction{},
		allowUntrustedRouting: s.Bool("allow_untrusted_routing"),
		delimiter: address.Delimiter{Set: s.String("recipient_delimiter"), DoubleBounce: s.String("double_bounce_sender"),
			OwnerRequest: s.Bool("owner_request_special")},
	}
	for _, a := range o.Own {
		p.own[a.Unmap()] = true
	}
	for _, name := range codeNames {
		p.codes[name] = s.Int(name)
	}
	for _, w := range s.List("parent_domain_matches_subdomains") {
		p.parentsWithoutDot = p.parentsWithoutDot || strings.EqualFold(w, "smtpd_access_maps")
	}
	for _, w := range s.List("receive_override_options") {
		p.unlistedOff = p.unlistedOff || strings.EqualFold(w, "no_unknown_recipient_checks")
	}
	if err := p.openNetworks(ctx, o); err != nil {
		o.Log.Warningf("mynetworks: %v", err)
	}
	return p, p.compile(ctx, o)
}

func (p *Policy) openNetworks(ctx context.Context, o Options) (err error) {
	v := o.Settings.Value("mynetworks")
	parents := false
	for _, w := range o.Settings.List("parent_domain_matches_subdomains") {
		parents = parents || strings.EqualFold(w, "mynetworks")
	}
	p.mynetworks, err = o.Opener.List(ctx, v.Text, table.AddressList, parents,
		table.Use{Parameter: "mynetworks", At: v.At, Fold: true})
	return err
}

// compile reads the lists and the user's own classes.
func (p *Policy) compile(ctx context.Context, o Options) error {
	c := &compiler{p: p, o: o}
	c.classNames = o.Settings.List("smtpd_restriction_classes")
	for _, name := range c.classNames {
		v, ok := o.Settings.Lookup(name)
		if !ok {
			return &config.Fault{At: o.Settings.Value("smtpd_restriction_classes").At, Err: fmt.Errorf("smtpd_restriction_classes: %s is not defined", name)}
		}
		list, err := c.list(ctx, v.Text, v.At, "")
		if err != nil {
			return err
		}
		p.classes[strings.ToLower(name)] = list
	}
	for _, st := range stages {
		v := o.Settings.Value(st.parameter)
		list, err := c.list(ctx, v.Text, v.At, st.side)
		if err != nil {
			return fmt.Errorf("%w (in %s)", err, st.parameter)
		}
		p.lists[st.parameter] = list
	}
	return p.refuseOpenRelay(o.Settings)
}

// refuseOpenRelay wants one restriction in the relay or recipient list that
// keeps foreign mail out, as smtpd(8) does.
func (p *Policy) refuseOpenRelay(s *config.Settings) error {
	for _, parameter := range []string{"smtpd_relay_restrictions", "smtpd_recipient_restrictions"} {
		if p.keepsForeignMailOut(p.lists[parameter], map[string]bool{}) {
			return nil
		}
	}
	return &config.Fault{At: s.Value("smtpd_relay_restrictions").At, Err: ErrRelayControl}
}

// keepsForeignMailOut looks for such a restriction, in classes too. One that is
// only to warn does not count. seen are the classes that were looked into.
func (p *Policy) keepsForeignMailOut(list []restriction, seen map[string]bool) bool {
	for _, r := range list {
		if r.warn {
			continue
		}
		switch r.name {
		case "reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit", "check_relay_domains":
			return true
		}
		if seen[r.name] {
			continue
		}
		seen[r.name] = true
		if p.keepsForeignMailOut(p.classes[r.name], seen) {
			return true
		}
	}
	return false
}

// words cuts a restriction list; "{ name, arg }" groups come apart too.
func words(text string) []string {
	var out []string
	for _, w := range syntax.Split(text, syntax.Separators) {
		if inner, ok := syntax.Unbrace(w); ok {
			out = append(out, words(inner)...)
			continue
		}
		out = append(out, w)
	}
	return out
}

// compiler turns lists into functions.
type compiler struct {
	p          *Policy
	o          Options
	classNames []string
}

// A restriction is one compiled item of a list.
type restriction struct {
	name  string // as in the manual
	arg   string
	at    origin.At
	check func(ctx context.Context, e *evaluation) decision
	warn  bool // warn_if_reject stood in front of it
}

// list compiles the text of a list.
func (c *compiler) list(ctx context.Context, text string, at origin.At, side string) ([]restriction, error) {
	var out []restriction
	warn := false
	items := syntax.Split(text, syntax.Separators)
	for i := 0; i < len(items); i++ {
		if inner, ok := syntax.Unbrace(items[i]); ok {
			items = slices.Replace(items, i, i+1, syntax.Split(inner, syntax.Separators)...)
			i--
			continue
		}
		name := strings.ToLower(items[i])
		if name == "warn_if_reject" {
			warn = true
			continue
		}
		r := restriction{name: name, at: at, warn: warn}
		warn = false
		var err error
		switch {
		case strings.Contains(name, ":") && side == "":
			err = &config.Fault{At: at, Err: fmt.Errorf("%s needs check_client_access or the like in front of it", items[i])}
		case strings.Contains(name, ":"):
			r.name, r.arg = "check_"+side+"_access", items[i]
		case takesArgument(name) && i+1 == len(items):
			err = &config.Fault{At: at, Err: fmt.Errorf("%s needs an argument", name)}
		case takesArgument(name):
			i++
			r.arg, _ = syntax.Unbrace(items[i]) // check_policy_service { unix:path, timeout=10s }
		}
		if err == nil {
			err = c.bind(ctx, &r)
		}
		if err != nil && !c.o.lenient() {
			return nil, err
		}
		if err != nil {
			c.o.Log.Warningf("%v", err)
			r.check = func(context.Context, *evaluation) decision { return misconfigured }
		}
		out = append(out, r)
	}
	return out, nil
}
