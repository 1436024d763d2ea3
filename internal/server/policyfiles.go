package server

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/helper"
	"postern/internal/syntax"
	"postern/internal/table"
)

// indexes are what the file names of indexed tables end in.
var indexes = [...]string{"", ".db", ".lmdb", ".cdb"}

// addFiles adds the names of files in the value of a parameter: "/name",
// "type:/name", "type:name" below the configuration directory, "attribute=/name",
// and those that the files of tables name.
func addFiles(p *helper.Policy, dir, text string) {
	for _, word := range tableWords(text) {
		word = strings.TrimLeft(word, "!")
		if i := strings.IndexAny(word, ":="); i >= 0 && !strings.HasPrefix(word, "/") {
			kind, name := word[:i], word[i+1:]
			if word[i] == ':' && name != "" && !filepath.IsAbs(name) && !strings.ContainsAny(name, ":$@[") {
				name = filepath.Join(dir, name)
			}
			word = name
			if withFile[kind] {
				addNamed(p, dir, word, maxNamed)
			}
		}
		if !filepath.IsAbs(word) || len(word) == 1 {
			continue
		}
		for _, suffix := range indexes {
			p.Files[filepath.Clean(word)+suffix] = true
		}
	}
}

// tableWords are the words of a value, those in braces too, without "proxy:" and
// "debug:".
func tableWords(text string) []string {
	words := syntax.Split(strings.NewReplacer("{", " ", "}", " ").Replace(text), syntax.Separators)
	for i, word := range words {
		words[i] = table.Direct(strings.TrimPrefix(table.Direct(word), "debug:"))
	}
	return words
}

// withFile are the table types whose name is a file of parameters.
var withFile = map[string]bool{"mysql": true, "pgsql": true, "ldap": true, "memcache": true, "mta-sts": true}

// Names of files and of directories of certificates in a file of parameters, and
// in an option file of MySQL.
var (
	fileNames = []string{"tls-cert-file", "tls-key-file", "tls-CAfile", "tls-ca-cert-file", "tls-cert", "tls-key", "CAfile",
		"option-file", "ssl-ca", "ssl-cert", "ssl-key"}
	directoryNames = []string{"tls-CApath", "tls-ca-cert-dir", "ssl-capath"}
)

// maxNamed is how deep files may name one another.
const maxNamed = 10

// addNamed adds the files that a file of parameters names: keys and certificates
// for the connection, and MySQL's options with what they include.
func addNamed(p *helper.Policy, dir, name string, depth int) {
	text, err := os.ReadFile(name)
	if err != nil || depth == 0 {
		return // whoever opens the table says so
	}
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if word, argument, _ := strings.Cut(line, " "); strings.HasPrefix(word, "!include") {
			addIncluded(p, word, absolute(filepath.Dir(name), strings.TrimSpace(argument)), depth)
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.ReplaceAll(strings.TrimSpace(key), "_", "-")
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		if !ok || value == "" {
			continue
		}
		value = absolute(dir, value)
		switch {
		case slices.Contains(directoryNames, key):
			p.Directories[value] = true
		case slices.Contains(fileNames, key):
			p.Files[value] = true
		}
		if key == "option-file" {
			addNamed(p, dir, value, depth-1)
		}
	}
}

// addIncluded adds what an option file of MySQL includes.
func addIncluded(p *helper.Policy, word, name string, depth int) {
	files := []string{name}
	if word == "!includedir" {
		p.Directories[name] = true
		files, _ = filepath.Glob(filepath.Join(name, "*.cnf"))
	}
	for _, file := range files {
		p.Files[file] = true
		addNamed(p, filepath.Dir(file), file, depth-1)
	}
}

func absolute(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

// addAuthorities adds the directories of smtp_tls_CApath and its like, and the
// files that tafile= of a policy table names.
func addAuthorities(p *helper.Policy, v *config.Settings) {
	for _, prefix := range [...]string{"smtp_", "lmtp_", "smtpd_"} {
		if dir := v.String(prefix + "tls_CApath"); filepath.IsAbs(dir) && filepath.Clean(dir) != "/" {
			p.Directories[filepath.Clean(dir)] = true
		}
		files, _ := textsOf(v, prefix+"tls_policy_maps")
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				continue // whoever opens the table says so
			}
			for _, word := range strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" \t\r\n;,{}", r) }) {
				if file, ok := strings.CutPrefix(word, "tafile="); ok && filepath.IsAbs(file) {
					p.Files[filepath.Clean(file)] = true
				}
			}
		}
	}
}

// withText are the table types that answer from a text file, or from an index
// that was made of one.
var withText = map[string]bool{"texthash": true, "hash": true, "btree": true, "lmdb": true, "cdb": true, "dbm": true, "sdbm": true}

// textsOf are the text files of a parameter's tables, and what is none: "type:name".
func textsOf(v *config.Settings, parameter string) (files, others []string) {
	for _, word := range tableWords(v.String(parameter)) {
		kind, name, ok := strings.Cut(word, ":")
		if kind == "unionmap" && name == "" {
			continue // its members follow
		}
		var st unix.Stat_t
		if name = absolute(v.Dir(), name); ok && withText[kind] && unix.Stat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			files = append(files, name)
		} else {
			others = append(others, word)
		}
	}
	return files, others
}
