package route

import (
	"context"
	"errors"
	"iter"
	"strings"

	"postern/internal/address"
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
	// LookupID finds the first user with this number.
	LookupID(ctx context.Context, uid int) (User, bool, error)
}

// maxAliasDepth bounds aliases of local users that point at each other.
const maxAliasDepth = 100

// localExpansion is the state of one recipient of a local domain.
type localExpansion struct {
	r         *Router
	tr        *Trace
	recipient address.Address // of the message
	seen      map[string]bool // what was delivered to: names, commands, files
	expanding map[string]bool // aliases on the way here
	expanded  map[string]bool // aliases that are done with, by name and sender
	lists     map[string]listState
	out       []LocalTarget
}

// listState is that of an :include: or .forward file.
type listState uint8

const (
	listOpen listState = iota + 1 // on the way here
	listDone
)

// scope is where an expansion has come to. It is passed by value: what one
// member of a list changes counts for what it leads to, not for its neighbours.
type scope struct {
	addr      address.Address // the recipient, or the member that stands for it
	name      string          // its local part, folded
	user, ext string          // the name without its extension; the extension without delimiter
	delivered address.Address // for Delivered-To
	sender    string          // of owner-ALIAS; "" keeps the message's
	owner     string          // when set, users other than this one get a message of their own; those of an :include: always do
	unmatched string          // extension, with delimiter, that the key of the list left out
	from      string          // the alias or user whose list is at hand
	source    string          // kind of that list: "alias", "include", "forward"; "": none
	rights    User            // whose rights a command or file gets; UID 0: default_privs
	depth     int
}

// LocalTargets says what local(8) does for a recipient of a local domain:
// aliases(5) first, for the local part with and without its extension, then the
// user's .forward file, mailbox_transport, mailbox_command or the mailbox, then
// fallback_transport and luser_relay. The local part is folded to lower case.
//
// Members outside the local domains become forwarded messages, and so do other
// users that an :include: or .forward file names, or an alias with an owner. The
// rest is delivered to directly. A member of a list that cannot be delivered to
// is a target of the kind LocalBounce or LocalDefer; the other members are
// served all the same. An error is a *DeliveryError for the whole recipient.
func (r *Router) LocalTargets(ctx context.Context, a address.Address, tr *Trace) ([]LocalTarget, error) {
	e := &localExpansion{r: r, tr: tr, recipient: a, seen: map[string]bool{},
		expanding: map[string]bool{}, expanded: map[string]bool{}, lists: map[string]listState{}}
	if err := e.name(ctx, scope{delivered: a}, a, true); err != nil {
		return nil, err
	}
	return e.out, nil
}

// enter makes addr the recipient of the scope. An extension with a slash could
// lead astray a file name that is made of it: it does not count.
func (e *localExpansion) enter(s scope, addr address.Address) scope {
	s.addr, s.name = addr, address.Fold(addr.Local)
	base, ext, _ := e.r.delimiter.Split(s.name)
	if strings.Contains(ext, "/") {
		e.r.log.Warningf("%s: address with illegal extension", addr)
		s.name, ext = base, ""
	}
	s.user, s.ext, s.unmatched = base, ext, ""
	if ext != "" {
		s.ext = ext[1:]
	}
	return s
}

// name delivers to one local name; aliases = false is \name, its mailbox.
func (e *localExpansion) name(ctx context.Context, s scope, addr address.Address, aliases bool) error {
	s = e.enter(s, addr)
	if s.user == "" {
		return &DeliveryError{DSN: "5.1.3", Reason: `null username in "` + addr.Internal() + `"`}
	}
	if s.depth > maxAliasDepth || aliases && s.name != s.from && e.expanding[s.name] {
		return &DeliveryError{DSN: "5.4.6", Reason: "alias database loop for " + s.name}
	}
	if !aliases {
		return e.mailbox(ctx, s)
	}
	if done, err := e.alias(ctx, s); done || err != nil {
		return err
	}
	if s.source == "include" || s.owner != "" && !strings.EqualFold(s.owner, s.user) {
		e.forward(s, s.addr)
		return nil
	}
	if done, err := e.dotForward(ctx, s); done || err != nil {
		return err
	}
	return e.mailbox(ctx, s)
}

// alias replaces a name by its aliases(5) entry and reports whether it has one.
func (e *localExpansion) alias(ctx context.Context, s scope) (bool, error) {
	maps := e.r.maps["alias_maps"]
	if maps.Empty() {
		return false, nil
	}
	found, err := maps.Find(ctx, e.aliasKeys(s), e.tr.observer())
	if errors.Is(err, table.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		e.r.fail(s.name, "alias_maps", err)
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
	e.tr.add("expand", "alias_maps", s.name, found.Value, first(found.At))
	if s, err = e.ofAlias(ctx, s, maps, &found); err != nil {
		return false, err
	}
	if needRights(members) {
		if s.rights, err = e.aliasOwner(ctx, first(found.At)); err != nil {
			return false, err
		}
	}
	once := s.name + "\x00" + s.sender + "\x00" + s.owner
	if e.expanded[once] {
		return true, nil
	}
	e.expanding[s.name] = true
	e.members(ctx, s, members)
	delete(e.expanding, s.name)
	e.expanded[once] = true
	return true, nil
}

// aliasKeys are the names to look for: not the one whose list this comes from,
// for an alias that names itself is the user of that name.
func (e *localExpansion) aliasKeys(s scope) iter.Seq[table.Key] {
	return func(yield func(table.Key) bool) {
		for k := range table.AliasKeys(s.name, e.r.delimiter) {
			if k.Text != s.from && !yield(k) {
				return
			}
		}
	}
}

// ofAlias is the scope for the members of an alias: who is told of trouble, and
// which extension goes on.
func (e *localExpansion) ofAlias(ctx context.Context, s scope, maps *table.Maps, found *table.Found) (scope, error) {
	s.source, s.from, s.unmatched = "alias", found.Key.Text, ""
	s.depth++
	if e.r.p.propagate["alias"] {
		s.unmatched = found.Key.Extension
	}
	if !e.r.p.frozenDeliveredTo {
		s.delivered = s.addr
	}
	s.rights = User{}
	owner, ok, err := e.owner(ctx, maps, found.Key.Text)
	switch {
	case err != nil:
		return s, err
	case ok:
		s.sender = owner.Internal()
		s.owner = s.sender
	case e.r.p.resetOwnerAlias:
		s.owner = ""
	}
	return s, nil
}

// owner is owner-NAME, if that is an alias: the sender of what the alias NAME
// sends on.
func (e *localExpansion) owner(ctx context.Context, maps *table.Maps, name string) (address.Address, bool, error) {
	if !e.r.p.ownerRequestSpecial || strings.HasPrefix(name, "owner-") {
		return address.Address{}, false, nil
	}
	found, err := maps.Find(ctx, table.OnlyKey("owner-"+name), nil)
	if errors.Is(err, table.ErrNotFound) {
		return address.Address{}, false, nil
	}
	if err != nil {
		return address.Address{}, false, &DeliveryError{DSN: "4.3.0", Reason: "alias database unavailable", Temporary: true, Err: err}
	}
	owner := address.Address{Local: "owner-" + name}
	if e.r.p.expandOwnerAlias {
		if list, err := address.ParseList(found.Value); err == nil && len(list) == 1 {
			owner = list[0]
		}
	}
	return e.r.Rewrite(owner), true, nil
}

// members delivers to what a list names. One that fails does not keep the
// others from their mail.
func (e *localExpansion) members(ctx context.Context, s scope, list []address.Address) {
	for _, m := range list {
		if err := e.member(ctx, s, m); err != nil {
			e.spare(s, err)
		}
	}
}

// member handles one member of a list, see aliases(5).
func (e *localExpansion) member(ctx context.Context, s scope, a address.Address) error {
	m := a.Internal()
	switch {
	case len(m) >= len(includeWord) && strings.EqualFold(m[:len(includeWord)], includeWord):
		return e.include(ctx, s, m[len(includeWord):])
	case strings.HasPrefix(m, "|"):
		if !e.r.p.allowCommands[s.source] {
			return &DeliveryError{DSN: "5.7.1", Reason: "mail to command is restricted"}
		}
		return e.command(ctx, s, m[1:])
	case strings.HasPrefix(m, "/"), strings.HasPrefix(m, "~"):
		return e.file(ctx, s, m)
	case strings.HasPrefix(m, `\`):
		return e.name(ctx, s, e.r.Rewrite(address.Split(m[1:])), false)
	}
	a = e.r.Rewrite(a)
	a.Local += s.unmatched
	a, here, err := e.place(ctx, a)
	if err != nil {
		return err
	}
	if here {
		return ofMember(a, e.name(ctx, s, a, true))
	}
	e.forward(s, a)
	return nil
}

// spare makes a target of the failure of one member, so that the others get
// their mail.
func (e *localExpansion) spare(s scope, err error) {
	t := LocalTarget{Kind: LocalDefer, DSN: "4.3.0", Reason: err.Error()}
	var d *DeliveryError
	if errors.As(err, &d) {
		t.DSN, t.Reason = d.DSN, d.Reason
		if !d.Temporary {
			t.Kind = LocalBounce
		}
	}
	e.add(s, t)
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

// complete reads an address that a parameter names.
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

// forward sends the message on, to all such addresses in one new message.
func (e *localExpansion) forward(s scope, a address.Address) {
	to := a.Internal()
	for i := range e.out {
		if t := &e.out[i]; t.Kind == LocalForward && t.Sender == s.sender && t.DeliveredTo == s.delivered.Internal() {
			t.Forward = append(t.Forward, to)
			return
		}
	}
	e.add(s, LocalTarget{Kind: LocalForward, Forward: []string{to}})
}

func (e *localExpansion) add(s scope, t LocalTarget) {
	t.DeliveredTo, t.Sender, t.Recipient = s.delivered.Internal(), s.sender, s.addr.Internal()
	e.out = append(e.out, t)
}

// once reports whether this is the first delivery of its kind.
func (e *localExpansion) once(kind, what string) bool {
	key := kind + "\x00" + what
	if e.seen[key] {
		return false
	}
	e.seen[key] = true
	return true
}
