package tables

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
)

// never reports rows that no lookup can match (VD309); with keys only those that
// were meant to have one of them.
func (x *examination) never(ctx context.Context, t *inventory.Table, keys map[string]bool) {
	if typ, _ := parts(t); typ == "unix" || typ == "environ" || typ == "static" || !x.folded(t) {
		return
	}
	k, asked, always := kindOf(t), 0, true
	wrong := map[string][]table.Entry{}
	for _, row := range t.Entries {
		why := oddity(row.Key, k)
		if why == "" || keys != nil && !keys[intended(row.Key, k)] {
			continue
		}
		if asked < maxAsked {
			asked++
			if x.matches(ctx, t, row, k) {
				always = false
				continue
			}
		} else if !always {
			continue // the table is one that does not mind
		}
		wrong[why] = append(wrong[why], row)
	}
	for _, why := range oddities {
		x.reportNever(t, why, wrong[why])
	}
}

// folded reports a table that is asked for addresses, domains or hosts, which are
// folded first.
func (x *examination) folded(t *inventory.Table) bool {
	for _, u := range t.Uses {
		if strings.HasSuffix(u.Parameter, "_checks") || u.Parameter == "mailbox_command_maps" {
			return false
		}
	}
	return true
}

// matches looks the key that was meant up: a database that compares in its own way
// has the row, and of a domain in two forms the other one is there as well. A table
// that fails cannot tell.
func (x *examination) matches(ctx context.Context, t *inventory.Table, row table.Entry, k kind) bool {
	r, err := t.Opened.Lookup(ctx, intended(row.Key, k))
	if err != nil {
		return !errors.Is(err, table.ErrNotFound)
	}
	return strings.Contains(r.Value, row.Value) || isULabel(row.Value) && includes(r.Value, row.Value)
}

// includes reports whether an answer has all addresses of a value, in whatever form
// their domains are.
func includes(answer, value string) bool {
	words := func(text string) []string { return syntax.Split(text, syntax.Separators) }
	var all []string
	for _, w := range words(answer) {
		all = append(all, meant(w))
	}
	return !slices.ContainsFunc(words(value), func(w string) bool { return !slices.Contains(all, meant(w)) })
}

// reportNever reports the rows with one mistake.
func (x *examination) reportNever(t *inventory.Table, why string, rows []table.Entry) {
	if len(rows) == 0 {
		return
	}
	f := finding.Finding{Code: "VD309", Severity: finding.Error}
	for _, row := range rows[:min(len(rows), finding.MaxPlaces)] {
		f.At, f.Near = append(f.At, row.At()), append(f.Near, row.Key)
	}
	one := rows[0]
	f.Near = f.Near[:min(len(f.Near), 5)]
	if why == unicodes {
		f.Near = append([]string{meant(one.Key)}, f.Near...) // in a file both forms look right
	}
	more := ""
	if len(rows) > 1 {
		more = fmt.Sprintf(", and neither can %s more", counted(len(rows)-1, "row", "rows"))
	}
	f.Message = fmt.Sprintf("%s: the row %q can never match, as it has %s: it is looked up as %q%s", t.Spec, one.Key, why, intended(one.Key, kindOf(t)), more)
	f.Fix = cure(t, why, one)
	x.add(f)
}

// cure is what to do with a row that cannot match.
func cure(t *inventory.Table, why string, row table.Entry) string {
	if column := columnOf(row); t.Query != nil && column != "" && (why == capitals || why == blanks) {
		function := "LOWER(" + column + ")"
		if why == blanks {
			function = "LOWER(TRIM(" + column + "))"
		}
		return fmt.Sprintf("UPDATE the table: SET %s = %s", column, function)
	}
	if why == unicodes {
		return fmt.Sprintf("add a row with the key %s, the form of the domain that SMTP uses", meant(row.Key))
	}
	key := intended(row.Key, kindOf(t))
	if why == wildcard {
		return fmt.Sprintf("write %s, and each of its subdomains as a row of its own", key)
	}
	return "write the key as " + key
}

// columnOf is the column of a row that has its key, "" when that is not known.
func columnOf(row table.Entry) string {
	for column, value := range row.At().Row {
		if value == row.Key {
			return column
		}
	}
	return ""
}

// lists reports words of domain lists that no domain is (VD309), and files of lists
// that cannot be read (VD307).
func (x *examination) lists(ctx context.Context) {
	for _, parameter := range []string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains", "mynetworks"} {
		known := map[string]bool{}
		for it := range x.items(ctx, parameter) {
			known[it.Text] = true
		}
		for it := range x.items(ctx, parameter) {
			switch {
			case it.Err != nil:
				x.unlisted(parameter, it)
			case it.Table == nil && parameter != "mynetworks":
				x.listed(parameter, it, known)
			}
		}
	}
}

// items are the words of a list, and the lines of its files. A list that nobody
// wrote has the tables of another parameter, and no items of its own.
func (x *examination) items(ctx context.Context, parameter string) iter.Seq[table.Item] {
	v := x.settings.Value(parameter)
	kind := table.StringList
	if parameter == "mynetworks" {
		kind = table.AddressList
	}
	if !v.Set {
		v.Text = ""
	}
	list, _ := x.Setup.Opener.List(ctx, v.Text, kind, false, table.Use{Parameter: parameter, At: v.At, Fold: true}) // each item tells its error
	return list.Items()
}

// unlisted reports a file of a list that cannot be read.
func (x *examination) unlisted(parameter string, it table.Item) {
	at := x.settings.Value(parameter).At
	if strings.HasPrefix(it.Text, "#") || strings.Contains(it.Text, ":") {
		return // a comment, which is a mistake of its own, or a table, which is examined as such
	}
	f := finding.Finding{Code: "VD307", Severity: finding.Error, At: []origin.At{at},
		Message: fmt.Sprintf("%s: %s cannot be used, so all mail that asks the list has to wait (451 4.3.0): %s", parameter, it.Text, cause(it.Err)),
		Fix:     fmt.Sprintf("create the file %s, or correct its name in %s", it.Text, parameter)}
	if strings.HasPrefix(it.Text, "/") {
		f.Near = alike(x.Setup.Opener.Path(it.Text))
	}
	x.add(f)
}

// listedAs is the domain that a word of a domain list was meant to be, and what is
// wrong with the word, "" for nothing.
func listedAs(word string) (domain, why string) {
	domain, why = intended(word, ofDomains), oddity(word, ofDomains)
	if why == "" && strings.Contains(word, "@") {
		why = anAddress
		_, domain, _ = cutAt(word)
	}
	return domain, why
}

// listed reports a word of a domain list that is no domain as SMTP has it.
func (x *examination) listed(parameter string, it table.Item, known map[string]bool) {
	domain, why := listedAs(it.Text)
	if why == "" || why == unicodes && known[domain] || strings.HasPrefix(it.Text, "#") {
		return
	}
	x.add(finding.Finding{Code: "VD309", Severity: finding.Error, At: []origin.At{it.At}, Near: []string{domain},
		Message: fmt.Sprintf("%s: %q can never match, as it has %s: the domain is looked up as %q", parameter, it.Text, why, domain),
		Fix:     fmt.Sprintf("write %s in %s", domain, parameter)})
}
