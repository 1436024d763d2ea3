package finding

import (
	"embed"
	"slices"
	"strings"
)

// The manual has a page for each code.
//
//go:embed pages/VD*.md
var pages embed.FS

// Page is the page of the manual about a code: what one sees, why, and what to
// change. Capitals do not matter.
func Page(code string) (string, bool) {
	code = strings.ToUpper(code)
	if !slices.Contains(Codes(), code) {
		return "", false
	}
	text, err := pages.ReadFile("pages/" + code + ".md")
	return string(text), err == nil
}

// Codes are all codes that have a page, in order.
func Codes() []string {
	list, err := pages.ReadDir("pages")
	if err != nil {
		return nil
	}
	codes := make([]string, len(list))
	for i, f := range list {
		codes[i] = strings.TrimSuffix(f.Name(), ".md")
	}
	return codes
}

// Title is what a code means, in a few words; "" for an unknown one.
func Title(code string) string {
	page, _ := Page(code)
	line, _, _ := strings.Cut(page, "\n")
	_, title, _ := strings.Cut(line, ": ")
	return title
}

// Cure is what to do about a code, in one line; "" for an unknown one.
func Cure(code string) string { return section(code, "Cure") }

// section is the text below a heading of a page, up to the next one, on one line.
func section(code, heading string) string {
	page, _ := Page(code)
	_, text, _ := strings.Cut(page, "\n## "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	return strings.Join(strings.Fields(text), " ")
}
