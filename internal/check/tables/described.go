package tables

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/cf"
	"postern/internal/table/ldap"
	"postern/internal/table/memcache"
	"postern/internal/table/sql"
)

// parametersOf are the names that the .cf file of a type may have; none: it is not
// described by one.
func parametersOf(typ string) []string {
	switch typ {
	case "ldap":
		return ldap.Parameters()
	case "memcache":
		return memcache.Parameters()
	}
	return sql.Parameters(typ)
}

// described examines the .cf file of a table (VD305, VD515).
func (x *examination) described(t *inventory.Table) {
	typ, name := parts(t)
	known := parametersOf(typ)
	if known == nil {
		return
	}
	if x.relative(t) {
		if !x.Setup.Opener.RelativeNames || !x.isFile(name) {
			return // it fails, which asking shows
		}
		x.add(x.relativeName(t, finding.Warning))
	}
	s, err := cf.Load(x.Setup.Opener, name, known)
	if s == nil || s.Prefix == "" && s.Source == "" {
		return
	}
	for _, u := range s.Unknown {
		x.unknown(t, u)
	}
	if err == nil {
		x.readable(t, s)
	}
}

// relative reports a name that Postfix takes as the prefix of parameters in main.cf,
// of which there are none.
func (x *examination) relative(t *inventory.Table) bool {
	typ, name := parts(t)
	known := parametersOf(typ)
	if known == nil || name == "" || name[0] == '/' || name[0] == '.' {
		return false
	}
	return !slices.ContainsFunc(known, func(k string) bool {
		_, ok := x.settings.Lookup(name + "_" + k)
		return ok
	})
}

func (x *examination) isFile(name string) bool {
	info, err := os.Stat(filepath.Join(x.Setup.Dir, name))
	return err == nil && info.Mode().IsRegular()
}

// relativeName is the finding for a .cf file that is named without its directory.
func (x *examination) relativeName(t *inventory.Table, severity finding.Severity) finding.Finding {
	typ, name := parts(t)
	path := filepath.Join(x.Setup.Dir, name)
	f := finding.Finding{Code: "VD305", Severity: severity, At: places(t),
		Message: fmt.Sprintf("%s (%s) is not an absolute path: Postfix takes %q as the prefix of parameters in main.cf, %s_%s ..., and never opens a file",
			t.Spec, parameters(t), name, name, parametersOf(typ)[0]),
		Fix: fmt.Sprintf("write the full path: %s:%s", typ, path)}
	if x.isFile(name) {
		f.Near = []string{typ + ":" + path, path}
		if severity == finding.Warning {
			f.Message += "; Postern reads " + path + " (table_relative_names)"
		}
		return f
	}
	for _, other := range alike(path) {
		f.Near = append(f.Near, typ+":"+other, other)
	}
	return f
}

// unknown reports a parameter of a .cf file that its type does not know.
func (x *examination) unknown(t *inventory.Table, u cf.Unknown) {
	typ, _ := parts(t)
	near := u.Near
	if usual := misspellings[u.Name]; usual != "" && slices.Contains(parametersOf(typ), usual) {
		near = usual
	}
	f := finding.Finding{Code: "VD305", Severity: finding.Warning, At: append([]origin.At{u.At}, places(t)[:1]...),
		Message: fmt.Sprintf("%s has no parameter %q (%s): the line is ignored, and a default is used instead", typ, u.Name, t.Spec),
		Fix:     fmt.Sprintf("remove the line; %s has %s", typ, strings.Join(parametersOf(typ)[:4], ", ")+" and others")}
	if near != "" {
		f.Near = []string{near}
		f.Fix = fmt.Sprintf("write %s instead of %s", near, u.Name)
	}
	x.add(f)
}

// misspellings are names that other programs have for the same.
var misspellings = map[string]string{"host": "hosts", "server": "hosts", "database": "dbname", "db": "dbname", "username": "user",
	"pass": "password", "passwd": "password", "pw": "password", "path": "dbpath", "file": "dbpath", "sql": "query", "select": "query"}

// misspelt are the known names that unknown parameters of a .cf file stand for.
func (x *examination) misspelt(t *inventory.Table) []string {
	typ, name := parts(t)
	s, _ := cf.Load(x.Setup.Opener, name, parametersOf(typ))
	if s == nil {
		return nil
	}
	var near []string
	for _, u := range s.Unknown {
		if usual := misspellings[u.Name]; usual != "" {
			near = append(near, usual)
		} else if u.Near != "" {
			near = append(near, u.Near)
		}
	}
	return near
}

// readable reports a password that everybody on this machine can read (VD515).
func (x *examination) readable(t *inventory.Table, s *cf.Settings) {
	typ, _ := parts(t)
	for _, name := range parametersOf(typ) {
		value, at, _ := s.Lookup(name)
		if !cf.HasPassword(name, value) {
			continue
		}
		info, err := os.Stat(at.File)
		if err != nil || info.Mode()&0o004 == 0 {
			continue
		}
		at.Text = s.Prefix + name + " = ..."
		x.add(finding.Finding{Code: "VD515", Severity: finding.Warning, At: append([]origin.At{at}, places(t)[:1]...),
			Message: fmt.Sprintf("every user of this machine can read the password of %s in %s (mode %04o)", t.Spec, at.File, info.Mode().Perm()),
			Fix:     fmt.Sprintf("chgrp postfix %s && chmod 640 %s", at.File, at.File)})
	}
}

// writable reports a file that everybody on this machine can change (VD515).
func (x *examination) writable(t *inventory.Table, path string, info fs.FileInfo) {
	if info.Mode()&0o002 == 0 || !info.Mode().IsRegular() {
		return
	}
	x.add(finding.Finding{Code: "VD515", Severity: finding.Warning, At: append([]origin.At{{File: path}}, places(t)[:1]...),
		Message: fmt.Sprintf("every user of this machine can change %s, which %s reads (mode %04o)", path, t.Spec, info.Mode().Perm()),
		Fix:     fmt.Sprintf("chmod o-w %s", path)})
}

// proxied reports a table that proxymap(8) would refuse (VD511).
func (x *examination) proxied(t *inventory.Table) {
	approved := x.Setup.Opener.Approved
	var at []origin.At
	for _, u := range t.Uses {
		if u.Proxied && u.Written() && approved != nil && !approved("proxy:"+t.Spec) {
			at = append(at, u.At)
		}
	}
	if len(at) == 0 {
		return
	}
	x.add(finding.Finding{Code: "VD511", Severity: finding.Warning, At: at,
		Message: fmt.Sprintf("proxy:%s (%s) is not in proxy_read_maps: Postern opens the table directly, Postfix would refuse it (request for unapproved table)", t.Spec, parameters(t)),
		Fix:     fmt.Sprintf("add proxy:%s to proxy_read_maps", t.Spec)})
}

// required reports parameters of main.cf that must have a value for what the
// configuration does (VD305).
func (x *examination) required(ctx context.Context) {
	transport, _, _ := strings.Cut(x.settings.String("virtual_transport"), ":")
	v := x.settings.Value("virtual_mailbox_base")
	for _, m := range x.settings.Services() {
		if s, err := x.settings.ForService(m); err == nil && m.Name == transport && s.String("virtual_mailbox_base") != "" {
			return
		}
	}
	if v.Text != "" || transport != "virtual" || len(x.settings.List("virtual_mailbox_domains")) == 0 || !x.leadsTo(ctx, transport) {
		return
	}
	x.add(finding.Finding{Code: "VD305", Severity: finding.Error, At: []origin.At{v.At},
		Message: "virtual_mailbox_base is empty, and virtual(8) delivers to virtual mailboxes: it refuses to start without the directory of the mailboxes",
		Fix:     "virtual_mailbox_base = /var/vmail"})
}

// leadsTo reports whether mail for a mailbox goes to that transport, for all that is
// known: rows of transport_maps may send all of it elsewhere.
func (x *examination) leadsTo(ctx context.Context, transport string) bool {
	diverting := x.Of(ctx, "transport_maps")
	if x.Setup.Router == nil || len(diverting) == 0 {
		return true
	}
	goes := func(a address.Address) bool {
		res, err := x.Setup.Router.Resolve(ctx, a, address.Address{}, nil)
		return err == nil && res.Class == route.VirtualMailbox && res.Transport == transport
	}
	for _, t := range x.Of(ctx, "virtual_mailbox_maps") {
		if slices.ContainsFunc(diverting, func(d *inventory.Table) bool { return d.Spec == t.Spec }) {
			continue // each mailbox of it has a transport of its own
		}
		if t.Complete && !t.Pattern {
			for _, e := range t.Entries {
				if goes(address.Split(address.Fold(e.Key))) {
					return true
				}
			}
			continue
		}
		for _, d := range x.Domains(ctx) {
			if goes(address.Address{Local: stranger, Domain: d.Name}) {
				return true
			}
		}
	}
	return false
}

// untyped reports words of a parameter of tables that do not name a table (VD304).
func (x *examination) untyped() {
	for name, v := range x.settings.All() {
		if !strings.HasSuffix(name, "_maps") || name == "proxy_read_maps" || name == "proxy_write_maps" || !v.Set {
			continue
		}
		if _, known := x.settings.Default(name); known {
			x.untypedWords(name, v.At, noTables(v.Text))
		}
	}
}

// noTables are the words of a list of tables that name none, up to a comment, which is
// a mistake of its own.
func noTables(value string) []string {
	var words []string
	for _, word := range syntax.Split(value, syntax.Separators) {
		if word[0] == '#' {
			break
		}
		typ, _, ok := strings.Cut(table.Direct(word), ":")
		if !ok || strings.ContainsAny(typ, "/{") || typ == "" {
			words = append(words, word)
		}
	}
	return words
}

// untypedWords is one finding for all such words of a parameter.
func (x *examination) untypedWords(parameter string, at origin.At, words []string) {
	if len(words) == 0 {
		return
	}
	word, count := words[0], "is no table"
	if len(words) > 1 {
		count = "and " + counted(len(words)-1, "word", "words") + " behind it are no tables"
	}
	f := finding.Finding{Code: "VD304", Severity: finding.Error, At: []origin.At{at},
		Message: fmt.Sprintf("%q in %s %s, which are written type:name: whoever it is asked for has to wait (451 4.3.0)", word, parameter, count),
		Fix:     fmt.Sprintf("write the type in front, such as hash:%s", word)}
	direct := table.Direct(word)
	typ, rest, slash := strings.Cut(direct, "/")
	switch {
	case slash && slices.Contains(x.types(), typ):
		f.Near = []string{strings.TrimSuffix(word, direct) + typ + ":/" + rest}
		f.Fix = fmt.Sprintf("write a colon behind the type: %s", f.Near[0])
	case len(words) > 1 && words[1] == "=", strings.Contains(word, "="):
		f.Fix = fmt.Sprintf("remove the blanks in front of the line of %s, if it is a setting of its own", word)
	case strings.HasPrefix(word, "/") && strings.HasSuffix(word, ".cf"):
		f.Near = []string{"mysql:" + word, "pgsql:" + word, "sqlite:" + word}
		f.Fix = "write the type in front, such as mysql:" + word
	case strings.HasPrefix(word, "/"):
		f.Near = []string{"hash:" + word, "texthash:" + word}
	}
	x.add(f)
}
