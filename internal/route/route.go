// Package route decides, for any address, which of the five kinds of domain it
// belongs to and where its mail goes. It is the only place that decides: the
// server asks it at RCPT, at the end of the message and at delivery, and the
// explain command asks it the same questions with a Trace attached.
//
// An address goes through these steps:
//
//	Rewrite         any form becomes local@domain (trivial-rewrite(8))
//	Resolve         class, transport and next hop of one address
//	CheckRecipient  does it exist? the verdict at RCPT
//	Expand          canonical mapping, virtual aliases, bcc: the final recipients
//	VirtualMailbox  the path and owner of a virtual mailbox (virtual(8))
//	LocalTargets    mailbox, aliases or unknown user of a local domain (local(8))
//
// The five classes are asked in this order and the first that lists the domain
// wins: local (mydestination), virtual alias (virtual_alias_domains), virtual
// mailbox (virtual_mailbox_domains), relay (relay_domains), default. See
// ADDRESS_CLASS_README.
//
// Nothing here delivers, and nothing is cached beyond what tables cache: a
// changed table counts from the next question on. A table that fails is never
// "no such user": it is a *Failure, which becomes a 451 or a deferral.
//
// It imports address, config, macro, origin, privsep, smtp and table.
package route

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/origin"
	"postern/internal/privsep"
	"postern/internal/table"
)

// Class is the kind of domain an address belongs to.
type Class uint8

// The address classes in the order of their precedence.
const (
	Local Class = iota
	VirtualAlias
	VirtualMailbox
	Relay
	Default
)

// String is the name of the class as explain prints it.
func (c Class) String() string {
	return [...]string{"local", "virtual-alias", "virtual-mailbox", "relay", "default"}[c]
}

// parameter is the domain list that decides the class.
func (c Class) parameter() string {
	return [...]string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains", ""}[c]
}

// Logger takes warnings about the configuration and its tables.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Options are what a Router is made of.
type Options struct {
	Settings *config.Settings
	Opener   *table.Opener
	// Addresses are the network addresses of this host, for inet_interfaces =
	// all and for "user@[ip]".
	Addresses []netip.Addr
	Users     Users
	// Files reads ~/.forward and :include: files; nil: with the rights that the
	// process has.
	Files privsep.FileReader
	// IsMaildir says whether there is a Maildir in a directory, for
	// virtual_mailbox_format = auto; nil: with the rights that the process has.
	IsMaildir func(path string) bool
	Log       Logger
}

// Router answers all questions about addresses under one configuration. It is
// immutable and safe for concurrent use; a reload makes a new one.
type Router struct {
	p   parameters
	log Logger

	rewriter  address.Rewriter
	delimiter address.Delimiter
	own       map[netip.Addr]bool // inet_interfaces and proxy_interfaces
	users     Users
	files     privsep.FileReader
	isMaildir func(path string) bool
	stat      func(name string) (fs.FileInfo, error) // of a table's file

	domains map[Class]*table.List
	maps    map[string]*table.Maps // by parameter name
}

// mapUses are the table parameters of the router and how each is opened.
// Those marked fixed refuse $1 from pattern tables: a sender must not be able
// to choose paths, owners or transports.
var mapUses = []struct {
	parameter string
	use       table.Use
}{
	{"virtual_alias_maps", table.Use{}},
	{"canonical_maps", table.Use{}},
	{"sender_canonical_maps", table.Use{}},
	{"recipient_canonical_maps", table.Use{}},
	{"relocated_maps", table.Use{}},
	{"transport_maps", table.Use{NoSubstitution: true}},
	{"sender_dependent_relayhost_maps", table.Use{}},
	{"sender_dependent_default_transport_maps", table.Use{NoSubstitution: true}},
	{"virtual_mailbox_maps", table.Use{SingleValue: true}},
	{"local_recipient_maps", table.Use{}},
	{"relay_recipient_maps", table.Use{}},
	{"sender_bcc_maps", table.Use{}},
	{"recipient_bcc_maps", table.Use{}},
	{"virtual_uid_maps", table.Use{NoSubstitution: true, NoRemote: true, SingleValue: true}},
	{"virtual_gid_maps", table.Use{NoSubstitution: true, NoRemote: true, SingleValue: true}},
	{"alias_maps", table.Use{NoSubstitution: true, NoRemote: true, AliasSyntax: true}},
	{"mailbox_transport_maps", table.Use{NoSubstitution: true}},
	{"mailbox_command_maps", table.Use{NoSubstitution: true, NoRemote: true}},
	{"fallback_transport_maps", table.Use{NoSubstitution: true}},
}

// deliveryMaps is the name under which virtual_mailbox_maps is opened a second
// time, as virtual(8) opens it: without $1 and without remote types.
const deliveryMaps = "virtual_mailbox_maps at delivery"

// New opens every table and list that the settings name. A table that cannot
// be opened does not stop it: the table fails at each lookup, and the reason is
// logged once here.
func New(ctx context.Context, o Options) (*Router, error) {
	if o.Files == nil {
		o.Files = privsep.OwnFiles{}
	}
	if o.IsMaildir == nil {
		o.IsMaildir = isMaildir
	}
	r := &Router{log: o.Log, users: o.Users, files: o.Files, isMaildir: o.IsMaildir, stat: o.Opener.Stat,
		maps: map[string]*table.Maps{}, domains: map[Class]*table.List{}}
	if err := r.p.read(o.Settings); err != nil {
		return nil, err
	}
	r.rewriter = address.Rewriter{
		AppendAtOrigin:   r.p.appendAtMyorigin,
		Origin:           r.p.myorigin,
		AppendDotDomain:  r.p.appendDotMydomain,
		Domain:           r.p.mydomain,
		SwapBangPath:     r.p.swapBangpath,
		AllowPercentHack: r.p.allowPercentHack,
	}
	r.delimiter = address.Delimiter{
		Set:          r.p.recipientDelimiter,
		DoubleBounce: r.p.doubleBounceSender,
		OwnerRequest: r.p.ownerRequestSpecial,
	}
	var err error
	if r.own, err = ownAddresses(o.Settings, o.Addresses); err != nil {
		return nil, err
	}
	told := map[string]bool{}
	for _, m := range mapUses {
		r.openMaps(ctx, o, told, m.parameter, m.parameter, m.use)
	}
	r.openMaps(ctx, o, told, deliveryMaps, "virtual_mailbox_maps",
		table.Use{NoSubstitution: true, NoRemote: true, SingleValue: true})
	r.openLists(ctx, o)
	return r, nil
}

// openMaps opens the tables of a parameter. What is wrong is logged, unless it
// was told of another use of the parameter.
func (r *Router) openMaps(ctx context.Context, o Options, told map[string]bool, as, parameter string, use table.Use) {
	v := o.Settings.Value(parameter)
	use.Parameter, use.At, use.Fold = parameter, v.At, true
	m, err := o.Opener.Maps(ctx, v.Text, use)
	if err != nil {
		text := fmt.Sprintf("%v: %s: %v", v.At, parameter, err)
		if !told[text] {
			r.log.Warningf("%s", text)
		}
		told[text] = true
	}
	r.maps[as] = m
}

func (r *Router) openLists(ctx context.Context, o Options) {
	for _, c := range []Class{Local, VirtualAlias, VirtualMailbox, Relay} {
		v := o.Settings.Value(c.parameter())
		kind, parents := table.StringList, false
		if c == Relay {
			kind, parents = table.DomainList, r.p.parentDomains["relay_domains"]
		}
		use := table.Use{Parameter: c.parameter(), At: v.At, Fold: true}
		l, err := o.Opener.List(ctx, v.Text, kind, parents, use)
		if err != nil {
			r.log.Warningf("%v: %s: %v", v.At, c.parameter(), err)
		}
		r.domains[c] = l
	}
}

// UpTo returns a router that gives up an address after n aliases one behind the
// other, where r goes on to virtual_alias_recursion_limit: for those who look for
// circles. It shares everything else with r.
func (r *Router) UpTo(n int) *Router {
	shallow := *r
	shallow.p.recursionLimit = min(n, r.p.recursionLimit)
	return &shallow
}

// Rewrite completes an address in the local context: source routes, missing
// domains, bang paths and the percent hack (postconf append_at_myorigin and
// its neighbours).
func (r *Router) Rewrite(a address.Address) address.Address { return r.rewriter.Rewrite(a) }

// Extension splits a local part at the first recipient_delimiter, which the
// extension keeps; it is "" when there is none.
func (r *Router) Extension(local string) (user, extension string) {
	user, extension, _ = r.delimiter.Split(local)
	return user, extension
}

// Tables are the names of the tables of a parameter, in the order in which they
// are asked.
func (r *Router) Tables(parameter string) []string {
	var names []string
	if m := r.maps[parameter]; m != nil {
		for _, t := range m.Tables {
			names = append(names, t.Name())
		}
	}
	return names
}

// Failure is a question that could not be answered because a table or a list
// failed. Reply 451 4.3.0, or 451 4.3.5 when the configuration is to blame;
// queued mail waits.
type Failure struct {
	Address   string // internal form
	Parameter string // the list or maps parameter that failed
	Config    bool
	Err       error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s lookup failure for %q: %v", f.Parameter, f.Address, f.Err)
}

func (f *Failure) Unwrap() error { return f.Err }

// SyntaxError is an address that no class can take: an empty or impossible
// domain. Reply 501 5.1.3, queued mail bounces.
type SyntaxError struct{ Address string }

func (e *SyntaxError) Error() string { return fmt.Sprintf("bad address syntax: %q", e.Address) }

// Why is the reason of a decision: the parameter whose list or table matched,
// and the line or row in it.
type Why struct {
	Class     Class
	Parameter string // "" for the default class
	Table     string // type:name when a table matched, else ""
	Key       string
	At        origin.At
}
