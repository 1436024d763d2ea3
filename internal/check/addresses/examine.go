package addresses

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
)

// examineRows looks at the rows of tables as such.
func (g *graph) examineRows(ctx context.Context) {
	g.examineNowhere(ctx)
	g.examineUnaskable(ctx)
	g.examineOrder(ctx)
	g.examineOrphans(ctx)
}

// batch is how many addresses a worker takes at a time.
const batch = 256

// examineAddresses follows every address that rows name, on all processors.
func (g *graph) examineAddresses(ctx context.Context) {
	work := make(chan []inventory.Address, 1)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for list := range work {
				for _, a := range list {
					if ctx.Err() == nil {
						g.examineAddress(ctx, a)
					}
				}
			}
		})
	}
	var list []inventory.Address
	for a := range g.list.Addresses(ctx) {
		if list = append(list, a); len(list) == batch {
			work <- list
			list = make([]inventory.Address, 0, batch)
		}
	}
	work <- list
	close(work)
	workers.Wait()
	g.examineRules(ctx)
	g.examineCopies(ctx)
}

// examineAddress follows one address. Most are sound, and seen to be so without the
// story of their ways.
func (g *graph) examineAddress(ctx context.Context, one inventory.Address) {
	a := address.Split(one.Text)
	if s := g.stranger(ctx, a.Domain); s.caught {
		g.judgeMailbox(ctx, a)
		g.examineExtension(ctx, a)
	}
	if g.isSound(ctx, a) {
		return
	}
	p := g.follow(ctx, a)
	g.judge(ctx, p)
	g.judgeForwarding(p)
}

// isSound reports whether all ends of an address are mailboxes or relayed.
func (g *graph) isSound(ctx context.Context, a address.Address) bool {
	list, err := g.verdicts.Expand(ctx, []route.Recipient{{Address: a, Original: a.Internal()}}, nil)
	if err != nil || len(list) == 0 {
		return false
	}
	for _, r := range list {
		res, refusal, _, err := g.verdicts.Final(ctx, r.Address, nil)
		if err != nil || refusal != "" || res.Class == route.Default || res.Class == route.Local {
			return false
		}
	}
	return g.settings.String("recipient_canonical_maps") == "" && g.settings.String("canonical_maps") == ""
}

// examineRules follows addresses that patterns spell out.
func (g *graph) examineRules(ctx context.Context) {
	for _, parameter := range keyedMaps {
		for _, t := range g.list.Of(ctx, parameter) {
			for _, r := range t.Rules {
				if a, ok := spelledOut(r.Pattern); ok {
					p := g.follow(ctx, g.router.Rewrite(a))
					g.judge(ctx, p)
					g.judgeForwarding(p)
				}
			}
		}
	}
}

// spelledOut is the one address that a regular expression matches, if it is written
// like one: /^info@example\.org$/.
func spelledOut(pattern string) (address.Address, bool) {
	if len(pattern) < 2 || pattern[0] != '/' {
		return address.Address{}, false
	}
	end := strings.LastIndexByte(pattern, '/')
	text := strings.TrimSuffix(strings.TrimPrefix(pattern[1:max(1, end)], "^"), "$")
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text) && strings.IndexByte(`.+-@_`, text[i+1]) >= 0:
			i++
			c = text[i]
		case strings.IndexByte(`\[](){}*+?|^$ `, c) >= 0:
			return address.Address{}, false
		}
		b.WriteByte(c)
	}
	a, err := address.Parse(b.String())
	return a, err == nil && a.Local != "" && a.Domain != ""
}

// copyMaps are the tables whose results get copies.
var copyMaps = []string{"recipient_bcc_maps", "sender_bcc_maps"}

// examineCopies follows the addresses that get copies of other mail.
func (g *graph) examineCopies(ctx context.Context) {
	for _, parameter := range copyMaps {
		for _, t := range g.list.Of(ctx, parameter) {
			for _, e := range t.Entries {
				g.examineCopy(ctx, parameter, e)
			}
		}
	}
	if v := g.settings.Value("always_bcc"); v.Text != "" {
		g.examineCopy(ctx, "always_bcc", table.Entry{Key: "always_bcc", Value: v.Text, Places: table.Place(g.parameter("always_bcc"))})
	}
}

func (g *graph) examineCopy(ctx context.Context, parameter string, e table.Entry) {
	to := address.Split(e.Value)
	if to.IsNull() {
		return
	}
	to = g.router.Rewrite(to)
	by := &hop{parameter: parameter, key: address.Fold(e.Key), from: e.Key, raw: e.Value,
		to: []string{address.Fold(to.Internal())}, at: []origin.At{e.At()}}
	p := &path{given: to}
	g.expand(ctx, p, to, by)
	g.judge(ctx, p)
}
