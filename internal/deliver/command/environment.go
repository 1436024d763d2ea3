package command

import "strings"

// searchPath is PATH of every program, as Postfix sets it.
const searchPath = "/usr/bin:/bin"

// Environment is what all programs get: PATH, and what export_environment names.
// A word of export is NAME, which is passed on when get knows it, or NAME=value.
func Environment(export []string, get func(name string) (string, bool)) []string {
	env := []string{"PATH=" + searchPath}
	for _, word := range export {
		if strings.Contains(word, "=") {
			env = append(env, word)
		} else if value, ok := get(word); ok {
			env = append(env, word+"="+value)
		}
	}
	return env
}

// Censor replaces the characters of a value that are not in allowed by '_'
// (command_expansion_filter). NUL, which would end a value early, goes in any
// case; apart from that an empty list allows all.
func Censor(value, allowed string) string {
	clean := []byte(value)
	for i, c := range clean {
		if c == 0 || allowed != "" && strings.IndexByte(allowed, c) < 0 {
			clean[i] = '_'
		}
	}
	return string(clean)
}
