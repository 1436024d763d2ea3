package failures

import (
	"fmt"
	"iter"
	"strings"
)

// expectation is what must be said about a configuration.
type expectation struct {
	findings []wanted
	allowed  []string
	without  []string // parameters that main.cf does not set
	explain  []explained
}

// wanted is a finding that must be there.
type wanted struct {
	code, severity string
	places         []string // one of them; none: anywhere
	near           string
}

// explained is an address and what explain must say about it.
type explained struct {
	address string
	want    [][2]string // in the order written
}

// parseExpect reads the lines of an expect file.
func parseExpect(text string) (expectation, error) {
	var e expectation
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		kind, rest, _ := strings.Cut(line, ": ")
		switch {
		case line == "" || line[0] == '#' || line == "check: none":
		case kind == "check":
			e.findings = append(e.findings, parseWanted(rest))
		case kind == "allow":
			e.allowed = append(e.allowed, strings.Fields(rest)...)
		case kind == "without":
			e.without = append(e.without, strings.Fields(rest)...)
		case strings.HasPrefix(kind, "explain "):
			x := explained{address: strings.TrimPrefix(kind, "explain ")}
			for _, w := range strings.Fields(rest) {
				key, value, _ := strings.Cut(w, "=")
				x.want = append(x.want, [2]string{key, value})
			}
			e.explain = append(e.explain, x)
		default:
			return e, fmt.Errorf("cannot read the line %q", line)
		}
	}
	return e, nil
}

// parseWanted reads "VD204 error at virtual: @example.test near x".
func parseWanted(text string) wanted {
	var w wanted
	text, w.near, _ = strings.Cut(text, " near ")
	text, places, ok := strings.Cut(text, " at ")
	if ok {
		for p := range strings.SplitSeq(places, "|") {
			w.places = append(w.places, strings.TrimSpace(p))
		}
	}
	w.code, w.severity, _ = strings.Cut(text, " ")
	return w
}

func (w wanted) String() string {
	text := w.code + " " + w.severity
	if len(w.places) > 0 {
		text += " at " + strings.Join(w.places, " | ")
	}
	if w.near != "" {
		text += " near " + w.near
	}
	return text
}

// codes are those that the case is about, each once.
func (e expectation) codes() map[string]bool {
	codes := map[string]bool{}
	for _, w := range e.findings {
		codes[w.code] = true
	}
	for _, x := range e.explain {
		for _, kv := range x.want {
			if kv[0] == "findings" && kv[1] != "none" {
				for code := range listed(kv[1]) {
					codes[code] = true
				}
			}
		}
	}
	return codes
}

// listed are the codes of "VD101,VD103".
func listed(list string) iter.Seq[string] { return strings.SplitSeq(list, ",") }
