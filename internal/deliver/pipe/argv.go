package pipe

import (
	"strconv"

	"postern/internal/address"
	"postern/internal/deliver"
	"postern/internal/macro"
)

// macroNames are the names that arguments may use; true for those that differ
// from recipient to recipient.
var macroNames = map[string]bool{
	"recipient": true, "user": true, "extension": true, "mailbox": true, "domain": true, "original_recipient": true,
	"sender": false, "nexthop": false, "size": false, "queue_id": false, "envid": false,
	"client_address": false, "client_hostname": false, "client_helo": false, "client_port": false, "client_protocol": false,
	"sasl_method": false, "sasl_sender": false, "sasl_username": false,
}

// macros are the values that all recipients share.
func (a *Agent) macros(r *deliver.Request) map[string]string {
	t := &a.o.Attributes
	sender := t.sender(r.Message.Envelope.Sender)
	if sender != "" && t.has('q') {
		sender = address.Split(sender).String()
	}
	next := r.NextHop
	if t.has('h') {
		next = address.Fold(next)
	}
	return map[string]string{
		"sender": sender, "nexthop": next, "size": strconv.FormatInt(r.Message.Size, 10),
		"queue_id": r.Message.ID, "envid": r.Message.Envelope.EnvID,
	}
}

// expand replaces the macros of the arguments. The values of one recipient are
// put into shared, which is used up.
func (t *Attributes) expand(shared map[string]string, recipients []deliver.Recipient, d address.Delimiter) []string {
	var argv []string
	for _, arg := range t.Argv {
		repeated, named := false, false
		value := func(name string, _ bool) (string, bool) {
			repeated = repeated || macroNames[name]
			named = named || name == "user"
			return shared[name], true
		}
		once, _, _ := macro.Expand(arg, value) // Parse has tried it
		if !repeated {
			argv = append(argv, once)
			continue
		}
		for i := range recipients {
			t.describe(shared, &recipients[i], d)
			if one, _, _ := macro.Expand(arg, value); !named || shared["user"] != "" {
				argv = append(argv, one)
			}
		}
	}
	return argv
}

// describe puts the values of a recipient into the macros.
func (t *Attributes) describe(values map[string]string, to *deliver.Recipient, d address.Delimiter) {
	plain := t.fold(address.Split(to.Address))
	base, ext, _ := d.Split(plain.Local)
	values["user"], values["mailbox"], values["domain"] = base, plain.Local, plain.Domain
	values["extension"] = ext[min(1, len(ext)):] // without the delimiter
	values["recipient"] = t.quote(plain)
	values["original_recipient"] = t.quote(t.fold(address.Split(to.Original)))
}

// fold applies the flags h and u.
func (t *Attributes) fold(a address.Address) address.Address {
	if t.has('u') {
		a.Local = address.Fold(a.Local)
	}
	if t.has('h') {
		a.Domain = address.Fold(a.Domain)
	}
	return a
}

// quote applies the flag q.
func (t *Attributes) quote(a address.Address) string {
	if t.has('q') {
		return a.String()
	}
	return a.Internal()
}
