package helper

import (
	"errors"
	"fmt"

	"postern/internal/route"
)

// Steps of a reload, as askRefresh names them. The server finds out whether a
// configuration is good while it opens what is in it, and what is under way is
// judged by the old one until then.
const (
	refreshPrepare = iota // read the configuration, beside the one in force
	refreshCommit         // put it in force
	refreshAbort          // forget it
)

// refresh is a step of a reload. After an error the policy in force is the one
// before, and there is no other.
func (h *Helper) refresh(step uint64) error {
	next := h.next.Load()
	h.next.Store(nil)
	switch {
	case step == refreshPrepare:
		p, err := h.o.Policy()
		if err != nil {
			return err
		}
		if old := h.policy.Load().Owner.UID; p.Owner.UID != old {
			return fmt.Errorf("mail_owner has changed from uid %d to uid %d: restart the server", old, p.Owner.UID)
		}
		h.next.Store(p)
	case step == refreshCommit && next == nil:
		return errors.New("there is no configuration to put in force")
	case step == refreshCommit:
		h.policy.Store(next)
	}
	return nil
}

// eachPolicy calls f with the policy in force, and when that one refuses with the
// one of a reload under way.
func (h *Helper) eachPolicy(f func(*Policy) error) error {
	err := f(h.policy.Load())
	if next := h.next.Load(); next != nil && errors.Is(err, ErrRefused) {
		return f(next)
	}
	return err
}

// mayLend asks the policy.
func (h *Helper) mayLend(box *route.Mailbox, gid int) bool { return h.policy.Load().mayLend(box, gid) }
