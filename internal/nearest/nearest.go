// Package nearest finds what may have been meant by a misspelt word, for
// messages that say "did you mean".
//
// It imports only the standard library.
package nearest

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// Words returns the known words that are at most limit edits away from word,
// the nearest first, and those that are equally near in alphabetical order. An
// edit is a letter that was inserted, left out or changed, or two neighbours
// that were swapped. A word that is known itself is nearest to itself.
func Words(word string, known iter.Seq[string], limit int) []string {
	type candidate struct {
		word string
		cost int
	}
	var list []candidate
	for k := range known {
		if d := distance(word, k, limit); d <= limit {
			list = append(list, candidate{k, d})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), strings.Compare(a.word, b.word))
	})
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = c.word
	}
	return out
}

// Word returns the first of Words, or "".
func Word(word string, known iter.Seq[string], limit int) string {
	if words := Words(word, known, limit); len(words) > 0 {
		return words[0]
	}
	return ""
}

// distance is the number of edits that make b of a. When the lengths alone
// demand more than limit, it is limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(last[j]+1, cur[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, last, cur = last, cur, before
	}
	return last[len(b)]
}
