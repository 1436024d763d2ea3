package settings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/table"
)

// networks reports clients of mynetworks that nobody can have meant (VD510): the
// whole internet, or private ranges that hold more than one's own hosts.
func (x *examination) networks(ctx context.Context) {
	seen := map[string]bool{}
	lists := []*config.Settings{x.settings}
	for _, m := range x.servers() {
		if !m.private() {
			lists = append(lists, m.settings)
		}
	}
	for _, s := range lists {
		v := s.Value("mynetworks")
		if seen[written(v)] || !chosen(s, v) {
			continue
		}
		seen[written(v)] = true
		l, err := x.Setup.Opener.List(ctx, v.Text, table.AddressList, false, table.Use{Parameter: "mynetworks", At: v.At, Fold: true})
		if l == nil || errors.Is(err, fs.ErrPermission) {
			continue
		}
		for _, n := range members(l) {
			x.network(s, v, n)
		}
		if !x.open[written(v)] {
			x.everyClient(ctx, v, l)
		}
	}
}

// written tells the values of several services apart.
func written(v config.Value) string { return v.At.String() + "\x00" + v.Text }

// chosen reports whether somebody decided about mynetworks: by writing it, or a
// style of it.
func chosen(s *config.Settings, v config.Value) bool {
	return v.Set || s.Value("mynetworks_style").Set
}

// member is one network of mynetworks.
type member struct {
	prefix netip.Prefix
	at     origin.At
}

// everyClient reports a table of mynetworks that has every stranger: static:all.
func (x *examination) everyClient(ctx context.Context, v config.Value, l *table.List) {
	var open table.Match
	for _, client := range strangers {
		m, err := l.MatchClient(ctx, "unknown", client.String(), nil)
		if err != nil {
			return
		}
		if m.Table != "" {
			open = m
		}
	}
	if open.Table == "" {
		return
	}
	x.open[written(v)] = true
	x.report(finding.Finding{Code: "VD510", Severity: finding.Error, At: open.At[:1],
		Message: fmt.Sprintf("mynetworks contains %s, which has every address: clients anywhere on the internet may send mail to everywhere, which is an open relay", open.Table),
		Fix:     fmt.Sprintf("write the networks of your own clients instead of %s: mynetworks = 127.0.0.0/8 [::1]/128", open.Table)})
}

// members are the networks of mynetworks, those of files and cidr: tables included.
func members(l *table.List) []member {
	var list []member
	for item := range l.Items() {
		if item.Negated {
			continue
		}
		if ruled, ok := table.As[table.Ruled](item.Table); ok && strings.HasPrefix(item.Text, "cidr:") {
			for _, r := range ruled.Rules() {
				list = appendNetwork(list, r.Pattern, r.At)
			}
		} else if item.Table == nil {
			list = appendNetwork(list, item.Text, item.At)
		}
	}
	return list
}

// appendNetwork adds a network, unless the text is none: a name, or an address.
func appendNetwork(list []member, text string, at origin.At) []member {
	text = strings.NewReplacer("[", "", "]", "").Replace(text)
	if p, err := netip.ParsePrefix(text); err == nil {
		list = append(list, member{p, at})
	}
	return list
}

// publicBits is how long the prefix of a network of the internet must be to have one
// owner: no longer ones than /8 were ever given to anybody.
const publicBits = 8

// privateBits is how long the prefix of a private network must be to be taken for
// one's own hosts; widePrivate are such networks, but for 192.168.0.0/16, which is a
// usual home.
const privateBits = 16

var widePrivate = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7")}

// network judges one network.
func (x *examination) network(s *config.Settings, v config.Value, n member) {
	at := []origin.At{n.at}
	if !v.Set {
		at = []origin.At{s.Value("mynetworks_style").At, v.At}
	}
	bits := n.prefix.Bits()
	switch {
	case bits < publicBits && !inPrivate(n.prefix):
		x.open[written(v)] = true
		x.report(finding.Finding{Code: "VD510", Severity: finding.Error, At: at,
			Message: fmt.Sprintf("mynetworks contains %v: clients anywhere on the internet may send mail to everywhere, which is an open relay", n.prefix),
			Fix:     fmt.Sprintf("remove %v from mynetworks: mynetworks = 127.0.0.0/8 [::1]/128", n.prefix)})
	case bits <= privateBits && inPrivate(n.prefix):
		x.report(finding.Finding{Code: "VD510", Severity: finding.Warning, At: at,
			Message: fmt.Sprintf("mynetworks contains %v: every host there may send mail to everywhere, and so may the whole internet "+
				"when a NAT gateway, a proxy or a container bridge with an address in it hands connections on", n.prefix),
			Fix: fmt.Sprintf("name the hosts that need it in mynetworks instead of %v, or let them log in", n.prefix)})
	}
}

// inPrivate reports whether a network lies in one of the private ranges.
func inPrivate(p netip.Prefix) bool {
	for _, w := range widePrivate {
		if w.Bits() <= p.Bits() && w.Contains(p.Addr()) {
			return true
		}
	}
	return false
}
