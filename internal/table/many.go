package table

import "context"

// Answer is what Lookup returns.
type Answer struct {
	Result
	Err error
}

// Many is the optional power to answer many keys for less than the sum of
// their look-ups.
type Many interface {
	// LookupMany sets answers[i] to what Lookup would return for keys[i]. The
	// two have the same length.
	LookupMany(ctx context.Context, keys []string, answers []Answer)
}

// LookupMany asks a table for many keys, all at once where it can do that.
func LookupMany(ctx context.Context, t Table, keys []string, answers []Answer) {
	if many, ok := t.(Many); ok {
		many.LookupMany(ctx, keys, answers)
		return
	}
	for i, key := range keys {
		answers[i].Result, answers[i].Err = t.Lookup(ctx, key)
	}
}
