package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/nearest"
	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// serverTime bounds the wait for one table.
const serverTime = 3 * time.Second

// stranger is the local part of an address that nobody has.
const stranger = "postern-check-nobody"

// asked asks a table for an address that nobody has, and reports why it cannot
// answer. It returns whether it can.
func (x *examination) asked(ctx context.Context, t *inventory.Table) bool {
	err := x.ask(ctx, t)
	if err == nil || ctx.Err() != nil {
		return err == nil
	}
	if len(t.Problems) > 0 && isProblem(t, err) {
		return true // its lines tell why
	}
	if !strings.Contains(t.Spec, ":") {
		return false // untyped has told
	}
	var e *table.Error
	if t.Composed && errors.As(err, &e) && e.Table != t.Spec {
		return false // it is one of its members, which is a table of its own
	}
	x.add(x.failure(t, err))
	return false
}

// isProblem reports a table that fails because of one of its lines.
func isProblem(t *inventory.Table, err error) bool {
	return strings.Contains(err.Error(), t.Problems[0].Error())
}

// ask asks a table once. A table that does not know is one that works.
func (x *examination) ask(ctx context.Context, t *inventory.Table) error {
	domain := "example.invalid"
	for _, d := range x.Domains(ctx) {
		if !strings.ContainsAny(d.Name, "[]") {
			domain = d.Name
			break
		}
	}
	ctx, cancel := context.WithTimeout(ctx, serverTime)
	defer cancel()
	before, counts := emptyAnswers(t)
	_, err := t.Opened.Lookup(ctx, stranger+"@"+domain)
	if after, _ := emptyAnswers(t); counts && after > before {
		x.emptyForStrangers(t)
	}
	if errors.Is(err, table.ErrNotFound) {
		return nil
	}
	return err
}

// emptyAnswers is how many empty values a table of a database has left out.
func emptyAnswers(t *inventory.Table) (int64, bool) {
	counter, ok := table.As[interface{ EmptyAnswers() int64 }](t.Opened)
	if !ok {
		return 0, false
	}
	return counter.EmptyAnswers(), true
}

// unlistedStep reports what failed and is no table: the file of a list, a word that
// names nothing.
func (x *examination) unlistedStep(m *meeting) {
	if !m.failed {
		return
	}
	parameter := m.step.Parameter
	v := x.settings.Value(parameter)
	if words := noTables(v.Text); strings.HasSuffix(parameter, "_maps") && slices.Contains(words, m.step.Table) {
		x.untypedWords(parameter, v.At, words)
		return
	}
	f := finding.Finding{Code: "VD307", Severity: finding.Error, At: []origin.At{v.At},
		Message: fmt.Sprintf("%s: %s cannot be asked, so the mail has to wait (451 4.3.0): %s", parameter, m.step.Table, m.step.Error),
		Fix:     fmt.Sprintf("create %s, or correct its name in %s", m.step.Table, parameter)}
	if slices.ContainsFunc(syntax.Split(v.Text, syntax.Separators), func(w string) bool { return w[0] == '#' }) {
		f.Fix = fmt.Sprintf("put the comment in %s on a line of its own, above the setting", parameter)
	}
	x.add(f)
}

// failure is the finding for a table that cannot answer.
func (x *examination) failure(t *inventory.Table, err error) finding.Finding {
	f := finding.Finding{Code: "VD307", Severity: finding.Error, At: places(t)}
	if at := blamed(err); at.Line > 0 && !slices.ContainsFunc(f.At, func(a origin.At) bool { return same(a, at) }) {
		f.At = append([]origin.At{at}, f.At...)
	}
	typ, name := parts(t)
	var unknown *table.UnsupportedType
	switch {
	case errors.As(err, &unknown):
		f.Code, f.Message = "VD304", fmt.Sprintf("there is no table type %q (%s in %s): whoever it is asked for has to wait (451 4.3.0)", typ, t.Spec, parameters(t))
		f.Fix = "use a type that there is: " + strings.Join(x.types(), ", ")
		if bare := strings.Trim(t.Spec, `"'`); bare != t.Spec {
			f.Near = []string{bare}
			f.Fix = fmt.Sprintf("write %s without quotes, which are part of the name here", bare)
		} else if unknown.Near != "" {
			f.Near = []string{unknown.Near}
			f.Fix = fmt.Sprintf("write %s:%s, if that was meant", unknown.Near, name)
		}
	case x.relative(t):
		return x.relativeName(t, finding.Error)
	case errors.Is(err, cf.ErrRequired):
		f.Code, f.Message = "VD305", fmt.Sprintf("%s (%s): %s", t.Spec, parameters(t), cause(err))
		f.Fix = fmt.Sprintf("give the parameter a value in %s", name)
		f.Near = x.misspelt(t)
	case isServer(typ) && unreachable(err):
		f.Code, f.Message = "VD306", fmt.Sprintf("%s (%s) cannot use its database: %s", t.Spec, parameters(t), cause(err))
		f.Fix = fmt.Sprintf("start the server, or correct %s in %s", reaching(typ), name) + x.localhost(t)
	default:
		f.Message = fmt.Sprintf("%s (%s) cannot be asked, so all mail that asks it has to wait (451 4.3.0): %s", t.Spec, parameters(t), cause(err))
		f.Fix = advice(t, err)
		if errors.Is(err, fs.ErrNotExist) {
			f.Near = alike(x.Setup.Opener.Path(name))
		}
	}
	return f
}

// cause is the reason of a failure without the table and the key.
func cause(err error) string {
	var e *table.Error
	if errors.As(err, &e) && e.Err != nil {
		err = e.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %v", serverTime)
	}
	return err.Error()
}

// blamed is the line that an error names.
func blamed(err error) origin.At {
	var p *cf.PlacedError
	if errors.As(err, &p) {
		return p.At
	}
	var e *table.Error
	if errors.As(err, &e) {
		return e.At
	}
	return origin.At{}
}

// isServer reports the types that ask a database server.
func isServer(typ string) bool {
	return slices.Contains([]string{"mysql", "pgsql", "ldap", "memcache"}, typ)
}

// reaching are the parameters by which a type reaches its server.
func reaching(typ string) string {
	switch typ {
	case "ldap":
		return "server_host, bind, bind_dn and bind_pw"
	case "memcache":
		return "memcache"
	}
	return "hosts, user, password and dbname"
}

// unreachable reports a server that does not let us in, or does not answer; any
// other error is one that it gave as its answer.
func unreachable(err error) bool {
	var told *cf.ToldError
	var e *table.Error
	return errors.As(err, &told) || errors.As(err, &e) && e.Told || errors.Is(err, context.DeadlineExceeded)
}

// localhost tells of the two meanings of that name.
func (x *examination) localhost(t *inventory.Table) string {
	if t.Settings == nil {
		return ""
	}
	hosts := t.Settings.Get("hosts")
	if typ, _ := parts(t); typ == "mysql" && (hosts == "" || strings.Contains(hosts, "localhost")) {
		return "; localhost means the socket, and the user needs the right 'user'@'localhost': for TCP write hosts = 127.0.0.1"
	}
	return ""
}

// advice is what can be done about a table that fails.
func advice(t *inventory.Table, err error) string {
	typ, name := parts(t)
	line := describedBy(t, err)
	switch {
	case typ == "tcp" || typ == "socketmap":
		return fmt.Sprintf("start the server of %s, or take it out of %s", t.Spec, parameters(t))
	case errors.Is(err, fs.ErrNotExist) && line != "":
		return fmt.Sprintf("create the file, or correct %s in %s", line, name)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("create the file, or correct its name in %s", parameters(t))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("let the mail server read the file: chgrp postfix %s, chmod 640 %s", name, name)
	case line != "" && line != "query":
		return fmt.Sprintf("correct %s in %s", line, name)
	case t.Query != nil || strings.Contains(err.Error(), "query failed"):
		return fmt.Sprintf("correct the query in %s; \"postmap -q ADDRESS %s\" tries it", name, t.Spec)
	case typ == "fail":
		return fmt.Sprintf("take %s out of %s: it is a table that always fails", t.Spec, parameters(t))
	}
	return fmt.Sprintf("correct %s; \"postmap -q ADDRESS %s\" tries it", t.Spec, t.Spec)
}

// describedBy is the parameter of a .cf file that an error is about, "" if none.
func describedBy(t *inventory.Table, err error) string {
	typ, _ := parts(t)
	var p *cf.PlacedError
	if parametersOf(typ) == nil || !errors.As(err, &p) {
		return ""
	}
	name, _, ok := strings.Cut(p.At.Text, "=")
	if name = strings.TrimSpace(name); !ok || !slices.Contains(parametersOf(typ), name) {
		return ""
	}
	return name
}

// types are all that there are.
func (x *examination) types() []string {
	var list []string
	for typ := range x.Setup.Opener.Types {
		list = append(list, typ)
	}
	slices.Sort(list)
	return list
}

// alike are the files of a directory whose names differ from a path in few letters.
func alike(path string) []string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil
	}
	base := filepath.Base(path)
	names := func(yield func(string) bool) {
		for _, e := range entries {
			if e.Name() != base && !yield(e.Name()) {
				return
			}
		}
	}
	near := nearest.Words(base, names, 1+len(base)/6)
	for i, name := range near {
		near[i] = filepath.Join(filepath.Dir(path), name)
	}
	return near[:min(3, len(near))]
}
