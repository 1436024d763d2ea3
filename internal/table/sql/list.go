package sql

import (
	"context"
	"errors"
	"iter"
	"time"

	"postern/internal/table"
)

// What is read of a database to list it: more would be a burden on it. A file has
// nobody else who waits.
const (
	listRows     = 100000
	listTime     = 3 * time.Second
	fileListTime = 10 * time.Second
)

// lister is a database that runs a statement without values, which changes
// nothing, and hands over its rows. An error of add ends it.
type lister interface {
	list(ctx context.Context, statement string, add func(row) error) error
}

// errStop ends a listing that nobody wants to go on with.
var errStop = errors.New("enough")

// rows lists what lookups find. It notes what else there is to know about the rows.
func (l *lookup) rows(ctx context.Context, db lister) iter.Seq2[table.Entry, error] {
	return func(yield func(table.Entry, error) bool) {
		l.compared.Store(uint32(unknown))
		l.plain.Store(false)
		compared, plain := exact, true
		err := l.each(ctx, db, false, func(_ *listing, r listed) bool {
			compared, plain = min(compared, r.compared), plain && !r.hidden
			return r.hidden || yield(r.entry, nil)
		})
		switch {
		case err == nil:
			l.compared.Store(uint32(compared))
			l.plain.Store(plain)
		case err != errStop:
			yield(table.Entry{}, err)
		}
	}
}

// concealed lists the rows that exist and that lookups do not find.
func (l *lookup) concealed(ctx context.Context, db lister) iter.Seq2[table.Hidden, error] {
	return func(yield func(table.Hidden, error) bool) {
		err := l.each(ctx, db, true, func(q *listing, r listed) bool {
			return yield(table.Hidden{Entry: r.entry, Reason: table.Excluded, Condition: q.condition()}, nil)
		})
		if err == nil && !l.plain.Load() {
			err = l.each(ctx, db, false, func(_ *listing, r listed) bool {
				return !r.hidden || yield(table.Hidden{Entry: r.entry, Reason: r.reason}, nil)
			})
		}
		if err != nil && err != errStop {
			yield(table.Hidden{}, err)
		}
	}
}

// probe is a key that no table has.
const probe = "postern-probe@postern.invalid"

// unlisted is the error of a listing that went wrong: that of a lookup, if lookups
// fail as well, or else nothing is wrong but that the rows cannot be listed.
func (l *lookup) unlisted(ctx context.Context, t table.Table) error {
	if ctx.Err() != nil {
		return table.ErrNotListed
	}
	if _, err := t.Lookup(ctx, probe); err != nil && !errors.Is(err, table.ErrNotFound) && ctx.Err() == nil {
		return err
	}
	return table.ErrNotListed
}

// listed is one row with its key.
type listed struct {
	entry    table.Entry
	hidden   bool // no lookup finds it
	reason   table.Reason
	compared comparison
}

// each runs the statements of a listing: those for what lookups find, or for what
// the filters exclude.
func (l *lookup) each(ctx context.Context, db lister, excluded bool, visit func(*listing, listed) bool) error {
	if len(l.listings) == 0 {
		return table.ErrNotListed
	}
	count := 0
	once := l.repetitions()
	for _, q := range l.listings {
		p := &places{table: l.Table, statement: q.statement(l.most + 1), keyName: q.keyName()}
		shown := 0
		if excluded {
			p.statement, shown = q.hidden(l.most+1), len(q.filtered())
		}
		if p.statement == "" {
			continue
		}
		err := db.list(ctx, p.statement, func(r row) error {
			if count++; count > l.most {
				return table.ErrNotListed
			}
			item, ok := l.read(ctx, q, r, shown, p)
			if ok && once(q, item) && !visit(q, item) {
				return errStop
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// repetitions reports of each row whether it counts: with LIMIT only the first rows
// of a key do, and of a UNION the same row only once.
func (l *lookup) repetitions() func(*listing, listed) bool {
	if len(l.listings) == 1 && l.listings[0].limit == 0 {
		return func(*listing, listed) bool { return true }
	}
	seen := map[string]int{}
	return func(q *listing, r listed) bool {
		key, most := r.entry.Key, q.limit
		if most == 0 {
			key, most = key+"\x00"+r.entry.Value, 1
		}
		seen[key]++
		return seen[key] <= most
	}
}

// read makes an entry of a row, in which the columns of filters are shown behind
// those of the query, and keeps them for its place. ok is false when no key finds the
// row by this query.
func (l *lookup) read(ctx context.Context, q *listing, r row, shown int, p *places) (item listed, ok bool) {
	n := len(r.values) - q.columns()
	if n-shown < 1 {
		return item, false
	}
	key, compared, ok := q.key(r.values[n:])
	if !ok {
		return item, false
	}
	if p.columns == nil {
		p.columns = q.named(r.columns[:n], shown)
	}
	number := p.keep(key, row{p.columns, r.values[:n+1]})
	item = listed{entry: table.Entry{Key: key, Places: p, Number: number}, compared: compared}
	l.judge(ctx, q, &item, row{r.columns[:n-shown], r.values[:n-shown]})
	return item, true
}

// judge gives an item the value that a lookup makes of its row, or the reason why
// it makes nothing of it.
func (l *lookup) judge(ctx context.Context, q *listing, item *listed, r row) {
	asked := item.entry.Key
	if q.byDomain() {
		asked = "postmaster" + asked // somebody of the domain
	}
	p, ok, err := l.Prepare(ctx, asked)
	if err != nil || !ok {
		item.hidden, item.reason = true, table.NotAsked
		return
	}
	if q.byDomain() {
		p.Whole, p.User = item.entry.Key, ""
	}
	c := l.collect(&p)
	if err = c.add(r); err == nil {
		var result table.Result
		result, err = c.Finish()
		item.entry.Value = result.Value
	}
	if err != nil {
		item.hidden, item.reason = true, table.NoResult
	}
	if err != nil && err != table.ErrNotFound {
		item.compared = unknown // the answer of a lookup is an error
	}
}
