package mailboxes

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
)

// blocked gathers mailboxes that cannot be written, one finding for each obstacle
// and owner; where there are many, those of a kind share one.
type blocked struct {
	*files
	order  []*block
	groups map[string]*block
}

// block is an obstacle, and the mailboxes behind it.
type block struct {
	obstacle
	box   route.Mailbox // the first
	first row
	count int
	at    []origin.At // rows
}

func (b *blocked) add(o *obstacle, box *route.Mailbox, r row) {
	key := fmt.Sprint(o.why, box.UID, box.GID, o.path)
	if o.why == baseMissing {
		key = o.path
	}
	if b.groups[key] == nil && len(b.order) >= finding.MaxPlaces {
		key = fmt.Sprint("more", o.why)
	}
	g := b.groups[key]
	if g == nil {
		g = &block{obstacle: *o, box: *box, first: r}
		b.groups[key] = g
		b.order = append(b.order, g)
	}
	g.count++
	if r.from != nil {
		g.at = withPlace(g.at, r.from.At())
	}
}

func (b *blocked) findings() []finding.Finding {
	var list []finding.Finding
	for _, g := range b.order {
		f := finding.Finding{Code: "VD402", Severity: finding.Error, At: b.places(g)}
		f.Message, f.Fix = b.say(g)
		list = append(list, f)
	}
	return list
}

// places are the rows, behind the parameters when the base itself is the obstacle or
// what is above it.
func (b *blocked) places(g *block) []origin.At {
	below := strings.HasPrefix(g.path, strings.TrimSuffix(b.judge.base(g.box.Base).dir, "/")+"/") && g.why != baseMissing
	if below && len(g.at) > 0 {
		return withPlace(g.at, b.at()...)
	}
	return withPlace(b.at(), g.at...)
}

func (b *blocked) say(g *block) (message, fix string) {
	whose := "mailboxes"
	if g.first.key != "" {
		whose = users(g.first, g.count)
	}
	owner := fmt.Sprintf("%s:%s", userName(g.box.UID), groupName(g.box.GID))
	if g.box.UID == 0 { // nobody is known
		owner = "vmail:vmail"
	}
	who := fmt.Sprintf("%s and %s, of %s,", numbered("uid", g.box.UID, userName), numbered("gid", g.box.GID, groupName), b.source())
	end := fmt.Sprintf(": mail for %s waits; the way is %s", whose, g.way.String())
	switch g.why {
	case baseMissing:
		if target, err := os.Readlink(g.path); err == nil {
			return fmt.Sprintf("virtual_mailbox_base %s is a symbolic link to %s, which does not exist: mail for %s waits; there is %s", g.path, target, whose, g.way.String()),
				"mount or make " + target + ", or point the link at the directory of the mailboxes"
		}
		return fmt.Sprintf("virtual_mailbox_base %s does not exist: mail for %s waits; there is %s", g.path, whose, g.way.String()),
			fmt.Sprintf("mount it, or: mkdir -p %s && chown %s %[1]s", g.path, owner)
	case noSearch:
		return fmt.Sprintf("%s may not enter %s%s", who, g.path, end), b.enter(g, owner)
	case noWrite:
		return fmt.Sprintf("%s may not write to %s%s", who, g.path, end), fmt.Sprintf("chown %s %s && chmod u+rwx %[2]s", owner, g.path)
	case notDirectory:
		return fmt.Sprintf("%s is a file where a directory is needed%s", g.path, end),
			fmt.Sprintf("move the file %s away", g.path)
	case notOwner:
		return fmt.Sprintf("%s does not belong to %s, whose mailbox it is, as strict_mailbox_ownership wants%s", g.path, numbered("uid", g.box.UID, userName), end),
			fmt.Sprintf("chown %s %s", owner, g.path)
	case leavesBase:
		return fmt.Sprintf("the symbolic link %s leaves virtual_mailbox_base %s, or is absolute: Postern does not store mail behind it, Postfix would%s", g.path, g.box.Base, end),
			"make it a relative link that stays below virtual_mailbox_base, or a mount (mount --bind)"
	}
	return fmt.Sprintf("%s does not exist: nobody makes directories for an mbox file%s", g.path, end),
		fmt.Sprintf("mkdir -p %s && chown %s %[1]s", g.path, owner)
}

// enter is the cure of a directory that may not be entered.
func (b *blocked) enter(g *block, owner string) string {
	if b.judge.base(g.box.Base).dir == g.path || strings.HasPrefix(g.path, g.box.Base) {
		return fmt.Sprintf("chown %s %s", owner, g.path)
	}
	return "chmod a+x " + g.path
}

// source says where the numbers of the owner come from.
func (b *blocked) source() string {
	s := b.x.i.Setup.Settings
	return fmt.Sprintf("virtual_uid_maps = %s and virtual_gid_maps = %s", s.String(ownerMaps[0]), s.String(ownerMaps[1]))
}

// numbered is "uid 5000 (vmail)", or without the name where there is none.
func numbered(what string, id int, name func(int) string) string {
	number := strconv.Itoa(id)
	if known := name(id); known != number {
		return what + " " + number + " (" + known + ")"
	}
	return what + " " + number
}
