package explain

import (
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
)

// finish fills empty lists, which JSON consumers expect to be there, and shows
// places relative to the configuration directory.
func (e Explanation) finish(dir string) Explanation {
	e.Steps = present(e.Steps)
	e.Recipients = present(e.Recipients)
	e.ClassReason.Also = present(e.ClassReason.Also)
	e.Findings = present(e.Findings)
	relative := func(at **origin.At) {
		if *at != nil {
			near := (*at).RelativeTo(dir)
			*at = &near
		}
	}
	relative(&e.ClassReason.At)
	for i := range e.ClassReason.Also {
		at := &e.ClassReason.Also[i].At
		*at = at.RelativeTo(dir)
	}
	for i := range e.ClassReason.Lists {
		relative(&e.ClassReason.Lists[i].At)
	}
	for i := range e.Steps {
		s := &e.Steps[i]
		relative(&s.At)
		also := make([]origin.At, 0, len(s.Also))
		for _, at := range s.Also {
			also = append(also, at.RelativeTo(dir))
		}
		s.Also = also
	}
	for i := range e.Recipients {
		r := &e.Recipients[i]
		r.Via = present(r.Via)
		relative(&r.TransportAt)
		relative(&r.UIDAt)
		relative(&r.GIDAt)
	}
	return e
}

// present is an empty list in the place of none.
func present[T string | route.Step | Recipient | Also | finding.Finding](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
