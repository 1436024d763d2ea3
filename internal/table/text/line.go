package text

import (
	"bytes"
	"fmt"
	"strings"
	"unsafe"

	"postern/internal/syntax"
)

const blank = syntax.Blank

// scan cuts data into logical lines by the rules of syntax.Lines, which serves
// one line at a time; a table of a million rows wants them all in one piece.
// They are moved together in data, whose bytes are the content from then on.
func (c *Content) scan(data []byte) {
	lines := bytes.Count(data, []byte{'\n'}) + 1
	arena := data[:0] // it never overtakes the line that is read
	rows := make([]row, 0, lines)
	var orphans []row
	for number := uint32(1); len(data) > 0; number++ {
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		first := firstNonBlank(line)
		if first == len(line) || line[first] == '#' {
			continue
		}
		start := uint32(len(arena))
		arena = append(arena, line...)
		this := row{start, uint32(len(arena)), number}
		switch {
		case first == 0:
			rows = append(rows, this)
		case len(rows) > 0:
			rows[len(rows)-1].end = this.end
		default:
			orphans = append(orphans, this)
		}
	}
	if i := bytes.IndexByte(arena, 0); i >= 0 {
		cutAtNUL(rows, arena)
	}
	c.arena, c.rows = unsafe.String(unsafe.SliceData(arena), len(arena)), rows
	for _, r := range orphans {
		c.problem(Orphan, r, fmt.Sprintf("logical line must not start with whitespace: %q", clip(c.text(r))))
	}
}

// firstNonBlank is the index of the first byte that is not white space, or the
// length.
func firstNonBlank(line []byte) int {
	for i, b := range line {
		if !isBlank(b) {
			return i
		}
	}
	return len(line)
}

func isBlank(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

// cutAtNUL ends each line at its first NUL byte, as C does.
func cutAtNUL(rows []row, arena []byte) {
	for i, r := range rows {
		if n := bytes.IndexByte(arena[r.start:r.end], 0); n >= 0 {
			rows[i].end = r.start + uint32(n)
		}
	}
}

// splitRow cuts "key value". Quotes and backslashes stay part of the key.
func splitRow(text string) (key, value string, kind Kind, complaint string) {
	end, quoted := 0, false
	for ; end < len(text); end++ {
		b := text[end]
		if b == '\\' {
			end++
		} else if b == '"' {
			quoted = !quoted
		} else if !quoted && isBlank(b) {
			break
		}
	}
	if quoted {
		return "", "", Unquoted, fmt.Sprintf("unbalanced '\"' in '%s' -- ignoring this line", clip(text))
	}
	end = min(end, len(text))
	key, value = text[:end], strings.Trim(text[end:], blank)
	if key == "" || value == "" {
		return "", "", NoValue, "expected format: key whitespace value -- ignoring this line"
	}
	if key[len(key)-1] == ':' {
		return key, value, AliasFile, `record is in "key: value" format; is this an alias file?`
	}
	return key, value, 0, ""
}

// splitAlias cuts "name: value". Quotes and backslashes are taken off the name.
func splitAlias(text string) (key, value string, kind Kind, complaint string) {
	var name strings.Builder
	quoted, remote, list := false, false, false
	end := 0
	for ; end < len(text) && (quoted || text[end] != ':'); end++ {
		b := text[end]
		switch {
		case b == '\\' && end+1 < len(text):
			end++
			name.WriteByte(text[end])
			continue
		case b == '"':
			quoted = !quoted
			continue
		case !quoted && b == '@':
			remote = true
		case !quoted && b == ',':
			list = true
		}
		name.WriteByte(b)
	}
	if quoted {
		return "", "", Unquoted, fmt.Sprintf("unbalanced '\"' in '%s' -- ignoring this line", clip(text))
	}
	key, value = strings.Trim(name.String(), blank), ""
	if end < len(text) {
		value = strings.Trim(text[end+1:], blank)
	}
	switch {
	case key == "" || value == "" || list:
		return "", "", NoValue, "need name:value pair -- ignoring this line"
	case remote:
		return "", "", NotLocal, "name must be local -- ignoring this line"
	}
	return key, value, 0, ""
}
