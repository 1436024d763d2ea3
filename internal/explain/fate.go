package explain

import (
	"fmt"
	"io"
	"strings"
)

// SameFate reports whether two answers come to the same: the replies, and where the
// mail ends. The way there does not matter.
func (e Explanation) SameFate(other Explanation) bool { return e.fate() == other.fate() }

// fate is what becomes of the address, in a line.
func (e Explanation) fate() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", e.Reply.Code, e.Reply.Enhanced)
	if e.After != nil {
		fmt.Fprintf(&b, ", after the text %d %s", e.After.Code, e.After.Enhanced)
	}
	for _, r := range e.Recipients {
		fmt.Fprintf(&b, "; %s %s %s %s %s %d %s", r.Address, r.Transport, r.NextHop, r.Mailbox, r.Format, r.Reply.Code, r.Reply.Enhanced)
	}
	return b.String()
}

// PrintFate writes in short what becomes of the address, as a branch of another
// tree, and because of which parameters that is so.
func (e Explanation) PrintFate(w io.Writer, s Style, who string, because []string) {
	p := paper{w, s}
	head := line{{who, bold}, {": ", plain}, e.Reply.span()}
	if len(because) > 0 {
		head = append(head, words(plain, "   because of %s", strings.Join(because, ", ")))
	}
	p.line("", "    ", head)
	blocks := e.afterwards()
	for _, r := range e.Recipients {
		blocks = append(blocks, block{head: line{{r.Address, bold}, {"   class " + r.Class + ", ", plain}, r.where()}})
	}
	p.tree(blocks)
}
