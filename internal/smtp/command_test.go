package smtp

import (
	"strings"
	"testing"
)

func TestSplitCommand(t *testing.T) {
	tests := []struct{ line, verb, args string }{
		{"", "", ""},
		{" \t ", "", ""},
		{"NOOP", "NOOP", ""},
		{"noop", "NOOP", ""},
		{"  NoOp  ", "NOOP", ""},
		{"MAIL FROM:<a@b.example> SIZE=1", "MAIL", "FROM:<a@b.example> SIZE=1"},
		{"mail\t \tfrom:<A@b.example> ", "MAIL", "from:<A@b.example>"},
		{"NO\x00OP x", "NO\x00OP", "x"},
		{"ehlo\u00e9", "EHLO\u00e9", ""},
	}
	for _, tt := range tests {
		if verb, args := SplitCommand(tt.line); verb != tt.verb || args != tt.args {
			t.Errorf("SplitCommand(%q) = %q, %q, want %q, %q", tt.line, verb, args, tt.verb, tt.args)
		}
	}
}

func FuzzSplitCommand(f *testing.F) {
	f.Add("mail from:<a@b.example>")
	f.Add(" \x00\xff x\ty ")
	f.Fuzz(func(t *testing.T, line string) {
		verb, args := SplitCommand(line)
		if strings.ContainsAny(verb, blanks) || verb == "" && args != "" || args != strings.Trim(args, blanks) {
			t.Errorf("SplitCommand(%q) = %q, %q", line, verb, args)
		}
		if again, rest := SplitCommand(verb + " " + args); again != verb || rest != args {
			t.Errorf("SplitCommand(%q) = %q, %q, want %q, %q", verb+" "+args, again, rest, verb, args)
		}
	})
}
