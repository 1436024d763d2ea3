package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/builtin"
)

// indexes examines the index of a table and its text. It returns false when neither
// can be read: nothing else can be said of the table then.
func (x *examination) indexes(ctx context.Context, t *inventory.Table) bool {
	typ, name := parts(t)
	format, ok := builtin.Formats()[typ]
	if !ok {
		return true
	}
	path := x.Setup.Opener.Path(name)
	index, indexErr := x.Setup.Opener.Stat(path + format.Suffix)
	source, sourceErr := x.Setup.Opener.Stat(path)
	switch {
	case errors.Is(indexErr, fs.ErrNotExist) && errors.Is(sourceErr, fs.ErrNotExist):
		x.neither(t, path, path+format.Suffix)
		return false
	case errors.Is(indexErr, fs.ErrNotExist) && sourceErr == nil:
		x.missing(t, path, format.Suffix)
		return x.fromText() // else it cannot be asked, which has been said
	case indexErr != nil:
		return true // it cannot be looked at, which asking will show
	default:
		x.writable(t, path+format.Suffix, index)
		if sourceErr == nil && source.ModTime().After(index.ModTime()) {
			x.older(ctx, t, path, path+format.Suffix)
		} else if sourceErr == nil && ofFiles(t) {
			x.renewed(ctx, t, path+format.Suffix)
		}
	}
	if sourceErr == nil {
		x.writable(t, path, source)
	}
	return true
}

// fromText reports whether the source text answers when it is newer.
func (x *examination) fromText() bool { return x.settings.Bool("table_autocompile") }

// onlyPostfix is the severity of what Postfix would suffer from and Postern does
// not.
func (x *examination) onlyPostfix(t *inventory.Table) finding.Severity {
	switch {
	case !x.fromText():
		return finding.Error
	case !written(t):
		return finding.Info
	}
	return finding.Warning
}

// command is how an administrator builds the index of a table.
func command(t *inventory.Table) string {
	if slices.ContainsFunc(t.Uses, func(u inventory.Use) bool { return u.Parameter == "alias_maps" || u.Parameter == "alias_database" }) {
		return "postalias " + t.Spec
	}
	if ofFiles(t) {
		return "postmap -F " + t.Spec
	}
	return "postmap " + t.Spec
}

func (x *examination) neither(t *inventory.Table, path, index string) {
	x.add(finding.Finding{Code: "VD301", Severity: finding.Error, At: append([]origin.At{{File: index}}, places(t)...),
		Message: fmt.Sprintf("%s (%s) has neither an index %s nor a text %s: whoever it is asked for has to wait (451 4.3.0)", t.Spec, parameters(t), index, path),
		Fix:     fmt.Sprintf("create %s and run \"%s\", or take the table out of %s", path, command(t), parameters(t)),
		Near:    besides(path)})
}

// besides are files with another type of index of the same text, or with a name
// much like it.
func besides(path string) []string {
	var near []string
	for typ, format := range builtin.Formats() {
		if _, err := os.Stat(path + format.Suffix); err == nil {
			near = append(near, typ+":"+path)
		}
	}
	slices.Sort(near)
	return append(near, alike(path)...)
}

func (x *examination) missing(t *inventory.Table, path, suffix string) {
	text, also := "Postern reads the text instead; Postfix would let all mail wait that asks it (451 4.3.0)", ""
	if !x.fromText() {
		text = "whoever it is asked for has to wait (451 4.3.0)"
	}
	if near := besides(path); len(near) > 0 && !strings.HasPrefix(near[0], "/") {
		also = fmt.Sprintf("; there is one for %s", near[0])
	}
	x.add(finding.Finding{Code: "VD301", Severity: x.onlyPostfix(t), At: append([]origin.At{{File: path + suffix}}, places(t)...),
		Message: fmt.Sprintf("%s (%s) has no index %s%s, only the text: %s", t.Spec, parameters(t), path+suffix, also, text),
		Fix:     fmt.Sprintf("run \"%s\"", command(t))})
}

// older examines an index whose text was changed after it.
func (x *examination) older(ctx context.Context, t *inventory.Table, path, index string) {
	differing, total, err := x.differences(ctx, t, path, index)
	at := places(t)
	switch {
	case err != nil:
		x.add(finding.Finding{Code: "VD302", Severity: x.onlyPostfix(t), At: append([]origin.At{{File: index}}, at...),
			Message: fmt.Sprintf("the index %s is older than %s, and cannot be compared with it: %v", index, path, err),
			Fix:     fmt.Sprintf("run \"%s\"", command(t))})
	case total == 0:
		x.add(finding.Finding{Code: "VD302", Severity: finding.Info, At: append([]origin.At{{File: index}}, at...),
			Message: fmt.Sprintf("the index %s is older than %s, with the same contents", index, path),
			Fix:     fmt.Sprintf("run \"%s\", or leave it", command(t))})
	default:
		who := "Postern answers from the text, Postfix from the old index"
		switch {
		case ofFiles(t):
			who = "Postfix goes on with the old certificates"
		case !x.fromText():
			who = "the old index answers"
		}
		x.add(finding.Finding{Code: "VD302", Severity: x.onlyPostfix(t), At: append(differing, at...),
			Message: fmt.Sprintf("the index %s is older than %s, and %s: %s", index, path, counted(total, "row differs", "rows differ"), who),
			Fix:     fmt.Sprintf("run \"%s\"", command(t))})
	}
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// differences compares the rows of an index with those of its text: the first places
// that differ, and how many there are.
func (x *examination) differences(ctx context.Context, t *inventory.Table, path, index string) (at []origin.At, total int, err error) {
	text, err := x.rowsOf(ctx, t, true)
	if err != nil {
		return nil, 0, err
	}
	old, err := x.rowsOf(ctx, t, false)
	if err != nil {
		return nil, 0, err
	}
	for _, key := range slices.SortedFunc(maps.Keys(text), func(a, b string) int { return text[a].At().Line - text[b].At().Line }) {
		row, known := old[key]
		delete(old, key)
		if like := x.compare(t, row.Value, text[key].Value); !known || like == differing || like == missingFile {
			total++
			at = append(at, text[key].At())
		}
	}
	for _, key := range slices.Sorted(maps.Keys(old)) {
		if !added[key] {
			total++
			at = append(at, origin.At{File: index, Text: old[key].Key + "\t" + old[key].Value})
		}
	}
	return at[:min(len(at), finding.MaxPlaces/2)], total, nil
}

// added are the records that postalias(1) adds.
var added = map[string]bool{"@": true, "yp_last_modified": true, "yp_master_name": true}

// rowsOf are the rows of the text, or else of the index, of a table by folded key.
func (x *examination) rowsOf(ctx context.Context, t *inventory.Table, fromText bool) (map[string]table.Entry, error) {
	typ, name := parts(t)
	o := x.Setup.Opener
	own := &table.Opener{Dir: o.Dir, Types: builtin.Types(), Replace: o.Replace, Aliases: o.Aliases, RelativeNames: o.RelativeNames, UTF8: o.UTF8}
	defer own.Close()
	use := table.Use{Fold: true, AliasSyntax: strings.HasPrefix(command(t), "postalias")}
	if fromText {
		typ = "texthash"
		use.AliasSyntax = use.AliasSyntax || o.Aliases[t.Spec]
	}
	opened, err := own.Open(ctx, typ+":"+name, use)
	if err != nil {
		return nil, err
	}
	rows := map[string]table.Entry{}
	listed, ok := table.As[table.Enumerable](opened)
	if !ok {
		return nil, table.ErrNotListed
	}
	for row, err := range listed.All(ctx) {
		if err != nil {
			return nil, err
		}
		rows[o.Fold(row.Key)] = row
	}
	return rows, nil
}

// berkeley names the tables whose type other systems have no more (VD303).
func (x *examination) berkeley(tables []*inventory.Table) {
	var names []string
	var at []origin.At
	for _, t := range tables {
		if typ, _ := parts(t); (typ == "hash" || typ == "btree") && written(t) {
			names = append(names, t.Spec)
			at = append(at, places(t)...)
		}
	}
	if len(names) == 0 {
		return
	}
	x.add(finding.Finding{Code: "VD303", Severity: finding.Info, At: at,
		Message: fmt.Sprintf("%s of a type of Berkeley DB, which newer systems build Postfix without: %s", counted(len(names), "table is", "tables are"), shortened(names)),
		Fix:     "nothing here, as Postern reads them; where Postfix must too, use lmdb: or cdb: and run postmap again"})
}

// shortened are the first few names.
func shortened(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}
