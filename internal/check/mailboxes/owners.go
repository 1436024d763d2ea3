package mailboxes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
)

// ownerMaps are the tables that say whose a mailbox is.
var ownerMaps = [...]string{"virtual_uid_maps", "virtual_gid_maps"}

// owners gathers mailboxes without an owner, one finding for each cause.
type owners struct {
	*files
	order  []*ownerFault
	groups map[string]*ownerFault
}

// ownerFault is why mailboxes have no owner.
type ownerFault struct {
	parameters []string
	value      string // what the table said; "": nothing
	first      row
	count      int
	at         []origin.At
}

// look finds out why a mailbox has no owner. Tables that fail are not looked at
// here.
func (o *owners) look(ctx context.Context, r row) {
	if o.unset(r) {
		return
	}
	tr := &route.Trace{}
	_, _ = o.router.VirtualMailbox(ctx, r.addr, tr) // only the steps count
	s := o.x.i.Setup.Settings
	for _, parameter := range ownerMaps {
		asked, result, at, failed := answerOf(tr.Steps, parameter)
		switch {
		case failed:
			return
		case !asked:
		case result == nil:
			o.add(parameter, []string{parameter}, "", r, []origin.At{s.Value(parameter).At, r.from.At()})
		case !validID(*result, minimum(s, parameter)):
			o.add(parameter+"\x00"+*result, []string{parameter}, *result, r, badPlaces(s, parameter, at))
			return
		}
	}
}

// unset notes the tables that are not set at all.
func (o *owners) unset(r row) bool {
	s := o.x.i.Setup.Settings
	var names []string
	var at []origin.At
	for _, parameter := range ownerMaps {
		if v := s.Value(parameter); v.Text == "" {
			names, at = append(names, parameter), append(at, v.At)
		}
	}
	if len(names) == 0 {
		return false
	}
	o.add("unset", names, "", r, at)
	return true
}

// answerOf is what a trace says about the tables of a parameter.
func answerOf(steps []route.Step, parameter string) (asked bool, result *string, at origin.At, failed bool) {
	for _, s := range steps {
		if s.Op != "lookup" || s.Parameter != parameter {
			continue
		}
		asked, result, failed = true, s.Result, s.Error != ""
		if s.At != nil {
			at = *s.At
		}
	}
	return asked, result, at, failed
}

func minimum(s *config.Settings, parameter string) int {
	if parameter == "virtual_uid_maps" {
		return s.Int("virtual_minimum_uid")
	}
	return 1
}

// validID judges a user or group id by the digits that it begins with, as
// virtual(8) does.
func validID(text string, minimum int) bool {
	text = strings.TrimSpace(text)
	id, digits := 0, 0
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' && id < 1<<31 {
		id = id*10 + int(text[digits]-'0')
		digits++
	}
	return digits > 0 && id >= minimum && id < 1<<31
}

func badPlaces(s *config.Settings, parameter string, at origin.At) []origin.At {
	list := []origin.At{at}
	if v := s.Value("virtual_minimum_uid"); v.Set && parameter == "virtual_uid_maps" {
		list = append(list, v.At)
	}
	return list
}

func (o *owners) add(key string, parameters []string, value string, r row, at []origin.At) {
	g := o.groups[key]
	if g == nil {
		g = &ownerFault{parameters: parameters, value: value, first: r, at: at}
		o.groups[key] = g
		o.order = append(o.order, g)
	} else if value != "" {
		g.at = withPlace(g.at, at...)
	} else if key != "unset" {
		g.at = withPlace(g.at, r.from.At())
	}
	g.count++
}

func (o *owners) findings() []finding.Finding {
	var list []finding.Finding
	for _, g := range o.order {
		f := finding.Finding{Code: "VD402", Severity: finding.Error, At: g.at}
		f.Message, f.Fix = o.say(g)
		list = append(list, f)
	}
	return list
}

func (o *owners) say(g *ownerFault) (message, fix string) {
	s, names := o.x.i.Setup.Settings, strings.Join(g.parameters, " and ")
	whose := "virtual mailboxes"
	if g.first.key != "" {
		whose = users(g.first, g.count)
	}
	switch {
	case s.String(g.parameters[0]) == "":
		return fmt.Sprintf("%s not set: nobody owns the mailbox of %s, and the mail waits", plural(names, g.parameters), whose),
			"add to main.cf: " + o.example(g.parameters)
	case g.value == "":
		return fmt.Sprintf("%s not found in %s (%s): the mail waits", whose, names, s.String(names)),
			fmt.Sprintf("add a row to %s for %s, or set %s", names, g.first.key, o.example(g.parameters))
	}
	what := "0, no number or less than 1"
	if g.parameters[0] == "virtual_uid_maps" {
		what = fmt.Sprintf("0, no number or less than virtual_minimum_uid = %d", minimum(s, names))
	}
	return fmt.Sprintf("%s says %q for %s, which is %s: the mail waits", names, g.value, whose, what),
		"write the number of the user or group that owns " + o.dir + ": " + o.example(g.parameters)
}

func plural(names string, list []string) string {
	if len(list) > 1 {
		return names + " are"
	}
	return names + " is"
}

// users are the first user, and how many there are besides.
func users(first row, count int) string {
	switch count {
	case 1:
		return first.key
	case 2:
		return first.key + " and one other"
	}
	return fmt.Sprintf("%s and %d others", first.key, count-1)
}

// example is what to write for these parameters: the owner of virtual_mailbox_base
// when it could be meant.
func (o *owners) example(parameters []string) string {
	least := o.x.i.Setup.Settings.Int("virtual_minimum_uid")
	ids := map[string]uint32{"virtual_uid_maps": uint32(max(5000, least)), "virtual_gid_maps": 5000}
	var st unix.Stat_t
	if unix.Stat(o.dir, &st) == nil && int(st.Uid) >= least && st.Gid > 0 {
		ids = map[string]uint32{"virtual_uid_maps": st.Uid, "virtual_gid_maps": st.Gid}
	}
	var list []string
	for _, p := range parameters {
		list = append(list, fmt.Sprintf("%s = static:%d", p, ids[p]))
	}
	return strings.Join(list, ", ")
}

// at are the places of virtual_mailbox_base and of the tables of owners.
func (f *files) at() []origin.At {
	var list []origin.At
	for _, parameter := range slices.Concat([]string{"virtual_mailbox_base"}, ownerMaps[:]) {
		if v := f.x.i.Setup.Settings.Value(parameter); v.Set {
			list = append(list, v.At)
		}
	}
	return list
}
