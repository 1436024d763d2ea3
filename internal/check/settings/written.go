package settings

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"postern/internal/access"
	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/setup"
)

// written reports what main.cf and master.cf say and did hardly mean (VD310), and
// what a server would refuse to start with.
func (x *examination) written() {
	for _, p := range x.settings.Warnings() {
		if p.Kind.Miswritten() {
			x.report(miswritten(p))
		}
		if p.Kind == config.Blanks {
			x.torn[p.At.String()] = true
		}
	}
	faults := append(config.Faults(x.Setup.Fault), x.faults...)
	for _, f := range faults {
		x.wrong[f.At.Parameter] = true
		if x.torn[f.At.String()] || errors.Is(f, access.ErrRelayControl) || f.At.Parameter == "virtual_mailbox_base" {
			continue // the last two are findings of their own: VD510 and VD305
		}
		x.report(refused(f))
	}
	if x.Setup.Fault != nil && len(faults) == 0 {
		x.report(refused(&config.Fault{At: origin.At{File: filepath.Join(x.Setup.Dir, "main.cf")}, Err: x.Setup.Fault}))
	}
}

// miswritten is the finding for a problem of the files.
func miswritten(p config.Problem) finding.Finding {
	f := finding.Finding{Code: "VD310", Severity: finding.Warning, At: append([]origin.At{p.At}, p.Also...), Near: p.Near}
	if p.Lost || p.Kind == config.Blanks {
		f.Severity = finding.Error
	}
	f.Message, f.Fix = wording(p)
	return f
}

func wording(p config.Problem) (message, fix string) {
	where := place(p.At)
	switch p.Kind {
	case config.Repeated:
		var earlier []string
		for _, at := range p.Also {
			earlier = append(earlier, place(at))
		}
		if p.Parameter == "" {
			return fmt.Sprintf("%s: %s", where, p.Text), fmt.Sprintf("keep one of the two entries, %s or %s", earlier[0], where)
		}
		return fmt.Sprintf("%s is set at %s and again, with another value, at %s: the last one wins", p.Parameter, strings.Join(earlier, ", at "), where),
			fmt.Sprintf("keep one of the lines that set %s", p.Parameter)
	case config.Orphan:
		return fmt.Sprintf("the line %s begins with a blank and continues nothing, so it is left out", where), "remove the blanks in front of the line"
	case config.Swallowed:
		return fmt.Sprintf("%s: a line that begins with a blank continues the one before it: %s", p.Parameter, p.Text),
			"remove the blanks in front of the line that is a setting of its own"
	case config.Comment:
		return fmt.Sprintf("%s: '#' does not begin a comment inside a value: what stands behind it belongs to the value, and in a domain list is not looked at", p.Parameter),
			"put the comment on a line of its own, above the setting"
	case config.Blanks:
		return p.Text, fmt.Sprintf("write -o name=value without blanks at %s, or -o { name = value }", where)
	case config.Wrong:
		return p.Text, fmt.Sprintf("correct the value of %s, or remove the line", p.Parameter)
	}
	if len(p.Near) > 0 && p.Parameter != "" {
		return fmt.Sprintf("%s is no parameter, and nothing refers to it: the line has no effect", p.Parameter),
			fmt.Sprintf("write %s, if that was meant", p.Near[0])
	}
	fix = "correct the line"
	if len(p.Near) > 0 {
		fix = fmt.Sprintf("write %s, if that was meant", p.Near[0])
	}
	return p.Text, fix
}

// refused is the finding for what a server would not start with.
func refused(f *config.Fault) finding.Finding {
	out := finding.Finding{Code: "VD310", Severity: finding.Error, Message: f.Err.Error(), At: []origin.At{f.At}, Fix: "correct the value"}
	var unknown *access.UnknownRestriction
	switch {
	case strings.HasPrefix(out.Message, "missing '='"):
		out.Fix = "write NAME = VALUE, or remove the line"
		if words := strings.Fields(f.At.Text); len(words) > 1 {
			out.Fix = fmt.Sprintf("write %s = %s", words[0], strings.Join(words[1:], " "))
		}
	case errors.As(f, &unknown):
		out.Message += ": a server that meets it lets no mail in"
		out.Near, out.Fix = unknown.Near, "correct the word, or remove it"
		if len(out.Near) > 0 {
			out.Fix = fmt.Sprintf("write %s, if that was meant", out.Near[0])
		}
	case strings.Contains(out.Message, "-o "):
		out.Message += ": the whole service is lost"
		out.Fix = "write -o name=value without blanks, or -o { name = value }"
	case strings.HasSuffix(f.At.File, "master.cf"):
		out.Message += ": the whole service is lost"
		out.Fix = "correct the line: name, type, private, unprivileged, chroot, wakeup, maxproc, command and arguments"
	}
	return out
}

// place is a short form for messages: main.cf:12.
func place(at origin.At) string {
	at.File = filepath.Base(at.File)
	return at.String()
}

// Notes are the warnings of a server about a configuration that have no code: what
// has no effect here, and what nobody knows.
func Notes(s *setup.Setup) []string {
	var list []string
	for _, p := range s.Settings.Warnings() {
		if !p.Kind.Miswritten() {
			p.At = p.At.RelativeTo(s.Dir)
			list = append(list, p.String())
		}
	}
	return list
}
