// Package cache keeps the answers of a table for a while (table_cache_ttl,
// table_cache_size), for tables that ask a server.
//
// "Found" and "not found" are kept, failures never: a table that fails is asked
// again for every key that is not in the cache. A row that changes in the
// database is seen when the old answer has run out; so is one that was added.
// Of several lookups for the same key at the same time one asks the table, and
// all get its answer. Keys and values that are very long are not kept.
//
// It imports table, otter and singleflight.
package cache

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"postern/internal/table"
)

// What is longer is not kept, so that the cache cannot take much memory.
const (
	maxKey   = 1 << 10
	maxValue = 16 << 10
)

var errClosed = errors.New("table is closed")

// New returns a table that gives the answers of t and keeps up to size of them
// for ttl. It owns t. With a ttl or a size of 0 it is t itself. It can list its
// rows when t can; they are not kept. t must bound the time of a lookup by
// itself, because one that several callers wait for goes on when one of them
// gives up.
func New(t table.Table, ttl time.Duration, size int) table.Table {
	if ttl <= 0 || size <= 0 {
		return t
	}
	c := &cached{Table: t, answers: otter.Must(&otter.Options[string, answer]{
		MaximumSize:      size,
		ExpiryCalculator: otter.ExpiryWriting[string, answer](ttl),
	})}
	if rows, ok := t.(table.Enumerable); ok {
		return &enumerable{c, rows}
	}
	return c
}

// answer is what a table said about a key.
type answer struct {
	result table.Result
	found  bool
}

type cached struct {
	table.Table // its Name and Traits
	answers     *otter.Cache[string, answer]
	asking      singleflight.Group
	closed      atomic.Bool
}

// enumerable is a cached table that can list its rows.
type enumerable struct {
	*cached
	rows table.Enumerable
}

var (
	_ table.Table      = (*cached)(nil)
	_ table.Enumerable = (*enumerable)(nil)
)

// Unwrap is the table whose answers are kept.
func (c *cached) Unwrap() table.Table { return c.Table }

func (e *enumerable) All(ctx context.Context) iter.Seq2[table.Entry, error] { return e.rows.All(ctx) }

func (c *cached) Lookup(ctx context.Context, key string) (table.Result, error) {
	if c.closed.Load() {
		return table.Result{}, c.failure(key, errClosed)
	}
	a, ok := c.answers.GetIfPresent(key)
	if !ok {
		var err error
		if a, err = c.ask(ctx, key); err != nil {
			return table.Result{}, err
		}
	}
	if !a.found {
		return table.Result{}, table.ErrNotFound
	}
	return a.result, nil
}

// ask asks the table, or waits for the answer to somebody who does so already.
func (c *cached) ask(ctx context.Context, key string) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, c.failure(key, err)
	}
	// The question does not end with the caller: others may have joined it.
	detached := context.WithoutCancel(ctx)
	done := c.asking.DoChan(key, func() (any, error) { return c.load(detached, key) })
	select {
	case r := <-done:
		a, _ := r.Val.(answer)
		return a, r.Err
	case <-ctx.Done():
		return answer{}, c.failure(key, ctx.Err())
	}
}

// load gets an answer from the table and keeps it.
func (c *cached) load(ctx context.Context, key string) (answer, error) {
	result, err := c.Table.Lookup(ctx, key)
	if err != nil && !errors.Is(err, table.ErrNotFound) {
		return answer{}, err
	}
	result.At = slices.Clip(result.At) // an append by one caller is not seen by another
	a := answer{result, err == nil}
	if len(key) <= maxKey && len(result.Value) <= maxValue {
		c.answers.Set(key, a)
	}
	return a, nil
}

func (c *cached) failure(key string, err error) error {
	return &table.Error{Table: c.Name(), Key: key, Err: err}
}

// Close closes the table. Answers that were kept are not given any more.
func (c *cached) Close() error {
	c.closed.Store(true)
	c.answers.InvalidateAll()
	c.answers.StopAllGoroutines()
	return c.Table.Close()
}
