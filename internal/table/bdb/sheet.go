package bdb

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// pageSize is what postmap uses wherever files have blocks of 4096 bytes. Tests write
// other sizes too.
const pageSize = 4096

var le = binary.LittleEndian

// sheet is a page that is being filled.
type sheet struct {
	b     []byte
	items int
	low   int
}

func newSheet(b []byte) sheet { return sheet{b: b, low: len(b)} }

// free is how many bytes are left for items and their offsets.
func (s *sheet) free() int { return s.low - headerSize - 2*s.items }

// take is the place of the next item.
func (s *sheet) take(n int) []byte {
	s.low -= n
	le.PutUint16(s.b[headerSize+2*s.items:], uint16(s.low))
	s.items++
	return s.b[s.low : s.low+n]
}

// finish writes the header.
func (s *sheet) finish(number, prev, next uint32, level, kind byte) {
	putHeader(s.b, number, prev, next, s.items, s.low, level, kind)
}

func putHeader(b []byte, number, prev, next uint32, items, low int, level, kind byte) {
	le.PutUint32(b[4:], 1) // the log sequence number of files without a log
	le.PutUint32(b[8:], number)
	le.PutUint32(b[12:], prev)
	le.PutUint32(b[16:], next)
	le.PutUint16(b[20:], uint16(items))
	le.PutUint16(b[22:], uint16(low))
	b[24], b[25] = level, kind
}

// stack is pages whose numbers follow one another.
type stack struct {
	b    []byte
	size int    // of a page
	next uint32 // number of the next page
}

// newStack has room for so many pages.
func newStack(first uint32, pages, size int) *stack {
	return &stack{b: make([]byte, 0, pages*size), size: size, next: first}
}

// page is one more page, and its number.
func (s *stack) page() (b []byte, number uint32) {
	n := len(s.b)
	if n+s.size <= cap(s.b) {
		s.b = s.b[:n+s.size]
	} else {
		s.b = append(s.b, make([]byte, s.size)...)
	}
	s.next++
	return s.b[n : n+s.size : n+s.size], s.next - 1
}

// long puts data on a chain of overflow pages, of which it returns the first.
func (s *stack) long(data []byte) (first uint32) {
	first = s.next
	for prev := uint32(0); len(data) > 0; {
		b, number := s.page()
		n := copy(b[headerSize:], data)
		data = data[n:]
		next := number + 1
		if len(data) == 0 {
			next = 0
		}
		putHeader(b, number, prev, next, 1, n, 0, overflow)
		prev = number
	}
	return first
}

// longPages is how many pages a chain for n bytes has.
func longPages(n, size int) int { return (n + size - headerSize - 1) / (size - headerSize) }

// putMeta writes what all kinds of files have in common on page 0.
func putMeta(b []byte, magic uint32, kind byte, last uint32) {
	le.PutUint32(b[4:], 1)
	le.PutUint32(b[12:], magic)
	le.PutUint32(b[16:], 9)
	le.PutUint32(b[20:], uint32(len(b)))
	b[25] = kind
	le.PutUint32(b[32:], last)
	rand.Read(b[52:72]) // the identity of the file, for libdb's caches
}

// writeAll writes the parts of a file.
func writeAll(w io.Writer, parts [][]byte) error {
	for _, part := range parts {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// spread calls do for every number below n, on all processors, and returns the first
// error. Numbers are begun in order. In each call, claim(k) returns first plus what the
// calls for smaller numbers claimed, and waits until that is known. Every call must
// claim once, also when it fails.
func spread(n int, first uint32, do func(i int, claim func(k int) uint32) error) (next uint32, err error) {
	turns := make([]chan uint32, n+1)
	for i := range turns {
		turns[i] = make(chan uint32, 1)
	}
	turns[0] <- first
	var begun atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, n)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(begun.Add(1)) - 1; i < n; i = int(begun.Add(1)) - 1 {
				errs[i] = do(i, func(k int) uint32 {
					base := <-turns[i]
					turns[i+1] <- base + uint32(k)
					return base
				})
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return <-turns[n], nil
}
