package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"postern/internal/address"
	"postern/internal/smtp"
	"postern/internal/table"
)

// Recipient is a recipient before or after expansion.
type Recipient struct {
	Address  address.Address
	Original string // internal form as given by the client; "" when unknown
	ORCPT    string // RFC 3461, 4.2; "" when not given
	Notify   uint8  // as spool.Notify
	// Expanded: it took the place of a recipient that asked for a report of
	// success. That one's report is "expanded"; of this one none is due.
	Expanded bool
	Via      []string // with a trace: the addresses it came through, given one first
}

// ExpansionError says why the recipients of a message could not be worked out.
// The whole message is refused for now (451): nothing of it was accepted.
type ExpansionError struct {
	Address string // the recipient that was being expanded, internal form
	Text    string // for the log
	Reply   smtp.Reply
	Err     error // the table failure behind it; nil for a limit
}

func (e *ExpansionError) Error() string { return e.Text }

func (e *ExpansionError) Unwrap() error { return e.Err }

// Bits of Recipient.Notify, as in spool.Notify.
const (
	notifyNever   = 1
	notifySuccess = 2
)

// expansion is the state of one message.
type expansion struct {
	r    *Router
	tr   *Trace
	out  []Recipient
	seen map[string]struct{}
}

// Expand turns the recipients of a message into the final ones: rewriting,
// canonical mapping, virtual aliases, duplicates left out (cleanup(8)). Virtual
// aliases apply to every class. Nobody gets a copy: that is how notifications
// and mail that a local alias sends on are treated. An error is an
// *ExpansionError and concerns the whole message.
func (r *Router) Expand(ctx context.Context, given []Recipient, tr *Trace) ([]Recipient, error) {
	e := &expansion{r: r, tr: tr}
	for _, g := range given {
		if _, err := e.one(ctx, g); err != nil {
			return nil, err
		}
	}
	return e.out, nil
}

// Complete is Expand without any mapping (receive_override_options =
// no_address_mappings): addresses are completed and duplicates left out.
func (r *Router) Complete(given []Recipient) []Recipient {
	e := &expansion{r: r}
	for _, g := range given {
		g.Address = e.complete(g.Address)
		e.emit(g.withORCPT())
	}
	return e.out
}

// ExpandWithSender is Expand for mail from outside: it adds the copies that
// recipient_bcc_maps, always_bcc and sender_bcc_maps ask for. sender is the
// mapped envelope sender.
func (r *Router) ExpandWithSender(ctx context.Context, sender address.Address, given []Recipient, tr *Trace) ([]Recipient, error) {
	e := &expansion{r: r, tr: tr}
	for _, g := range given {
		canonical, err := e.one(ctx, g)
		if err != nil {
			return nil, err
		}
		if err := e.bcc(ctx, "recipient_bcc_maps", canonical); err != nil {
			return nil, err
		}
	}
	if r.p.alwaysBcc != "" {
		if err := e.copyTo(ctx, r.p.alwaysBcc); err != nil {
			return nil, err
		}
	}
	if !sender.IsNull() {
		if err := e.bcc(ctx, "sender_bcc_maps", sender); err != nil {
			return nil, err
		}
	}
	return e.out, nil
}

// bcc adds the copy that a bcc table names for an address.
func (e *expansion) bcc(ctx context.Context, parameter string, a address.Address) error {
	found, ok, err := e.r.lookup(ctx, parameter, a, e.tr)
	if err != nil {
		return tableExpansion(a, parameter, err)
	}
	if !ok {
		return nil
	}
	return e.copyTo(ctx, found.Value)
}

// copyTo adds a copy for one address, in internal form. It is its own original
// recipient, as it is after canonical mapping.
func (e *expansion) copyTo(ctx context.Context, text string) error {
	to, err := e.r.canonicalRecipient(ctx, e.complete(address.Split(text)), e.tr)
	if err != nil {
		return err
	}
	_, err = e.aliases(ctx, Recipient{Address: to, Original: to.Internal(), Notify: notifyNever})
	return err
}

// one expands a single recipient and returns it as it is after canonical
// mapping.
func (e *expansion) one(ctx context.Context, g Recipient) (address.Address, error) {
	a, err := e.r.canonicalRecipient(ctx, e.complete(g.Address), e.tr)
	if err != nil {
		return a, err
	}
	g.Address = a
	return e.aliases(ctx, g)
}

// aliases expands what is canonical already.
func (e *expansion) aliases(ctx context.Context, g Recipient) (address.Address, error) {
	a := g.Address
	g = g.withORCPT()
	finals, vias, err := e.r.virtual(ctx, a, e.tr)
	if err != nil {
		return a, err
	}
	for i, f := range finals {
		out := Recipient{Address: f, Original: g.Original, ORCPT: g.ORCPT, Notify: g.Notify}
		if g.Notify&notifySuccess != 0 && (len(finals) > 1 || !f.Equal(a)) {
			out.Expanded, out.Notify = true, cmp.Or(g.Notify&^notifySuccess, notifyNever)
		}
		if vias != nil {
			out.Via = vias[i]
		}
		e.emit(out)
	}
	return a, nil
}

// complete rewrites an address; the null address becomes
// empty_address_recipient.
func (e *expansion) complete(a address.Address) address.Address {
	if a.IsNull() {
		a = address.Split(e.r.p.emptyAddressRecipient)
	}
	return e.r.Rewrite(a)
}

// withORCPT fills in the original recipient of notifications (RFC 3461, 4.2)
// when the client gave none: the address as it is here, complete and canonical.
func (g Recipient) withORCPT() Recipient {
	if g.ORCPT == "" {
		g.ORCPT = "rfc822;" + g.Address.String()
	}
	return g
}

// emit adds a final recipient unless it is a duplicate. Two ways to one mailbox
// count as two recipients while enable_original_recipient is on.
func (e *expansion) emit(out Recipient) {
	key := address.Fold(out.Address.Internal())
	if e.r.p.enableOriginalRecipient {
		key += "\x00" + address.Fold(out.Original) + "\x00" + address.Fold(out.ORCPT) + string(rune('0'+out.Notify))
	}
	if _, dup := e.seen[key]; dup {
		return
	}
	if limit := e.r.p.duplicateLimit; limit == 0 || len(e.seen) < limit {
		if e.seen == nil {
			e.seen = map[string]struct{}{}
		}
		e.seen[key] = struct{}{}
	}
	e.out = append(e.out, out)
}

// virtual expands virtual aliases (cleanup(8), virtual(5)). Every entry of the
// list is replaced by the first address of its alias, the others are appended,
// until no entry has an alias. An alias that lists itself is final.
func (r *Router) virtual(ctx context.Context, a address.Address, tr *Trace) ([]address.Address, [][]string, error) {
	list := []address.Address{a}
	var vias [][]string
	if tr != nil {
		vias = [][]string{nil}
	}
	if r.maps["virtual_alias_maps"].Empty() {
		return list, vias, nil
	}
	tr.deeper()
	defer tr.higher()
	var self map[string]bool
	limit := func(text string) error {
		return &ExpansionError{Address: a.Internal(), Text: text + " -- message not accepted, try again later",
			Reply: smtp.R(451, "4.6.0", "Alias expansion error")}
	}
	for i := 0; i < len(list); i++ {
		if len(list) > r.p.expansionLimit {
			return nil, nil, limit("unreasonable virtual_alias_maps map expansion size for " + a.String())
		}
		for n := 0; ; n++ {
			entry := list[i]
			if self[address.Fold(entry.Internal())] {
				break
			}
			if n >= r.p.recursionLimit {
				return nil, nil, limit("unreasonable virtual_alias_maps map nesting for " + a.String())
			}
			found, ok, err := r.lookupAlias(ctx, entry, tr)
			if err != nil {
				return nil, nil, tableExpansion(a, "virtual_alias_maps", err)
			}
			if !ok {
				break
			}
			to, err := r.targets(entry, found, r.p.propagate["virtual"])
			if err != nil {
				return nil, nil, tableExpansion(a, "virtual_alias_maps", err)
			}
			if tr != nil { // also of a result that is refused
				tr.add("expand", "virtual_alias_maps", entry.Internal(), join(to), first(found.At))
			}
			for _, t := range to {
				if len(t.Internal()) > r.p.addressLengthLimit {
					return nil, nil, limit("unreasonable virtual_alias_maps result " + t.Internal()[:min(300, len(t.Internal()))] + "...")
				}
				if t.Equal(entry) {
					if self == nil {
						self = map[string]bool{}
					}
					self[address.Fold(entry.Internal())] = true
				}
			}
			list[i] = to[0]
			list = append(list, to[1:]...)
			if tr != nil {
				via := append(vias[i][:len(vias[i]):len(vias[i])], entry.Internal())
				vias[i] = via
				for range to[1:] {
					vias = append(vias, via)
				}
			}
		}
	}
	return list, vias, nil
}

func join(list []address.Address) string {
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.Internal())
	}
	return b.String()
}

// targets reads the result of an address-to-address table: the addresses,
// completed, with an unmatched extension carried over.
func (r *Router) targets(asked address.Address, found table.Found, propagate bool) ([]address.Address, error) {
	ext := found.Key.Extension
	list, err := address.ParseList(found.Value)
	if strings.HasPrefix(found.Value, "@") { // "@other": same user there
		list, err = []address.Address{address.Split(strings.TrimSuffix(asked.Local, ext) + found.Value)}, nil
	}
	if err != nil || len(list) == 0 {
		return nil, fmt.Errorf("lookup of %s returns non-address result %q", asked, found.Value)
	}
	for i, t := range list {
		t = r.Rewrite(t)
		if ext != "" && propagate && !t.IsNull() {
			t.Local += ext
		}
		list[i] = t
	}
	return list, nil
}

func tableExpansion(a address.Address, parameter string, err error) error {
	return &ExpansionError{Address: a.Internal(),
		Text:  parameter + " map lookup problem for " + a.String() + " -- message not accepted, try again later",
		Reply: smtp.R(451, "4.3.0", "Error: queue file write error"), Err: err}
}

// lookupExternal asks an address-to-address table: its keys are external forms
// only. That of the null address is "".
func (r *Router) lookupExternal(ctx context.Context, parameter string, a address.Address, tr *Trace) (table.Found, bool, error) {
	m := r.maps[parameter]
	if m.Empty() {
		return table.Found{}, false, nil
	}
	keys := table.AddressKeys(a, r.delimiter, r.bare(ctx, a.Domain), table.ExternalOnly)
	if a.IsNull() {
		keys = table.OnlyKey(`""`)
	}
	return r.find(ctx, m, a, keys, tr)
}

// lookupAlias asks virtual_alias_maps. With virtual_mailbox_overrides_catchall
// a mailbox that exists is spared by "@domain".
func (r *Router) lookupAlias(ctx context.Context, a address.Address, tr *Trace) (table.Found, bool, error) {
	m := r.maps["virtual_alias_maps"]
	if m.Empty() {
		return table.Found{}, false, nil
	}
	keys := table.AddressKeys(a, r.delimiter, r.bare(ctx, a.Domain), table.ExternalOnly)
	if r.p.overridesCatchall && !r.maps["virtual_mailbox_maps"].Empty() {
		keys = r.sparing(ctx, a, keys, tr)
	}
	return r.find(ctx, m, a, keys, tr)
}

// sparing ends the keys before "@domain" when the address is a mailbox of its
// own in a virtual mailbox domain.
func (r *Router) sparing(ctx context.Context, a address.Address, keys iter.Seq[table.Key], tr *Trace) iter.Seq[table.Key] {
	return func(yield func(table.Key) bool) {
		for k := range keys {
			if k.Kind == table.CatchAll {
				exists, err := r.hasMailbox(ctx, a, tr)
				if err != nil {
					k.Err = err
				} else if exists {
					return
				}
			}
			if !yield(k) {
				return
			}
		}
	}
}

// hasMailbox reports whether virtual_mailbox_maps has the address itself, with
// or without its extension; its "@domain" row does not count.
func (r *Router) hasMailbox(ctx context.Context, a address.Address, tr *Trace) (bool, error) {
	class, _, err := r.Classify(ctx, a.Domain, nil)
	if err != nil || class != VirtualMailbox {
		return false, err
	}
	m := r.maps["virtual_mailbox_maps"]
	own := func(yield func(table.Key) bool) {
		for k := range table.AddressKeys(a, r.delimiter, r.bare(ctx, a.Domain), table.ExternalFirst) {
			if k.Kind == table.CatchAll || !yield(k) {
				return
			}
		}
	}
	_, ok, err := r.find(ctx, m, a, own, tr)
	return ok, err
}

// find turns the three answers of a table into found, not found and *Failure.
func (r *Router) find(ctx context.Context, m *table.Maps, a address.Address, keys iter.Seq[table.Key], tr *Trace) (table.Found, bool, error) {
	found, err := m.Find(ctx, keys, tr.observer())
	var f *Failure
	switch {
	case err == nil:
		return found, true, nil
	case errors.Is(err, table.ErrNotFound):
		return table.Found{}, false, nil
	case errors.As(err, &f):
		return table.Found{}, false, f
	}
	return table.Found{}, false, r.fail(a.Internal(), m.Parameter, err)
}
