package command

import (
	"slices"
	"strings"
)

// plain are the characters of a command that needs no shell, as for local(8).
const plain = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t"

// shell runs all other commands.
const shell = "/bin/sh"

// Argv is how local(8) runs a command line: with the words of
// local_command_shell in front when that is set, by /bin/sh -c when there are
// shell meta characters in it or when its first word is no program in PATH of
// env, else word by word.
func Argv(line, localShell string, env []string) []string {
	if words := strings.Fields(localShell); len(words) > 0 {
		return append(words, line)
	}
	words := wordsOf(line)
	if len(words) == 0 || strings.Trim(line, plain) != "" {
		return []string{shell, "-c", line}
	}
	if _, err := find(words[0], env); err != nil {
		return []string{shell, "-c", line}
	}
	return words
}

func wordsOf(line string) []string {
	return strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
}

// Runs reports whether argv is what Argv makes of a command line, whichever
// programs there are.
func Runs(argv []string, line, localShell string) bool {
	if words := strings.Fields(localShell); len(words) > 0 {
		return slices.Equal(argv, append(words, line))
	}
	if len(argv) == 3 && argv[0] == shell && argv[1] == "-c" && argv[2] == line {
		return true
	}
	return strings.Trim(line, plain) == "" && slices.Equal(argv, wordsOf(line)) && len(argv) > 0
}
