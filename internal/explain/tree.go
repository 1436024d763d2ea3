package explain

import (
	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/route"
)

// maxTree is how many lines the tree of an expansion has at most.
const maxTree = 100

// hop is what took the place of one address.
type hop struct {
	to []string
	at *origin.At
}

// aliases are the hops of an expansion: by address, and by name for aliases(5).
type aliases struct {
	byAddress, byName map[string]hop
}

// hops reads them from the steps.
func hops(steps []route.Step) aliases {
	all := aliases{map[string]hop{}, map[string]hop{}}
	for _, s := range steps {
		if s.Result == nil {
			continue
		}
		switch {
		case s.Op == "expand" && s.Parameter == "alias_maps":
			all.byName[address.Fold(s.Key)] = hop{members(*s.Result), s.At}
		case s.Op == "expand":
			all.byAddress[address.Fold(s.Key)] = hop{members(*s.Result), s.At}
		case s.Op == "rewrite":
			all.byAddress[address.Fold(s.Key)] = hop{[]string{*s.Result}, s.At}
		}
	}
	return all
}

// members are the addresses of a list, as they are shown.
func members(text string) []string {
	list, err := address.ParseList(text)
	if err != nil {
		return []string{text}
	}
	var out []string
	for _, a := range list {
		out = append(out, a.Internal())
	}
	return out
}

// of is the hop of an address: an alias, or for a local user an entry of aliases(5).
func (a aliases) of(text string) (hop, bool) {
	if h, ok := a.byAddress[address.Fold(text)]; ok {
		return h, true
	}
	h, ok := a.byName[address.Fold(address.Split(text).Local)]
	return h, ok
}

// expansion shows what the address was replaced by, level by level.
func (e Explanation) expansion() []block {
	t := &tree{aliases: hops(e.Steps), done: map[string]bool{}}
	root := e.Normalized
	if _, ok := t.of(root); !ok {
		return nil
	}
	t.below("", root, map[string]bool{})
	if t.more > 0 {
		t.lines = append(t.lines, line{words(yellow, "... and %d more", t.more)})
	}
	return []block{{head: line{{"expansion of " + root, plain}}, below: t.lines}}
}

// tree is an expansion on its way to paper.
type tree struct {
	aliases
	lines []line
	done  map[string]bool // addresses whose aliases are shown
	more  int             // lines that are left out
}

// below writes what an address was replaced by. path are the addresses above.
func (t *tree) below(trunk, text string, path map[string]bool) {
	h, ok := t.of(text)
	if !ok {
		return
	}
	key := address.Fold(text)
	t.done[key], path[key] = true, true
	defer delete(path, key)
	for i, to := range h.to {
		mark, next := "|- ", "|  "
		if i == len(h.to)-1 {
			mark, next = "`- ", "   "
		}
		if len(t.lines) >= maxTree {
			t.more++
			continue
		}
		member := address.Fold(to)
		_, goesOn := t.of(to)
		l := line{{trunk + mark, plain}, {to, plain}}
		if h.at != nil {
			l = append(l, span{"   " + h.at.String(), faint})
		}
		switch {
		case member == key:
			l, goesOn = append(l, span{"   itself: that is final", faint}), false
		case path[member]:
			l, goesOn = append(l, span{"   a loop: it stands above", red}), false
		case t.done[member]:
			l, goesOn = append(l, span{"   again: see above", faint}), false
		}
		t.lines = append(t.lines, l)
		if goesOn {
			t.below(trunk+next, to, path)
		}
		t.done[member] = true
	}
}
