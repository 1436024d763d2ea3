package cf

import (
	"fmt"
	"slices"

	"postern/internal/nearest"
)

// near is the known name that is much like an unknown one, or "".
func near(name string, known []string) string {
	return nearest.Word(name, slices.Values(known), len(name)/2)
}

// suggestion is ", did you mean ...?" when one of the known names is much like
// the unknown one, else "".
func suggestion(name string, known []string) string {
	if word := near(name, known); word != "" {
		return fmt.Sprintf(", did you mean %q?", word)
	}
	return ""
}
