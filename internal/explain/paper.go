package explain

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Style says how an explanation is printed.
type Style struct {
	Width  int  // columns of the terminal; 0: lines are as long as they get
	Colour bool // with the colours of a terminal
}

// Colours of a terminal (ECMA-48, 8.3.117).
const (
	plain  = ""
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// span is a piece of a line in one colour.
type span struct{ text, colour string }

// line is what stands on one line, if the terminal is wide enough.
type line []span

func words(colour, format string, args ...any) span {
	return span{fmt.Sprintf(format, args...), colour}
}

// block is a branch of the tree: a head, and what belongs to it.
type block struct {
	head  line
	below []line
}

// paper is what a tree is written on.
type paper struct {
	w     io.Writer
	style Style
}

// tree writes blocks as the branches of one trunk.
func (p paper) tree(blocks []block) {
	for i, b := range blocks {
		mark, trunk := "|- ", "|    "
		if i == len(blocks)-1 {
			mark, trunk = "`- ", "     "
		}
		p.line(mark, trunk, b.head)
		for _, l := range b.below {
			p.line(trunk, trunk+"  ", l)
		}
	}
}

// line writes a line behind first, and what does not fit behind next.
func (p paper) line(first, next string, l line) {
	var b strings.Builder
	b.WriteString(first)
	column, blanks := len(first), 0
	for _, s := range l {
		for word := range pieces(printable(s.text)) {
			if word[0] == ' ' {
				blanks += len(word)
				continue
			}
			n := utf8.RuneCountInString(word)
			if p.style.Width > 0 && column > len(next) && column+blanks+n > p.style.Width {
				b.WriteString("\n" + next)
				column, blanks = len(next), 0
			}
			b.WriteString(strings.Repeat(" ", blanks) + p.paint(s.colour, word))
			column, blanks = column+blanks+n, 0
		}
	}
	b.WriteByte('\n')
	io.WriteString(p.w, b.String())
}

// pieces cuts text into words and the blanks between them.
func pieces(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for text != "" {
			blank := text[0] == ' '
			n := strings.IndexFunc(text, func(r rune) bool { return (r == ' ') != blank })
			if n < 0 {
				n = len(text)
			}
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

func (p paper) paint(colour, text string) string {
	if !p.style.Colour || colour == plain {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// printable keeps text on its line: nothing that comes from the command line or a
// table can give orders to the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return '?'
	}, text)
}
