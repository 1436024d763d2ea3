package index

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/text"
)

// Builder writes one index file: as a whole from its source text, or by adding
// and deleting rows. The file is replaced as a whole: it is written aside, synced,
// given the mode and the owner of the one it replaces, and renamed. Whoever reads
// meanwhile has the old or the new one. Where that is not permitted (see
// overwrite) it is rewritten in place, under the lock that Postfix takes too.
// Builders of several processes wait for each other and, but for cdb, for
// Debian's postmap.
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

	Log      table.Logger           // nil: nothing is said
	Progress func(part float64)     // how much of the work is done, from 0 to 1; nil: nobody watches
	Now      func() time.Time       // nil: time.Now
	Hostname func() (string, error) // nil: os.Hostname
}

// Duplicates is what happens to a row whose key is there already.
type Duplicates uint8

// What can be done with a duplicate.
const (
	KeepWarn Duplicates = iota // the first stays, with a warning
	Replace                    // the last counts (postmap -r)
	Keep                       // the first stays (postmap -w)
)

// Shares of the work in Builder.Progress, measured on a million rows.
const (
	partRead  = 0.3
	partBuild = 0.5
)

var errNotIncremental = errors.New("incremental updates are not supported: the file can only be built as a whole")

// Rebuild writes the index from the source text. Lines that are left out get a
// warning each and are no error, as in Postfix.
func (b *Builder) Rebuild(ctx context.Context) error {
	source, err := os.Open(b.Path)
	if err != nil {
		return table.OpenError(b.Path, err)
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return table.OpenError(b.Path, err)
	}
	return b.replace(ctx, b.attributes(info), false, func(reader) (*Records, error) {
		content, err := b.parse(ctx, source, b.Path, info.Size())
		if err != nil {
			return nil, err
		}
		records := new(Records)
		records.Grow(content.Len()+3, int(info.Size())+2*content.Len())
		for key, value := range b.rows(content) {
			if err := b.add(records, key, value); err != nil {
				return nil, err
			}
		}
		b.addAlias(records)
		return records, ctx.Err()
	})
}

// Insert adds the rows of r, which has the syntax of the source text, to the
// index, which is made when there is none (postmap -i). source is the name of r
// for messages.
func (b *Builder) Insert(ctx context.Context, r io.Reader, source string) error {
	if !b.Format.Incremental {
		return errNotIncremental
	}
	content, err := b.parse(ctx, r, source, 0)
	if err != nil {
		return err
	}
	return b.replace(ctx, fresh(nil), true, func(old reader) (*Records, error) {
		added := make(map[string]string, content.Len())
		for key, value := range b.rows(content) {
			added[string(b.stored(key))] = value
		}
		records := new(Records)
		err := old.each(func(r Record) error {
			key := string(r.Key)
			if _, ok := added[key]; ok && b.Duplicates == Replace {
				return nil
			} else if ok {
				b.duplicate(key)
				delete(added, key)
			}
			records.Add(r.Key, r.Value)
			return ctx.Err()
		})
		if err != nil {
			return nil, err
		}
		for key := range content.Pairs() {
			if value, ok := added[string(b.stored(key))]; ok {
				if err := b.add(records, key, value); err != nil {
					return nil, err
				}
			}
		}
		return records, ctx.Err()
	})
}

// Delete takes the records with these keys out of the index and reports how
// many there were (postmap -d). The file is left alone when there are none.
func (b *Builder) Delete(ctx context.Context, keys iter.Seq[string]) (int, error) {
	if !b.Format.Incremental {
		return 0, errNotIncremental
	}
	doomed := make(map[string]bool)
	for key := range keys {
		if b.Fold {
			key = (&table.Opener{UTF8: b.UTF8}).Fold(key)
		}
		doomed[key], doomed[key+"\x00"] = true, true
	}
	deleted := 0
	err := b.replace(ctx, fresh(nil), true, func(old reader) (*Records, error) {
		if old.mapping == nil {
			return nil, table.OpenError("database "+b.index(), syscall.ENOENT)
		}
		records := new(Records)
		err := old.each(func(r Record) error {
			if doomed[string(r.Key)] {
				deleted++
			} else {
				records.Add(r.Key, r.Value)
			}
			return ctx.Err()
		})
		if err == nil && deleted == 0 {
			err = errUnchanged
		}
		return records, err
	})
	return deleted, err
}

func (b *Builder) index() string { return b.Path + b.Format.Suffix }

// parse reads rows and warns of those that are left out.
func (b *Builder) parse(ctx context.Context, r io.Reader, name string, size int64) (*text.Content, error) {
	data, err := readAll(ctx, r, size, func(done int64) { b.progress(partRead * float64(done) / float64(max(size, done, 1))) })
	if err != nil {
		return nil, table.OpenError(name, err)
	}
	content, err := text.Parse(name, data, text.Options{Alias: b.Alias, Fold: b.Fold, UTF8: b.UTF8, Last: b.Duplicates == Replace})
	if err != nil {
		return nil, err
	}
	for _, p := range content.Problems {
		switch {
		case p.Kind == text.Duplicate:
			b.duplicate(p.Key)
		case p.Kind == text.NoValue || p.Kind == text.NotLocal:
			b.warn("%s", strings.TrimSuffix(p.Error(), text.Ignoring))
		default:
			b.warn("%v", &p)
		}
	}
	b.progress(partBuild)
	return content, nil
}

// duplicate warns of a row that was left out, as Postfix words it.
func (b *Builder) duplicate(key string) {
	if b.Duplicates == KeepWarn {
		file := b.index()
		switch b.Format.Type {
		case "cdb":
			file = b.Path
		case "lmdb":
			file = b.Name
		}
		b.warn("%s: duplicate entry: \"%s\"", file, strings.TrimSuffix(key, "\x00"))
	}
}

func (b *Builder) warn(format string, args ...any) {
	if b.Log != nil {
		b.Log.Warningf(format, args...)
	}
}

func (b *Builder) progress(part float64) {
	if b.Progress != nil {
		b.Progress(part)
	}
}

// stored is a key or value with its NUL byte, if it gets one.
func (b *Builder) stored(s string) []byte {
	null := b.Format.Null
	if b.Null != nil {
		null = *b.Null
	}
	if null {
		return append([]byte(s), 0)
	}
	return []byte(s)
}

// rows yields the keys and values of the content. For Files a value is what the
// files it names hold; rows whose files cannot be read are left out with a
// warning.
func (b *Builder) rows(content *text.Content) iter.Seq2[string, string] {
	if !b.Files {
		return content.Pairs()
	}
	return func(yield func(key, value string) bool) {
		for e := range content.All() {
			data, err := ReadFiles(e.Value)
			if err != nil {
				b.warn("%s, line %d: %v: skipping this entry", e.At().File, e.At().Line, err)
			} else if !yield(e.Key, base64.StdEncoding.EncodeToString(data)) {
				return
			}
		}
	}
}

// ReadFiles is the content of all files of a list (postmap -F), with a newline
// between them.
func ReadFiles(list string) ([]byte, error) {
	names := syntax.Split(list, syntax.Separators)
	if len(names) == 0 {
		return nil, fmt.Errorf("empty pathname list: >>%s<<'", list)
	}
	var all []byte
	for i, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, table.OpenError(name, err)
		}
		if i > 0 {
			all = append(all, '\n')
		}
		all = append(all, data...)
	}
	return all, nil
}

// add appends a row.
func (b *Builder) add(records *Records, key, value string) error {
	k := b.stored(key)
	if limit := b.Format.MaxKey; limit > 0 && len(k) > limit {
		return fmt.Errorf("error writing %s: key %.40q... is longer than %d bytes, which is the limit of %s files", b.index(), key, limit-1, b.Format.Type)
	}
	records.Add(k, b.stored(value))
	return nil
}

// addAlias adds the records that postalias(1) puts into every alias file: "@"
// says where the file ends for NIS, and the others when and where it was made.
func (b *Builder) addAlias(records *Records) {
	if !b.Alias {
		return
	}
	now, hostname := time.Now, os.Hostname
	if b.Now != nil {
		now = b.Now
	}
	if b.Hostname != nil {
		hostname = b.Hostname
	}
	host, err := hostname()
	if err != nil {
		host = "localhost"
	}
	records.Add(b.stored("@"), b.stored("@"))
	records.Add([]byte("YP_LAST_MODIFIED"), []byte(strconv.FormatInt(now().Unix(), 10)))
	records.Add([]byte("YP_MASTER_NAME"), []byte(host))
}
