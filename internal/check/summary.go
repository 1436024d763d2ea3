package check

import (
	"context"

	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/route"
)

// Summary counts what was found and what is there.
type Summary struct {
	Errors   int           `json:"errors"`
	Warnings int           `json:"warnings"`
	Infos    int           `json:"infos"`
	Domains  DomainCount   `json:"domains"`
	Tables   []TableStatus `json:"tables"`
}

// DomainCount is how many domains there are of each class.
type DomainCount struct {
	Local          int `json:"local"`
	VirtualAlias   int `json:"virtual_alias"`
	VirtualMailbox int `json:"virtual_mailbox"`
	Relay          int `json:"relay"`
}

// TableStatus is a table that the configuration names.
type TableStatus struct {
	Table   string `json:"table"`   // type:name as configured, without "proxy:"
	Entries int    `json:"entries"` // that could be listed
	OK      bool   `json:"ok"`      // it can be asked
}

// count counts findings.
func (s *Summary) count(list []finding.Finding) {
	s.Errors, s.Warnings, s.Infos = finding.Count(list, finding.Error), finding.Count(list, finding.Warning), finding.Count(list, finding.Info)
	if s.Tables == nil {
		s.Tables = []TableStatus{}
	}
}

// count counts domains and tables.
func (x *examination) count(ctx context.Context, i *inventory.Inventory, _ finding.Report) {
	var s Summary
	seen := map[string]bool{} // static:5000 is a table of its own wherever it is written
	for _, t := range i.Tables(ctx) {
		if !seen[t.Spec] {
			seen[t.Spec] = true
			s.Tables = append(s.Tables, TableStatus{Table: x.hide.text(t.Spec), Entries: len(t.Entries), OK: t.Err == nil})
		}
	}
	for _, d := range i.Domains(ctx) {
		switch d.Class {
		case route.Local:
			s.Domains.Local++
		case route.VirtualAlias:
			s.Domains.VirtualAlias++
		case route.VirtualMailbox:
			s.Domains.VirtualMailbox++
		case route.Relay:
			s.Domains.Relay++
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.summary = s
}
