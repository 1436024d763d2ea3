package cf

import "fmt"

// suggestion is ", did you mean ...?" when one of the known names is much like
// the unknown one, else "".
func suggestion(name string, known []string) string {
	best, found := len(name)/2+1, ""
	for _, k := range known {
		if d := editDistance(name, k); d < best {
			best, found = d, k
		}
	}
	if found == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", found)
}

// editDistance counts the insertions, deletions and replacements of bytes that
// turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
