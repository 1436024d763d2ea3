package mailboxes

import (
	"context"
	"path/filepath"
	"slices"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/route"
	"postern/internal/table"
)

// files looks at all mailboxes that virtual(8) would write.
func (x *examination) files(ctx context.Context) []finding.Finding {
	f := x.newFiles(ctx)
	f.all = true
	f.domains(ctx)
	if !f.used {
		return nil
	}
	diverted := false // there are rows, and virtual(8) has none of them
	rows(ctx, x.i, func(r row) {
		f.look(ctx, r)
		diverted = f.boxes == 0
	})
	for _, t := range x.i.Of(ctx, "virtual_mailbox_maps") {
		for _, rule := range t.Rules {
			if substitutes(rule.Result) {
				continue // it is left out, which is said of it
			}
			f.paths.rule(row{key: rule.Pattern, value: rule.Result, from: &table.Entry{Places: table.Place(rule.At)}, spec: t.Spec})
		}
	}
	if !diverted || !x.allListed(ctx) {
		f.base()
	}
	return append(f.findings(), f.rules(ctx, func(table.Rule) bool { return true })...)
}

// allListed reports whether every mailbox has a row that can be seen.
func (x *examination) allListed(ctx context.Context) bool {
	return !slices.ContainsFunc(x.i.Of(ctx, "virtual_mailbox_maps"), func(t *inventory.Table) bool { return t.Pattern || !t.Complete })
}

// fileOf looks at the mailboxes of one explained address.
func (x *examination) fileOf(ctx context.Context, e *explain.Explanation) []finding.Finding {
	f := x.newFiles(ctx)
	wanted := map[string]bool{}
	for _, r := range e.Recipients {
		if x.services[r.Transport] == "virtual" {
			f.used = true
			f.single(ctx, address.Split(r.Address), wanted)
		}
	}
	if !f.used {
		return nil
	}
	f.others(ctx, wanted)
	return append(f.findings(), f.rulesOf(ctx, e)...)
}

// files are the mailboxes of one examination.
type files struct {
	x       *examination
	router  *route.Router
	places  *places
	dir     string // virtual_mailbox_base
	used    bool   // virtual(8) delivers for some domain
	all     bool   // every row is looked at
	boxes   int
	paths   *paths
	judge   *judge
	owners  owners
	blocked blocked
}

func (x *examination) newFiles(ctx context.Context) *files {
	s := x.i.Setup.Settings
	f := &files{x: x, router: x.router, places: newPlaces(x.router), dir: s.String("virtual_mailbox_base")}
	f.paths = newPaths(f.dir, s.String("virtual_mailbox_format") == "auto", x.name)
	f.paths.gone = func(a address.Address) bool { return x.elsewhere(ctx, a) }
	f.judge = newJudge(s.Bool("strict_mailbox_ownership"))
	f.owners = owners{files: f, groups: map[string]*ownerFault{}}
	f.blocked = blocked{files: f, groups: map[string]*block{}}
	return f
}

// name is an address without its extension.
func (x *examination) name(a address.Address) address.Address {
	a.Local, _ = x.router.Extension(a.Local)
	return a
}

// elsewhere reports an address whose aliases lead to others and not to itself. One
// that cannot be expanded stays where it is.
func (x *examination) elsewhere(ctx context.Context, a address.Address) bool {
	list, err := x.router.Expand(ctx, []route.Recipient{{Address: a}}, nil)
	return err == nil && !slices.ContainsFunc(list, func(r route.Recipient) bool { return r.Address.Equal(a) })
}

// domains looks whether virtual(8) delivers at all.
func (f *files) domains(ctx context.Context) {
	for _, d := range f.x.i.Domains(ctx) {
		if d.Class == route.VirtualMailbox && f.virtual(ctx, address.Address{Local: anyone, Domain: d.Name}) {
			f.used = true
			return
		}
	}
	rows(ctx, f.x.i, func(r row) { f.used = f.used || f.virtual(ctx, r.addr) })
}

// virtual reports whether virtual(8) delivers mail for an address.
func (f *files) virtual(ctx context.Context, a address.Address) bool {
	res := f.places.of(ctx, a)
	return res != nil && f.x.services[res.Transport] == "virtual"
}

// look judges one row.
func (f *files) look(ctx context.Context, r row) {
	if !f.virtual(ctx, r.addr) {
		return
	}
	f.boxes++
	if !filepath.IsAbs(f.dir) || !f.paths.look(r) || f.all && !f.paths.alone(r) {
		return
	}
	box, err := f.x.verdicts.VirtualMailbox(ctx, r.addr, nil)
	if err != nil {
		f.owners.look(ctx, r)
		return
	}
	if o := f.judge.mailbox(&box); o != nil {
		f.blocked.add(o, &box, r)
	}
}

// single judges the mailbox of one address.
func (f *files) single(ctx context.Context, a address.Address, wanted map[string]bool) {
	s := mailboxRow(ctx, f.router, a)
	if s == nil {
		return
	}
	f.look(ctx, row{addr: a, key: address.Fold(a.Internal()), value: *s.Result, from: entryOf(s), spec: s.Table, all: s.Key[0] == '@'})
	wanted[filepath.Join("/", *s.Result)] = true
}

// others looks whether the paths of the wanted mailboxes are those of other users.
func (f *files) others(ctx context.Context, wanted map[string]bool) {
	rows(ctx, f.x.i, func(r row) {
		if wanted[filepath.Join("/", r.value)] && f.virtual(ctx, r.addr) && flawOf(r.value, f.dir) == sound {
			f.paths.alone(r)
		}
	})
}

// base looks at virtual_mailbox_base where no mailbox is listed.
func (f *files) base() {
	if f.boxes > 0 || !filepath.IsAbs(f.dir) {
		return
	}
	f.owners.unset(row{})
	if b := f.judge.base(filepath.Clean(f.dir)); b.gone {
		f.blocked.add(&obstacle{baseMissing, f.dir, b.way}, &route.Mailbox{Base: f.dir}, row{})
	}
}

func (f *files) findings() []finding.Finding {
	list := f.paths.findings()
	list = append(list, f.owners.findings()...)
	list = append(list, f.blocked.findings()...)
	return append(list, f.full()...)
}

// full looks at the space below virtual_mailbox_base.
func (f *files) full() []finding.Finding {
	why := space(f.dir)
	if !filepath.IsAbs(f.dir) || why == "" {
		return nil
	}
	return []finding.Finding{{
		Code: "VD402", Severity: finding.Error, At: f.at(),
		Message: "the file system of virtual_mailbox_base " + f.dir + " " + why + ": no mailbox can be written",
		Fix:     "make room there, or mount it for writing: df -h " + f.dir + "; df -i " + f.dir,
	}}
}
