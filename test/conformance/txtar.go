package conformance

import (
	"fmt"
	"strings"
)

// An archive is a comment followed by named files, in the txtar format: each
// file starts with a line "-- name --".
type archive struct {
	comment string
	files   []file
}

type file struct{ name, data string }

func parseArchive(text string) archive {
	var a archive
	body := &a.comment
	for _, line := range strings.SplitAfter(text, "\n") {
		if name, ok := marker(line); ok {
			a.files = append(a.files, file{name: name})
			body = &a.files[len(a.files)-1].data
			continue
		}
		*body += line
	}
	return a
}

func marker(line string) (string, bool) {
	name, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "-- ")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, " --")
	return strings.TrimSpace(name), ok && strings.TrimSpace(name) != ""
}

func (a archive) String() string {
	var b strings.Builder
	b.WriteString(a.comment)
	for _, f := range a.files {
		fmt.Fprintf(&b, "-- %s --\n%s", f.name, f.data)
	}
	return b.String()
}

// get returns the content of the named file, or "" when there is none.
func (a archive) get(name string) string {
	for _, f := range a.files {
		if f.name == name {
			return f.data
		}
	}
	return ""
}
