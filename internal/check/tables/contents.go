package tables

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/syntax"
)

// ofFiles reports a table whose index has the content of the files that its text names
// (postmap -F).
func ofFiles(t *inventory.Table) bool {
	return slices.ContainsFunc(t.Uses, func(u inventory.Use) bool { return u.Parameter == "tls_server_sni_maps" })
}

// renewed examines an index of contents that is not older than its text: the files that
// the text names may have changed since, as they do when a certificate is renewed.
func (x *examination) renewed(ctx context.Context, t *inventory.Table, index string) {
	text, err := x.rowsOf(ctx, t, true)
	if err != nil {
		return // asking shows it
	}
	old, err := x.rowsOf(ctx, t, false)
	if err != nil {
		return
	}
	var at []origin.At
	for key, row := range text {
		if was, known := old[key]; known && x.compare(t, was.Value, row.Value) == differing {
			at = append(at, row.At())
		}
	}
	if len(at) == 0 {
		return
	}
	slices.SortFunc(at, func(a, b origin.At) int { return a.Line - b.Line })
	x.add(finding.Finding{Code: "VD302", Severity: finding.Warning, At: append(at[:min(len(at), finding.MaxPlaces/2)], places(t)...),
		Message: fmt.Sprintf("the index %s has other contents than the files that the text names have now, in %s: Postfix goes on with the old certificates", index, counted(len(at), "row", "rows")),
		Fix:     fmt.Sprintf("run \"%s\" each time a certificate is renewed", command(t))})
}

// likeness is what a value of an index and that of its text have in common.
type likeness uint8

const (
	equalValues likeness = iota
	differing
	missingFile // which the text names: it differs, or was removed later
	unread      // nobody can tell
)

// compare compares a value of an index with that of the text. Of a table of files the
// index has the content, in base64.
func (x *examination) compare(t *inventory.Table, index, text string) likeness {
	if index == text {
		return equalValues
	}
	if !ofFiles(t) {
		return differing
	}
	built, err := base64.StdEncoding.DecodeString(index)
	if err != nil {
		return differing
	}
	var now []byte
	for _, name := range syntax.Split(text, syntax.Separators) {
		content, err := x.Setup.Opener.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrPermission), err != nil && isRelative(name):
			return unread
		case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(name, "/"):
			return missingFile
		case err != nil:
			return differing // it is the content itself
		}
		now = append(append(now, content...), '\n')
	}
	if bytes.Equal(bytes.Join(bytes.Fields(built), nil), bytes.Join(bytes.Fields(now), nil)) {
		return equalValues
	}
	return differing
}

// isRelative tells the name of a file, relative to where postmap(1) ran, from a content.
func isRelative(name string) bool {
	_, err := base64.StdEncoding.DecodeString(name)
	return err != nil && !strings.HasPrefix(name, "/")
}
