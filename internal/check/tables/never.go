package tables

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
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

// lists reports words of domain lists that no domain is (VD309), and items
// that cannot be used (VD307).
func (x *examination) lists(ctx context.Context) {
	for _, parameter := range []string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains", "mynetworks"} {
		known := map[string]bool{}
		for it := range x.items(ctx, parameter) {
			known[it.Text] = true
		}
		for it := range x.items(ctx, parameter) {
			switch {
			case unusable(it):
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

// unusable reports an item of a list that fails and is no table: the file of a list, a
// network with bits behind its length, an IPv6 address without brackets. What names a
// type of table is examined as a table.
func unusable(it table.Item) bool {
	if it.Table != nil {
		return inventory.IsIPv6(it.Text) || strings.HasPrefix(it.Text, ":")
	}
	return it.Err != nil && (!strings.Contains(it.Text, ":") || strings.ContainsAny(it.Text[:1], "/["))
}

// unlisted reports an item of a list that cannot be used.
func (x *examination) unlisted(parameter string, it table.Item) {
	at := x.settings.Value(parameter).At
	if strings.HasPrefix(it.Text, "#") {
		return // a comment, which is a mistake of its own
	}
	if it.At.Line > 0 {
		at = it.At
	}
	f := finding.Finding{Code: "VD307", Severity: finding.Error, At: []origin.At{at}}
	switch {
	case inventory.IsIPv6(it.Text):
		f.Message = fmt.Sprintf("%s: %s is taken for a lookup table, as it has a colon and no brackets: all mail that asks the list has to wait (451 4.3.0)", parameter, it.Text)
		f.Near, f.Fix = bracketed(parameter, it.Text)
	case it.Table != nil:
		f.Message = fmt.Sprintf("%s: %s is taken for a lookup table without a type: all mail that asks the list has to wait (451 4.3.0)", parameter, it.Text)
		f.Fix = fmt.Sprintf("write type:name in %s, or an IPv6 address in brackets, or take the word out", parameter)
	default:
		f.Message = fmt.Sprintf("%s: %s cannot be used, so all mail that asks the list has to wait (451 4.3.0): %s", parameter, it.Text, cause(it.Err))
		f.Near, f.Fix = x.usable(parameter, it.Text)
	}
	x.add(f)
}

// usable is what may have been meant by an item that cannot be used, and the advice.
func (x *examination) usable(parameter, word string) (near []string, fix string) {
	switch {
	case strings.HasPrefix(word, "/"):
		return alike(x.Setup.Opener.Path(word)), fmt.Sprintf("create the file %s, or correct its name in %s", word, parameter)
	case parameter == "mynetworks":
		return network(word)
	}
	return nil, fmt.Sprintf("correct %s in %s, or take it out", word, parameter)
}

// bracketed is how to write an IPv6 address or network, but for one that has the whole
// internet: this host may have been meant.
func bracketed(parameter, word string) (near []string, fix string) {
	network := withBrackets(word)
	if p, err := netip.ParsePrefix(word); err == nil && p.Bits() == 0 {
		return []string{"[::1]/128"}, fmt.Sprintf("write [::1]/128 in %s, which is this host: %s, even in brackets, is all of the internet", parameter, word)
	}
	return []string{network}, fmt.Sprintf("write %s in %s", network, parameter)
}

// withBrackets is an IPv6 address or network as lists have it; bits that a network has
// behind its length are taken away.
func withBrackets(word string) string {
	if p, err := netip.ParsePrefix(word); err == nil {
		p = p.Masked()
		return fmt.Sprintf("[%v]/%d", p.Addr(), p.Bits())
	}
	literal, _, _ := strings.Cut(word, "/")
	return "[" + literal + "]"
}

// network is how to write a network that has bits behind its length, or the advice for
// what is none.
func network(word string) (near []string, fix string) {
	bare := strings.NewReplacer("[", "", "]", "").Replace(word)
	p, err := netip.ParsePrefix(bare)
	if err != nil {
		return nil, fmt.Sprintf("write an address or a network in the place of %s, such as 192.0.2.0/24 or [2001:db8::]/32, or take it out of mynetworks", word)
	}
	whole, one := p.Masked().String(), p.Addr().String()
	if p.Addr().Is6() {
		whole, one = withBrackets(bare), "["+one+"]"
	}
	return []string{whole, one}, fmt.Sprintf("write %s in mynetworks for the one host, or %s for the whole network", one, whole)
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
