package plan

import (
	"strings"

	"postern/internal/finding"
	"postern/internal/origin"
)

// located is a finding with the directory of its configuration.
type located struct {
	finding.Finding
	dir string
}

// findings are those of a side, but for what is said of the indexes of files that a
// draft replaces on one side: nobody has run postmap on it.
func (s *side) findings(drafts map[string]string) []located {
	var list []located
	for _, f := range s.check.Findings {
		if !s.concerns(f, drafts) {
			list = append(list, located{f, s.setup.Dir})
		}
	}
	return list
}

// concerns says whether a finding is about the index of one of these files.
func (s *side) concerns(f finding.Finding, drafts map[string]string) bool {
	if f.Code != "VD301" && f.Code != "VD302" {
		return false
	}
	for named, draft := range drafts {
		for _, text := range []string{named, draft} {
			if file := (origin.At{File: text}).RelativeTo(s.setup.Dir).File; f.At[0].File == file || strings.HasPrefix(f.At[0].File, file+".") {
				return true
			}
		}
	}
	return false
}

// difference are the findings that only the second list has, and those that only
// the first one has. The same finding may be in another line, and may count other
// rows.
func difference(before, after []located) (added, cured []finding.Finding) {
	for _, subject := range []func(located) string{located.words, located.place} {
		before, after = unmatched(before, after, subject)
	}
	return plain(after), plain(before)
}

// unmatched takes away the pairs that have the same subject.
func unmatched(before, after []located, subject func(located) string) (b, a []located) {
	count := map[string]int{}
	for _, f := range before {
		count[subject(f)]++
	}
	for _, f := range after {
		if key := subject(f); count[key] > 0 {
			count[key]--
			continue
		}
		a = append(a, f)
	}
	for _, f := range before {
		if key := subject(f); count[key] > 0 {
			count[key]--
			b = append(b, f)
		}
	}
	return b, a
}

func plain(list []located) []finding.Finding {
	out := []finding.Finding{}
	for _, f := range list {
		out = append(out, f.Finding)
	}
	return out
}

// words is a finding by what it says, without directory and numbers of lines.
func (f located) words() string {
	return f.Code + "\x00" + string(f.Severity) + "\x00" + withoutLines(strings.ReplaceAll(f.Message, f.dir+"/", ""))
}

// place is a finding by what is written at its first place, wherever that is.
func (f located) place() string {
	var at origin.At
	if len(f.At) > 0 {
		at = f.At[0]
	}
	text := strings.ReplaceAll(at.File+"\x00"+at.Text+"\x00"+at.Parameter+"\x00"+at.Table+"\x00"+at.Key, f.dir+"/", "")
	if at.IsZero() {
		text = f.Message
	}
	return f.Code + "\x00" + string(f.Severity) + "\x00" + text
}

// withoutLines takes the numbers of lines out of a text: "virtual:7" is "virtual:", and
// "line 7" is "line ".
func withoutLines(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		b.WriteByte(text[i])
		if text[i] != ':' && !strings.HasSuffix(text[:i+1], "line ") && !strings.HasSuffix(text[:i+1], "lines ") {
			continue
		}
		for i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9' {
			i++
		}
	}
	return b.String()
}
