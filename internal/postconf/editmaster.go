package postconf

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/internal/syntax"
)

// serviceRequest is one change to master.cf.
type serviceRequest struct {
	*pattern
	text  string // as given
	value string
	entry *service // the new entry
	field int
	found int
}

// masterEdit is a change of master.cf. depth is the number of parts in a request.
type masterEdit struct {
	tool     *Tool
	do       Action
	depth    int
	wrong    string // for requests of another depth
	parse    func(r *serviceRequest) error
	apply    func(s *service, r *serviceRequest) error // changes a part; nil for whole entries
	requests []*serviceRequest
}

// EditEntries replaces, adds, removes or comments out services: NAME/TYPE with
// the new entry behind '=', or without. An entry that has the name and type of
// the new one is replaced as well.
func (t *Tool) EditEntries(ctx context.Context, do Action, args []string) error {
	e := &masterEdit{tool: t, do: do, depth: 2, wrong: "-Me, -MX or -M# requires service_name/type"}
	e.parse = func(r *serviceRequest) (err error) {
		if do != Set {
			return nil
		}
		if r.entry, err = t.parseService(r.value); errors.Is(err, errFields) {
			err = fmt.Errorf("%w: \"%s\"", err, r.text)
		}
		return err
	}
	return e.run(ctx, args)
}

// EditFields changes fields of services: NAME/TYPE/FIELD=VALUE. The field
// "command" is the program with its arguments.
func (t *Tool) EditFields(ctx context.Context, args []string) error {
	e := &masterEdit{tool: t, do: Set, depth: 3, wrong: "-Fe or -FX requires service_name/type/field_name"}
	e.parse = func(r *serviceRequest) (err error) {
		r.field, err = fieldIndex(r.part[2])
		switch {
		case err != nil:
			return err
		case r.field < 0:
			return errors.New("-Fe does not accept wild-card field name")
		case r.field != fieldCommand && strings.ContainsAny(r.value, blanks):
			return errors.New("-Fe does not accept whitespace in non-command field")
		}
		return nil
	}
	e.apply = func(s *service, r *serviceRequest) error {
		s.fields[r.field] = r.value
		if r.field == fieldCommand {
			words := append(syntax.Split(r.value, blanks), "")
			s.fields[fieldCommand] = words[0]
			s.command(words[1:max(1, len(words)-1)], t.Warn)
		}
		return s.check(r.value)
	}
	return e.run(ctx, args)
}

// EditOverrides sets or removes -o parameters of services:
// NAME/TYPE/PARAMETER=VALUE, or without the value.
func (t *Tool) EditOverrides(ctx context.Context, do Action, args []string) error {
	e := &masterEdit{tool: t, do: do, depth: 3, wrong: "-Pe or -PX requires service_name/type/parameter"}
	e.parse = func(r *serviceRequest) error {
		switch {
		case r.part[2] == "*":
			return errors.New("-Pe does not accept wild-card parameter name")
		case strings.ContainsAny(r.value, blanks):
			return errors.New("-Pe does not accept whitespace in parameter value")
		}
		return nil
	}
	e.apply = func(s *service, r *serviceRequest) error {
		s.override(do, r.part[2], r.value)
		return nil
	}
	return e.run(ctx, args)
}

// override changes all -o options of a name, or adds one, or removes them.
func (s *service) override(do Action, name, value string) {
	found := false
	options := s.options[:0:0]
	for _, o := range s.options {
		if key, _, ok := strings.Cut(o.value, "="); ok && o.valued && key == name {
			if do == Remove {
				continue
			}
			o.value, found = name+"="+value, true
		}
		options = append(options, o)
	}
	if do == Set && !found {
		options = append(options, daemonOption{"-o", name + "=" + value, true})
	}
	s.options = options
}

const masterOptions = "-Me, -Fe, -Pe, -X, or -#"

// run reads the requests and changes the file.
func (e *masterEdit) run(ctx context.Context, args []string) error {
	for _, arg := range args {
		r := &serviceRequest{text: arg}
		name := strings.Trim(arg, syntax.Blank)
		var err error
		switch {
		case strings.Contains(arg, "\n"):
			err = errors.New(masterOptions + " accept no multi-line input")
		case strings.HasPrefix(name, "#"):
			err = errors.New(masterOptions + " accept no comment input")
		case e.do == Set:
			if name, r.value, err = nameValue(arg); err != nil {
				err = fmt.Errorf("%w: \"%s\"", err, arg)
			}
		case strings.Contains(name, "="):
			err = errors.New("-X or -# requires names without value")
		}
		if err != nil {
			return err
		}
		var ok bool
		if r.pattern, ok = parsePattern(name, e.depth, e.depth); !ok {
			return errors.New(e.wrong)
		}
		if err := e.parse(r); err != nil {
			return err
		}
		e.requests = append(e.requests, r)
	}
	return replaceFile(ctx, e.tool.path("master.cf"), e.edit)
}

// edit is the text of master.cf after the requests.
func (e *masterEdit) edit(text string) (string, error) {
	list := pieces(text)
	var b strings.Builder
	for i := 0; i < len(list); {
		// An entry ends with its last continuation line; comments behind that
		// belong to what follows.
		end := i + 1
		for j := end; list[i].kind == start && j < len(list) && list[j].kind != start; j++ {
			if list[j].kind == continuation {
				end = j + 1
			}
		}
		if list[i].kind != start {
			b.WriteString(list[i].text)
		} else if err := e.editEntry(&b, list[i:end], i+1); err != nil {
			return "", err
		}
		i = end
	}
	for _, r := range e.requests {
		switch {
		case r.found > 0:
		case r.entry != nil:
			lines, err := r.entry.entry(true, nil)
			if err != nil {
				return "", err
			}
			endLine(&b)
			b.WriteString(lines + "\n")
		case e.apply != nil:
			e.tool.warn("unmatched service_name/type: \"%s\"", r.text)
		}
	}
	return b.String(), nil
}

// editEntry writes the lines of an entry as they are or as they are to be. The
// comments between the lines of a changed entry come in front of it.
func (e *masterEdit) editEntry(b *strings.Builder, lines []piece, number int) error {
	words := syntax.Split(lines[0].text, blanks)
	where := fmt.Sprintf("file %s: line %d: ", e.tool.path("master.cf"), number)
	switch {
	case len(words) < 2:
		return errors.New(where + "specify service name and type on the same line")
	case strings.Contains(words[0], "="):
		return fmt.Errorf("%sservice name syntax \"%s\" is unsupported with %s", where, words[0], masterOptions)
	case strings.ContainsAny(words[1], "=/"):
		return fmt.Errorf("%sservice type syntax \"%s\" is unsupported with %s", where, words[1], masterOptions)
	}
	hit, changed, err := e.change(lines, words[0], words[1])
	if errors.Is(err, errFields) {
		err = fmt.Errorf("%s%w", where, err)
	}
	if err != nil {
		return err
	}
	entry := ""
	if changed != nil {
		if entry, err = changed.entry(true, nil); err != nil {
			return err
		}
		entry += "\n"
	}
	if e.apply == nil { // a new entry stands where the old one began
		b.WriteString(entry)
		entry = ""
	}
	for _, p := range lines {
		switch {
		case p.kind == filler || !hit:
			b.WriteString(p.text)
		case e.do == CommentOut:
			b.WriteString("#" + p.text)
		}
	}
	b.WriteString(entry)
	return nil
}

// change applies the requests to an entry. hit says that one was meant for it,
// changed is what it becomes, nil for nothing.
func (e *masterEdit) change(lines []piece, name, kind string) (hit bool, changed *service, err error) {
	for _, r := range e.requests {
		replaces := r.entry != nil && r.entry.fields[fieldService] == name && r.entry.fields[fieldType] == kind
		if !r.fits(name, kind) && !replaces {
			continue
		}
		hit = true
		r.found++
		switch {
		case e.apply == nil:
			if r.entry != nil && r.found == 1 {
				changed = r.entry
			}
			continue
		case changed == nil:
			if changed, err = e.tool.parseService(logical(lines)); err != nil {
				return hit, nil, err
			}
		}
		if err := e.apply(changed, r); err != nil {
			return hit, nil, err
		}
	}
	return hit, changed, nil
}

// logical is the logical line that physical lines make up.
func logical(lines []piece) string {
	var b strings.Builder
	for _, p := range lines {
		if p.kind != filler {
			b.WriteString(strings.TrimSuffix(p.text, "\n"))
		}
	}
	return b.String()
}
