package addresses

// consequences says which findings about a domain are consequences of another finding
// about that domain, and are left out: whoever mends the cause is rid of them.
//
// VD513 is not among the causes: the class that a pattern gives to a domain (VD102)
// and the circle that it makes (VD207) are reported with it.
var consequences = map[string][]string{
	// The mailboxes of a domain that is local, or that is an alias domain, are unknown
	// there, and so are the targets of aliases.
	"VD101": {"VD103", "VD201", "VD202", "VD204", "VD205", "VD206", "VD208", "VD209", "VD506", "VD514", "VD517"},
	"VD102": {"VD103", "VD201", "VD202", "VD204", "VD205", "VD206", "VD208", "VD506", "VD514", "VD517"},
	// A domain in no list needs no postmaster, and its rows are all without effect.
	"VD103": {"VD201", "VD208", "VD506", "VD514", "VD517"},
	// What a bare name becomes is no mistake in the rows of that domain.
	"VD209": {"VD103"},
}

// causation knows, for each domain, the codes of findings that others follow from.
type causation map[string]map[string]bool

func causes(all []*gathered) causation {
	c := causation{}
	for _, g := range all {
		if consequences[g.code] == nil {
			continue
		}
		for domain := range g.domains {
			if c[domain] == nil {
				c[domain] = map[string]bool{}
			}
			c[domain][g.code] = true
		}
	}
	return c
}

// follows reports whether a finding is a consequence of others in all domains that
// it concerns.
func (c causation) follows(g *gathered) bool {
	for domain := range g.domains {
		if !c.explains(domain, g.code) {
			return false
		}
	}
	return len(g.domains) > 0
}

func (c causation) explains(domain, code string) bool {
	for cause := range c[domain] {
		for _, consequence := range consequences[cause] {
			if consequence == code {
				return true
			}
		}
	}
	return false
}
