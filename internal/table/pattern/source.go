package pattern

import (
	"bytes"
	"fmt"
	"strings"

	"postern/internal/origin"
	"postern/internal/syntax"
)

// sourceLine is one logical line of a table and where it was written. One that
// continues nothing has an error.
type sourceLine struct {
	syntax.Line
	at  origin.At
	err error
}

// fileLines cuts the content of a file into logical lines.
func fileLines(path string, data []byte) []sourceLine {
	var lines []sourceLine
	for l, err := range syntax.Lines(bytes.NewReader(data)) {
		lines = append(lines, sourceLine{l, origin.At{File: path, Line: l.Number, Text: l.Text}, err})
	}
	return lines
}

// inlineLines cuts "{{rule}, {rule}}" into its rules. All of them were written
// at the place of the whole. A rule that is empty or a comment counts as a line
// but does nothing.
func inlineLines(text string, at origin.At) ([]sourceLine, error) {
	inner, err := syntax.Braced(text)
	if err != nil {
		return nil, err
	}
	var lines []sourceLine
	for i, item := range syntax.Split(inner, syntax.Separators) {
		if item[0] != '{' {
			return nil, fmt.Errorf(`no '{' at start of text in "%s"; each rule needs braces of its own`, item)
		}
		rule, err := syntax.Braced(item)
		if err != nil {
			return nil, err
		}
		if rule != "" && !strings.HasPrefix(rule, "#") {
			lines = append(lines, sourceLine{syntax.Line{Number: i + 1, Text: rule}, at, nil})
		}
	}
	return lines, nil
}
