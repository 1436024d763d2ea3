package route

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"postern/internal/address"
)

// configurationError is what virtual(8) says while it cannot find out where a
// mailbox is.
func configurationError(err error) *DeliveryError {
	return &DeliveryError{DSN: "4.3.5", Reason: "mail system configuration error", Temporary: true, Err: err}
}

// VirtualMailbox finds the mailbox of a virtual recipient and its owner, as
// virtual(8) does: virtual_mailbox_maps, virtual_uid_maps, virtual_gid_maps,
// each in the default key order with the whole address in lower case. Errors
// are *DeliveryError: unknown user bounces, anything else waits.
func (r *Router) VirtualMailbox(ctx context.Context, a address.Address, tr *Trace) (Mailbox, error) {
	a = address.Address{Local: address.Fold(a.Local), Domain: address.Fold(a.Domain)}
	found, ok, err := r.lookup(ctx, deliveryMaps, a, tr)
	if err != nil {
		return Mailbox{}, configurationError(err)
	}
	if !ok {
		return Mailbox{}, &DeliveryError{DSN: "5.1.1", Reason: fmt.Sprintf("unknown user: %q", a.Internal())}
	}
	base := r.p.mailboxBase
	if !filepath.IsAbs(base) {
		err := fmt.Errorf("virtual_mailbox_base = %q: need an absolute path", base)
		r.warn(tr, err)
		return Mailbox{}, configurationError(err)
	}
	box := Mailbox{Base: filepath.Clean(base), Path: filepath.Join(base, found.Value)}
	if inside := strings.TrimSuffix(box.Base, "/") + "/"; !strings.HasPrefix(box.Path, inside) {
		err := fmt.Errorf("%v: mailbox %q of %s leaves virtual_mailbox_base", first(found.At), found.Value, a)
		r.warn(tr, err)
		return Mailbox{}, configurationError(err)
	}
	box.Format = r.format(found.Value, box.Path)
	if box.UID, err = r.ownerID(ctx, "virtual_uid_maps", "uid", r.p.minimumUID, a, tr); err != nil {
		return Mailbox{}, err
	}
	if box.GID, err = r.ownerID(ctx, "virtual_gid_maps", "gid", 1, a, tr); err != nil {
		return Mailbox{}, err
	}
	tr.add("deliver", "virtual_mailbox_maps", a.Internal(), box.Display(), first(found.At))
	return box, nil
}

// warn logs why mail waits. Who traces a decision is told by the error alone, and may
// ask for mailboxes of which virtual(8) never hears.
func (r *Router) warn(tr *Trace, err error) {
	if tr == nil {
		r.log.Warningf("%v", err)
	}
}

// Display is the path as explain shows it, with the final slash of a Maildir.
func (b Mailbox) Display() string {
	if b.Format == Maildir {
		return b.Path + "/"
	}
	return b.Path
}

// format tells a Maildir from an mbox file. Postfix looks at the final slash
// alone; with virtual_mailbox_format = auto a last element "Maildir", or a
// directory that is a Maildir already, is one too.
func (r *Router) format(value, path string) Format {
	switch {
	case strings.HasSuffix(value, "/"):
		return Maildir
	case !r.p.formatAuto:
		return Mbox
	case filepath.Base(path) == "Maildir" || r.isMaildir(path):
		return Maildir
	}
	return Mbox
}

// isMaildir looks with the rights of this process.
func isMaildir(path string) bool {
	for _, sub := range []string{"new", "cur", "tmp"} {
		if st, err := os.Stat(filepath.Join(path, sub)); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

// ownerID reads a numeric owner from a table: the digits that the text begins
// with. Without any it counts as 0, which is below every minimum.
func (r *Router) ownerID(ctx context.Context, parameter, what string, minimum int, a address.Address, tr *Trace) (int, error) {
	found, ok, err := r.lookup(ctx, parameter, a, tr)
	if err != nil {
		return 0, configurationError(err)
	}
	if !ok {
		err := fmt.Errorf("recipient %s: not found in %s", a, parameter)
		r.warn(tr, err)
		return 0, configurationError(err)
	}
	digits := strings.TrimSpace(found.Value)
	if i := strings.IndexFunc(digits, func(c rune) bool { return c < '0' || c > '9' }); i >= 0 {
		digits = digits[:i]
	}
	id, err := strconv.Atoi(digits)
	if err != nil || id < minimum || id > 1<<31-1 {
		err := fmt.Errorf("recipient %s: bad %s %s in %s", a, what, found.Value, parameter)
		r.warn(tr, err)
		return 0, configurationError(err)
	}
	return id, nil
}
