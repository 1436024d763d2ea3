package index

import (
	"errors"
	"io"
	"iter"
)

// Format is one kind of index file: where its records lie among the bytes. It
// knows nothing of keys being addresses, of locks or of source texts. The zero
// Format is not valid.
type Format struct {
	Type   string // of the table: "hash"
	Suffix string // of the file: ".db"
	// Null says that Postfix on Linux stores each key and value with one
	// trailing NUL byte in files of this kind. Files without it are read too.
	Null bool
	// Lock is how Postfix guards the file while it is rewritten in place.
	Lock Lock
	// Incremental says that single records can be put into and deleted from an
	// existing file (postmap -i, -d).
	Incremental bool
	// MaxKey is the length of the longest key with its NUL, 0 for no limit.
	MaxKey int

	// Open makes sense of the bytes of a file, which it may keep and must not
	// modify. It examines the head only, not all records.
	Open func(data []byte) (Reader, error)
	// Write writes a whole file that holds the records, whose keys are unique.
	Write func(w io.Writer, records *Records) error
}

// Lock is a way of locking a file.
type Lock uint8

// The locks that Postfix takes on index files.
const (
	NoLock    Lock = iota // the file is replaced by rename(2) (cdb)
	Flock                 // flock(2) (hash, btree)
	FcntlLock             // fcntl(2) on the whole file (lmdb)
)

// Reader finds records in the bytes of one file. It is safe for concurrent use.
//
// The bytes are not to be trusted: the file may be damaged, and another process
// may be writing it while it is read. A Reader bears whatever it meets: it ends
// in bounded time with an answer or an error that wraps ErrDamaged, and never
// panics. That an answer is not half old and half new is the business of its
// caller, who knows whether the file was modified meanwhile.
type Reader interface {
	// Get returns the value stored under exactly this key, a part of the bytes of
	// the file where that is possible. ErrNone: there is no such key.
	Get(key []byte) (value []byte, err error)
	// All yields every record in the order of the file, which is that of
	// postmap -s. Key and value are valid until the next one is asked for. An
	// error ends the sequence.
	All() iter.Seq2[Record, error]
}

// Record is one key and its value, as stored.
type Record struct {
	Key, Value []byte
}

// Errors of readers.
var (
	ErrNone    = errors.New("no such key")
	ErrDamaged = errors.New("the index file is damaged")
)
