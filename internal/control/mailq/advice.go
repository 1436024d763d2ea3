package mailq

import "strings"

// advice says what to do about a message that is still here; "" when there is
// nothing to do but wait.
func (w *Why) advice() string {
	id := w.Entry.ID
	switch {
	case w.Entry.Error != "":
		return "The text or its envelope is damaged: see quarantine/ in the spool and the log; postern queue delete " + id + " removes it."
	case w.Entry.State == "hold":
		return "postern queue release " + id + " has it delivered, postern queue delete " + id + " removes it."
	case w.Entry.State == "active" || w.Entry.State == "incoming":
		return ""
	case w.Entry.Expired:
		return "It goes back to its sender with the next try."
	}
	if w.Reason == "" {
		return ""
	}
	return w.remedy() + " When that is done: postern queue retry " + id + "; to give up: postern queue bounce " + id + "."
}

// remedies are what to look at for the reasons that are met most, by a part of
// the reason in lower case. The first one that fits counts.
var remedies = []struct{ part, text string }{
	{"connection refused", "Nothing listens at the other end: see whether the server at {hop} runs, and whether its port is right."},
	{"no route to host", "This machine has no way to {hop}: see its network and routes."},
	{"network is unreachable", "This machine has no way to {hop}: see its network, and inet_protocols if only IPv6 fails."},
	{"timed out", "{hop} does not answer: a firewall (outgoing port 25 is often closed), or the server is down."},
	{"no such file or directory", "The socket of {hop} is not there: see whether that server runs, and the path in the transport."},
	{"host or domain name not found", "The name cannot be found: see the domain's MX and address records, and the resolver of this machine."},
	{"name service error", "The name servers do not answer for the domain: see the resolver of this machine."},
	{"mailbox full", "The mailbox is full: its owner has to make room."},
	{"over quota", "The mailbox is full: its owner has to make room, or the quota be raised."},
	{"quota exceeded", "The mailbox is full: its owner has to make room, or the quota be raised."},
	{"greylist", "The other server asks for a second try, which comes by itself."},
	{"mail transport unavailable", "master.cf has no service that delivers there: see transport_maps and master.cf."},
	{"tls", "The encryption that is wanted cannot be had with {hop}: see smtp_tls_security_level and smtp_tls_policy_maps."},
	{"address resolver failure", "A lookup table fails: the log says which one."},
	{"permission denied", "The mailbox or its folder belongs to another user: see virtual_uid_maps and the owner of the files."},
	{"no space left", "The disk is full."},
}

func (w *Why) remedy() string {
	hop := w.NextHop
	if hop == "" {
		hop = "the destination"
	}
	reason := strings.ToLower(w.Reason)
	for _, r := range remedies {
		if strings.Contains(reason, r.part) {
			return strings.ReplaceAll(r.text, "{hop}", hop)
		}
	}
	if strings.Contains(reason, " said: ") {
		return "The other server says what it wants; its administrator can tell more."
	}
	return "The log says more about each try."
}
