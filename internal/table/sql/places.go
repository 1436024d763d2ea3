package sql

import "postern/internal/origin"

// places keep the rows of one listing for those who ask where an entry is written.
// There are many, and few are asked for: only the values are kept.
type places struct {
	table     string
	statement string
	keyName   string   // the column that is the key, or ""
	columns   []string // that are shown; nil before the first row
	keys      []string
	values    []cell // of each row: those of columns, then that of the key column
}

// keep takes a row whose last value is that of the key column, and returns its number.
func (p *places) keep(key string, r row) int {
	p.keys, p.values = append(p.keys, key), append(p.values, r.values...)
	return len(p.keys) - 1
}

// At is the place of a row.
func (p *places) At(number int) origin.At {
	n := len(p.columns)
	values := p.values[number*(n+1):][:n+1]
	at := origin.At{Table: p.table, Key: p.keys[number], Query: p.statement, Row: row{p.columns, values}.named()}
	if p.keyName != "" {
		at.Row[p.keyName] = values[n].text
	}
	return at
}
