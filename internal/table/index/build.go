package index

import (
	"context"
	"errors"
	"io"
	"iter"

	"postern/internal/table"
)

// Builder writes one index file: as a whole from its source text, or by adding
// and deleting rows. The file is always replaced as a whole: it is written
// aside, synced, given the mode and the owner of the one it replaces, and
// renamed. Whoever reads meanwhile has the old or the new one. Builders of
// several processes wait for each other and for Debian's postmap.
type Builder struct {
	Format Format
	Name   string // of the table for messages, "hash:/etc/postfix/virtual"
	Path   string // of the source text; the index is Path + Format.Suffix

	Fold       bool       // fold keys
	UTF8       bool       // leave out lines that are not UTF-8 (smtputf8_enable)
	Alias      bool       // the text has the syntax of aliases(5), and the records of postalias are added
	Files      bool       // values are names of files whose content is stored in base64 (postmap -F)
	Null       *bool      // store a NUL byte behind keys and values (postmap -N, -n); nil: as Format says
	Duplicates Duplicates // what to do with a key that is there already
	NoMode     bool       // a new index does not get the mode of the source text (postmap -p)

	Log      table.Logger            // nil: nothing is said
	Progress func(done, total int64) // bytes of the source text read; nil: nobody watches
}

// Duplicates is what happens to a row whose key is there already.
type Duplicates uint8

// What can be done with a duplicate.
const (
	KeepWarn Duplicates = iota // the first stays, with a warning
	Replace                    // the last counts (postmap -r)
	Keep                       // the first stays (postmap -w)
)

// Rebuild writes the index from the source text. Lines that are left out get a
// warning each and are no error, as in Postfix.
func (b *Builder) Rebuild(ctx context.Context) error { return errors.ErrUnsupported }

// Insert adds the rows of r, which has the syntax of the source text, to the
// index, which is made when there is none (postmap -i). source is the name of r
// for messages.
func (b *Builder) Insert(ctx context.Context, r io.Reader, source string) error {
	return errors.ErrUnsupported
}

// Delete takes the records with these keys out of the index and reports how
// many there were (postmap -d). The file is left alone when there are none.
func (b *Builder) Delete(ctx context.Context, keys iter.Seq[string]) (int, error) {
	return 0, errors.ErrUnsupported
}
