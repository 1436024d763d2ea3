package cf

import (
	"fmt"
	"slices"

	"postern/internal/nearest"
)

// suggestion is ", did you mean ...?" when one of the known names is much like
// the unknown one, else "".
func suggestion(name string, known []string) string {
	near := nearest.Word(name, slices.Values(known), len(name)/2)
	if near == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", near)
}
