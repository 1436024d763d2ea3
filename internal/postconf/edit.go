package postconf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/syntax"
)

// Action is what an edit does.
type Action int

const (
	Set        Action = iota // name=value
	Remove                   // name
	CommentOut               // name
)

// A piece is a physical line, with its newline if it has one.
type piece struct {
	text string
	kind pieceKind
}

type pieceKind int

const (
	filler       pieceKind = iota // blank or a comment
	start                         // of a logical line
	continuation                  // of the logical line in front of it, if any
)

// pieces cuts a file into its lines.
func pieces(text string) []piece {
	var list []piece
	for line := range strings.Lines(text) {
		kind := start
		switch trimmed := strings.TrimLeft(line, syntax.Blank); {
		case trimmed == "" || trimmed[0] == '#':
			kind = filler
		case len(trimmed) < len(line):
			kind = continuation
		}
		list = append(list, piece{line, kind})
	}
	return list
}

// request is one change to main.cf.
type request struct {
	name, value string
	found       int
}

// EditMain changes parameters in main.cf, or removes them, or comments them out.
// A value takes the place of every entry of its parameter, or comes at the end
// of the file.
func (t *Tool) EditMain(ctx context.Context, do Action, args []string) error {
	var requests []*request
	for _, arg := range args {
		r, err := parseRequest(do, arg)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(requests, func(o *request) bool { return o.name == r.name }); i >= 0 {
			if do == Set {
				t.warn("ignoring earlier request: '%s = %s'", r.name, requests[i].value)
			}
			requests = slices.Delete(requests, i, i+1)
		}
		requests = append(requests, r)
	}
	path := t.path("main.cf")
	return replaceFile(ctx, path, func(old string) (string, error) {
		out := editMain(old, do, requests)
		for _, r := range requests {
			if r.found > 1 {
				t.warn("%s: multiple entries for \"%s\"", path, r.name)
			}
		}
		return out, nil
	})
}

// parseRequest reads name=value, or a name.
func parseRequest(do Action, arg string) (*request, error) {
	if strings.Contains(arg, "\n") {
		return nil, errors.New("-e, -X, or -# accepts no multi-line input")
	}
	text := strings.TrimLeft(arg, syntax.Blank)
	if strings.HasPrefix(text, "#") {
		return nil, errors.New("-e, -X, or -# accepts no comment input")
	}
	if do == Set {
		name, value, err := nameValue(text)
		if err != nil {
			return nil, fmt.Errorf("%w: \"%s\"", err, text)
		}
		return &request{name: name, value: value}, nil
	}
	if text == "" {
		return nil, errors.New("-X or -# requires non-blank parameter names")
	}
	if strings.Contains(text, "=") {
		return nil, errors.New("-X or -# requires parameter names without value")
	}
	return &request{name: strings.TrimRight(text, syntax.Blank)}, nil
}

// editMain is the text of main.cf after the requests, which count their hits.
func editMain(text string, do Action, requests []*request) string {
	var b strings.Builder
	var hit *request
	for _, p := range pieces(text) {
		if p.kind == start {
			name := p.text
			if i := strings.IndexAny(name, "="+syntax.Blank); i >= 0 {
				name = name[:i]
			}
			hit = nil
			if i := slices.IndexFunc(requests, func(r *request) bool { return r.name == name }); i >= 0 {
				hit = requests[i]
				hit.found++
				if do == Set {
					hit.write(&b)
				}
			}
		}
		switch {
		case p.kind == filler || hit == nil:
			b.WriteString(p.text)
		case do == CommentOut:
			b.WriteString("#" + p.text)
		}
	}
	for _, r := range requests {
		if do == Set && r.found == 0 {
			endLine(&b)
			r.write(&b)
		}
	}
	return b.String()
}

// endLine completes the last line of a file that does not end in a newline.
func endLine(b *strings.Builder) {
	if text := b.String(); text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
}

func (r *request) write(b *strings.Builder) { fmt.Fprintf(b, "%s = %s\n", r.name, r.value) }
