package route

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"postern/internal/address"
	"postern/internal/syntax"
	"postern/internal/table"
)

// User is a system user.
type User struct {
	Name        string
	UID, GID    int
	Home, Shell string
}

// Users knows the system users. An error means that the answer is unknown.
type Users interface {
	Lookup(ctx context.Context, name string) (User, bool, error)
}

// maxAliasDepth bounds aliases of local users that point at each other.
const maxAliasDepth = 100

// maxInclude bounds the size of an :include: file.
const maxInclude = 4 << 20

// localExpansion is the state of one recipient of a local domain.
type localExpansion struct {
	r         *Router
	tr        *Trace
	recipient address.Address // for Delivered-To
	sender    string          // of owner-ALIAS; "" keeps the message's
	unmatched string          // extension that the key of the alias at hand left out
	seen      map[string]bool // names already delivered to
	expanding map[string]bool // aliases on the way here
	expanded  map[string]bool // aliases that are done with, by name and sender
	out       []LocalTarget
}

// LocalTargets says what local(8) does for a recipient of a local domain:
// aliases(5) first, for the local part with and without its extension, then the
// system user's mailbox, then luser_relay. The local part is folded to lower
// case. sender is the envelope sender, for owner-ALIAS.
//
// Members of an :include: file become forwarded messages of their own, and so
// do members outside the local domains; the others are delivered to directly.
// A member of an alias that cannot be delivered to is a target of the kind
// LocalBounce or LocalDefer; the other members are served all the same. An error
// is a *DeliveryError for the whole recipient.
func (r *Router) LocalTargets(ctx context.Context, a address.Address, tr *Trace) ([]LocalTarget, error) {
	e := &localExpansion{r: r, tr: tr, recipient: a,
		seen: map[string]bool{}, expanding: map[string]bool{}, expanded: map[string]bool{}}
	if err := e.name(ctx, address.Fold(a.Local), true, 0); err != nil {
		return nil, err
	}
	return e.out, nil
}

// name delivers to one local name.
func (e *localExpansion) name(ctx context.Context, name string, aliases bool, depth int) error {
	if depth > maxAliasDepth || aliases && e.expanding[name] {
		return &DeliveryError{DSN: "5.4.6", Reason: "alias database loop for " + name}
	}
	if aliases {
		done, err := e.alias(ctx, name, depth)
		if done || err != nil {
			return err
		}
	}
	if e.seen[name] {
		return nil
	}
	e.seen[name] = true
	return e.user(ctx, name)
}

// alias replaces a name by its aliases(5) entry and reports whether it has one.
func (e *localExpansion) alias(ctx context.Context, name string, depth int) (bool, error) {
	maps := e.r.maps["alias_maps"]
	if maps.Empty() {
		return false, nil
	}
	found, err := maps.Find(ctx, table.AliasKeys(name, e.r.delimiter), e.tr.observer())
	if errors.Is(err, table.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		e.r.fail(name, "alias_maps", err)
		return false, &DeliveryError{DSN: "4.3.0", Reason: "alias database unavailable", Temporary: true, Err: err}
	}
	// "|command", "/file" and ":include:/file" are local parts of the list. What
	// can be read counts, also when the rest cannot.
	members, err := address.ParseList(found.Value)
	if err != nil {
		e.r.log.Warningf("%v: %v", first(found.At), err)
	}
	if err != nil && len(members) == 0 {
		return false, &DeliveryError{DSN: "4.3.5", Reason: "mail system configuration error", Temporary: true, Err: err}
	}
	e.tr.add("expand", "alias_maps", name, found.Value, first(found.At))
	restore, err := e.owner(ctx, maps, found.Key.Text)
	if err != nil {
		return false, err
	}
	defer restore()
	once := name + "\x00" + e.sender
	if e.expanded[once] {
		return true, nil
	}
	e.expanding[name] = true
	outer := e.unmatched
	e.unmatched = found.Key.Extension
	defer func() { e.unmatched = outer }()
	ext := ""
	if e.r.p.propagate["alias"] {
		ext = e.unmatched
	}
	for _, m := range members {
		if err := e.member(ctx, m, ext, found.Key.Text, depth); err != nil {
			e.spare(err)
		}
	}
	delete(e.expanding, name)
	e.expanded[once] = true
	return true, nil
}

// spare makes a target of the failure of one member, so that the others get
// their mail.
func (e *localExpansion) spare(err error) {
	t := LocalTarget{Kind: LocalDefer, DSN: "4.3.0", Reason: err.Error()}
	var d *DeliveryError
	if errors.As(err, &d) {
		t.DSN, t.Reason = d.DSN, d.Reason
		if !d.Temporary {
			t.Kind = LocalBounce
		}
	}
	e.add(t)
	if d != nil && d.Member != "" {
		e.out[len(e.out)-1].DeliveredTo = d.Member
	}
}

// ofMember makes a failure one of the member a.
func ofMember(a address.Address, err error) error {
	var d *DeliveryError
	if errors.As(err, &d) && d.Member == "" {
		d.Member = a.Internal()
	}
	return err
}

// owner makes owner-NAME, if it is an alias, the sender of what the alias NAME
// sends on, and returns what undoes that.
func (e *localExpansion) owner(ctx context.Context, maps *table.Maps, name string) (func(), error) {
	before := e.sender
	restore := func() { e.sender = before }
	if strings.HasPrefix(name, "owner-") {
		return restore, nil
	}
	found, err := maps.Find(ctx, table.OnlyKey("owner-"+name), nil)
	if errors.Is(err, table.ErrNotFound) {
		return restore, nil
	}
	if err != nil {
		return restore, &DeliveryError{DSN: "4.3.0", Reason: "alias database unavailable", Temporary: true, Err: err}
	}
	owner := address.Address{Local: "owner-" + name}
	if e.r.p.expandOwnerAlias {
		if list, err := address.ParseList(found.Value); err == nil && len(list) == 1 {
			owner = list[0]
		}
	}
	e.sender = e.r.Rewrite(owner).Internal()
	return restore, nil
}

// member handles one member of an alias.
func (e *localExpansion) member(ctx context.Context, a address.Address, ext, alias string, depth int) error {
	switch m := a.Internal(); {
	case strings.HasPrefix(m, ":include:"):
		return e.include(ctx, m[len(":include:"):], depth+1)
	case strings.HasPrefix(m, "|"):
		e.add(LocalTarget{Kind: LocalDefer, DSN: "4.3.0", Reason: "delivery to commands is not available: " + m})
		return nil
	case m == "/dev/null":
		e.add(LocalTarget{Kind: LocalDiscard, Reason: "delivered to file: /dev/null"})
		return nil
	case strings.HasPrefix(m, "/"), strings.HasPrefix(m, "~"):
		e.add(LocalTarget{Kind: LocalDefer, DSN: "4.3.0", Reason: "delivery to files is not available: " + m})
		return nil
	case strings.HasPrefix(m, `\`):
		return e.name(ctx, address.Fold(m[1:]), false, depth+1)
	}
	a = e.r.Rewrite(a)
	a.Local += ext
	a, here, err := e.place(ctx, a)
	if err != nil {
		return err
	}
	if here && e.sender == "" { // members of a list with an owner get a new message
		name := address.Fold(a.Local)
		return ofMember(a, e.name(ctx, name, name != alias, depth+1))
	}
	e.forward(a)
	return nil
}

// complete reads an address that a table or file names.
func (e *localExpansion) complete(text string) (address.Address, error) {
	list, err := address.ParseList(text)
	if err != nil || len(list) != 1 {
		return address.Address{}, &DeliveryError{DSN: "5.1.3", Reason: "bad recipient address syntax: " + text, Err: err}
	}
	return e.r.Rewrite(list[0]), nil
}

// place returns an address as it is resolved, and whether its mail comes to
// local(8) too.
func (e *localExpansion) place(ctx context.Context, a address.Address) (resolved address.Address, here bool, err error) {
	res, err := e.r.Resolve(ctx, a, address.Address{}, nil)
	var syntax *SyntaxError
	switch {
	case errors.As(err, &syntax):
		return a, false, &DeliveryError{DSN: "5.1.3", Reason: "bad recipient address syntax: " + a.Internal(), Err: err}
	case err != nil:
		return a, false, &DeliveryError{DSN: "4.3.0", Reason: "address resolver failure", Temporary: true, Err: err}
	}
	transport, _, _ := strings.Cut(e.r.p.localTransport, ":")
	return res.Address, res.Class == Local && res.Transport == transport, nil
}

// include sends the message on to the members of a file, which may include
// others.
func (e *localExpansion) include(ctx context.Context, name string, depth int) error {
	name = strings.Trim(name, `" `)
	if depth > maxAliasDepth {
		return &DeliveryError{DSN: "5.4.6", Reason: "alias database loop for :include:" + name}
	}
	members, err := includeMembers(name)
	if err != nil {
		e.r.log.Warningf(":include:%s: %v", name, err)
		return &DeliveryError{DSN: "5.3.5", Reason: "mail system configuration error", Err: err}
	}
	for _, m := range members {
		if err := e.included(ctx, m, depth); err != nil {
			e.spare(err)
		}
	}
	return nil
}

// included handles one member of an :include: file. Commands and files are for
// alias files alone (allow_mail_to_commands, allow_mail_to_files).
func (e *localExpansion) included(ctx context.Context, a address.Address, depth int) error {
	switch m := a.Internal(); {
	case strings.HasPrefix(m, ":include:"):
		return e.include(ctx, m[len(":include:"):], depth+1)
	case strings.HasPrefix(m, "|"):
		return &DeliveryError{DSN: "5.7.1", Reason: "mail to command is restricted"}
	case strings.HasPrefix(m, "/"), strings.HasPrefix(m, "~"):
		return &DeliveryError{DSN: "5.7.1", Reason: "mail to file is restricted"}
	}
	a.Local = strings.TrimPrefix(a.Local, `\`)
	a = e.r.Rewrite(a)
	if e.r.p.propagate["include"] {
		a.Local += e.unmatched
	}
	a, _, err := e.place(ctx, a)
	if err == nil {
		e.forward(a)
	}
	return err
}

// includeMembers reads an :include: file: members as in aliases(5), on lines
// of which those that begin with '#' do not count.
func includeMembers(name string) ([]address.Address, error) {
	if !filepath.IsAbs(name) {
		return nil, errors.New("need an absolute path")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(text) > maxInclude {
		return nil, fmt.Errorf("larger than %d octets", maxInclude)
	}
	var all []address.Address
	for line, err := range syntax.Lines(bytes.NewReader(text)) {
		if err != nil && !errors.Is(err, syntax.ErrOrphan) {
			return nil, err
		}
		members, err := address.ParseList(line.Text)
		if err != nil && len(members) == 0 {
			return nil, fmt.Errorf("line %d: %w", line.Number, err)
		}
		all = append(all, members...)
	}
	return all, nil
}

// forward sends the message on, to all such addresses in one new message.
func (e *localExpansion) forward(a address.Address) {
	for i := range e.out {
		if t := &e.out[i]; t.Kind == LocalForward && t.Sender == e.sender {
			t.Forward = append(t.Forward, a.Internal())
			return
		}
	}
	e.add(LocalTarget{Kind: LocalForward, Forward: []string{a.Internal()}})
}

func (e *localExpansion) add(t LocalTarget) {
	t.DeliveredTo, t.Sender = e.recipient.Internal(), e.sender
	e.out = append(e.out, t)
}
