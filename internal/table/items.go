package table

import (
	"iter"

	"postern/internal/address"
	"postern/internal/origin"
)

// Item is one word of a match list, or one line of a file that it names.
type Item struct {
	Text    string // a name or network, folded; of a table as written
	At      origin.At
	Negated bool
	Table   Table // nil: it is none
	Err     error // why it cannot be used
}

// Items yields the items of a list in the order in which they are compared.
func (l *List) Items() iter.Seq[Item] {
	return func(yield func(Item) bool) {
		if l == nil {
			return
		}
		tables, failures := map[int]Table{}, map[int]error{}
		for _, r := range l.runs {
			switch {
			case r.table != nil:
				tables[r.index] = r.table
			case r.failure != nil:
				failures[r.index] = r.failure
			}
		}
		for i, it := range l.items {
			out := Item{Text: bare(it.text), At: it.at[0], Negated: it.negated, Table: tables[i], Err: failures[i]}
			if out.Table == nil && out.Err == nil {
				out.Text = address.Fold(out.Text)
			}
			if !yield(out) {
				return
			}
		}
	}
}
