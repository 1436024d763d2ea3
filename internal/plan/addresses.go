package plan

import (
	"bufio"
	"context"
	"io"
	"strings"

	"postern/internal/address"
)

// anybody is the local part that stands for all that no table names.
const anybody = "any-other-address"

// subject is an address to compare.
type subject struct {
	text     string
	unlisted bool
}

// addresses are those that either side knows, each once: those of the tables, those
// that were asked for, and one unlisted for each domain; domains are further ones.
func addresses(ctx context.Context, sides [2]*side, more, domains []string) []subject {
	var list []subject
	seen := map[string]bool{}
	add := func(text string, unlisted bool) {
		if !seen[text] {
			seen[text] = true
			list = append(list, subject{text, unlisted})
		}
	}
	for _, s := range sides {
		for a := range s.inventory.Addresses(ctx) {
			add(a.Text, false)
		}
	}
	for _, a := range more {
		add(address.Fold(a), false)
	}
	for _, s := range sides {
		for _, d := range s.inventory.Domains(ctx) {
			add(anybody+"@"+d.Name, true)
		}
	}
	for _, d := range domains {
		add(anybody+"@"+address.Fold(d), true)
	}
	return list
}

// MaxAddresses is how many different addresses ReadAddresses takes.
const MaxAddresses = 1 << 20

// ReadAddresses reads addresses, one in a line; "#" begins a comment. Of the lines of
// a mail log it takes the recipients, to=<...> and orig_to=<...>. What has no "@" in it is
// passed over, and so is what comes after MaxAddresses.
func ReadAddresses(r io.Reader) ([]string, error) {
	var list []string
	seen := map[string]bool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() && len(list) < MaxAddresses {
		for _, a := range inLine(lines.Text()) {
			if strings.Contains(a, "@") && !seen[a] {
				seen[a] = true
				list = append(list, a)
			}
		}
	}
	return list, lines.Err()
}

// inLine are the addresses of one line.
func inLine(line string) []string {
	var found []string
	for rest := line; ; {
		_, behind, ok := strings.Cut(rest, "to=<")
		if !ok {
			break
		}
		a, end, ok := strings.Cut(behind, ">")
		if !ok {
			break
		}
		found, rest = append(found, a), end
	}
	if found != nil {
		return found
	}
	line, _, _ = strings.Cut(line, "#")
	line = strings.Trim(strings.TrimSpace(line), "<>,;")
	if line == "" || strings.ContainsAny(line, " \t") {
		return nil
	}
	return []string{line}
}
