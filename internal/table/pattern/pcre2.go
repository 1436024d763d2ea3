package pattern

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"go.elara.ws/pcre/lib"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
)

const (
	maxGroups   = 1000      // of one PCRE2 pattern
	matchLimit  = 1_000_000 // steps of one match, in PCRE2's own count
	heapLimit   = 20_000    // KiB of memory of one match
	firstBuffer = 256       // bytes for a subject, to begin with
	errorBuffer = 256       // bytes for a text of pcre2_get_error_message
	wordSize    = 8         // of a size_t and more than an int
)

var (
	errTooManyGroups = fmt.Errorf("more than %d groups", maxGroups)
	errBacktracking  = errors.New("the pattern needs too much backtracking for this key")
	errMemory        = errors.New("out of memory")
)

// backtracking is a pattern run by PCRE2, which has look-around and
// back-references, and a limit to how long it tries. The library is C that was
// translated to Go; what it points to is memory outside of the Go heap.
type backtracking struct {
	code    uintptr // pcre2_code; matches only read it
	groups  int
	scratch sync.Pool // of *scratch
}

// newBacktracking compiles a pattern of bytes with options of pcre2_compile(3).
func newBacktracking(source string, options uint32) (*backtracking, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	// One block holds two results of the library, and the source.
	block := libc.Xmalloc(tls, types.Size_t(2*wordSize+len(source)+1))
	if block == 0 {
		return nil, errMemory
	}
	defer libc.Xfree(tls, block)
	status, offset, text := block, block+wordSize, block+2*wordSize
	copy(libc.GoBytes(text, len(source)), source)
	code := lib.Xpcre2_compile_8(tls, text, lib.Tsize_t(len(source)), options, status, offset, 0)
	if code == 0 {
		return nil, fmt.Errorf("%s at offset %d", errorText(tls, int32(readInt(status))), readWord(offset))
	}
	b := &backtracking{code: code}
	runtime.AddCleanup(b, freeCode, code)
	lib.Xpcre2_pattern_info_8(tls, code, lib.DPCRE2_INFO_CAPTURECOUNT, status)
	b.groups = int(readInt(status))
	if b.groups >= maxGroups {
		return nil, errTooManyGroups
	}
	return b, nil
}

func freeCode(code uintptr) {
	tls := libc.NewTLS()
	defer tls.Close()
	lib.Xpcre2_code_free_8(tls, code)
}

// readInt reads an int of the library, readWord a size_t. Where those have 32
// bits, so has uintptr.
func readInt(p uintptr) uint32 { return binary.NativeEndian.Uint32(libc.GoBytes(p, 4)) }

func readWord(p uintptr) int {
	if uintSize == 4 {
		return int(int32(readInt(p)))
	}
	return int(binary.NativeEndian.Uint64(libc.GoBytes(p, 8)))
}

// uintSize is the number of bytes of a size_t.
const uintSize = 4 << (^uintptr(0) >> 63)

// errorText is the library's text for one of its error numbers.
func errorText(tls *libc.TLS, number int32) string {
	buffer := libc.Xmalloc(tls, errorBuffer)
	if buffer == 0 {
		return errMemory.Error()
	}
	defer libc.Xfree(tls, buffer)
	n := lib.Xpcre2_get_error_message_8(tls, number, buffer, errorBuffer)
	if n < 0 {
		return fmt.Sprintf("error %d of the PCRE2 library", number)
	}
	return string(libc.GoBytes(buffer, int(n)))
}

func (b *backtracking) match(s *subject, wantGroups bool) ([]string, bool, error) {
	work, _ := b.scratch.Get().(*scratch)
	if work == nil {
		work = newScratch(b.groups + 1)
	}
	defer b.scratch.Put(work)
	if !work.setSubject(s.key) {
		return nil, false, errMemory
	}
	code := lib.Xpcre2_match_8(work.tls, b.code, work.buffer, lib.Tsize_t(len(s.key)), 0, 0, work.data, work.limits)
	runtime.KeepAlive(b)
	switch {
	case code == lib.DPCRE2_ERROR_NOMATCH:
		return nil, false, nil
	case code == lib.DPCRE2_ERROR_MATCHLIMIT || code == lib.DPCRE2_ERROR_HEAPLIMIT || code == lib.DPCRE2_ERROR_DEPTHLIMIT:
		return nil, false, errBacktracking
	case code < 0:
		return nil, false, errors.New(errorText(work.tls, code))
	case !wantGroups:
		return nil, true, nil
	}
	return work.groups(s.key, b.groups+1), true, nil
}

// scratch is the memory of one match at a time.
type scratch struct {
	memory
	size    int             // of the buffer
	cleanup runtime.Cleanup // frees memory
}

// memory is what a scratch has outside of the Go heap.
type memory struct {
	tls    *libc.TLS
	data   uintptr // pcre2_match_data
	limits uintptr // pcre2_match_context
	buffer uintptr // holds the subject
}

func newScratch(groups int) *scratch {
	tls := libc.NewTLS()
	w := &scratch{memory: memory{
		tls:    tls,
		data:   lib.Xpcre2_match_data_create_8(tls, uint32(groups), 0),
		limits: lib.Xpcre2_match_context_create_8(tls, 0),
	}}
	if w.limits != 0 {
		lib.Xpcre2_set_match_limit_8(tls, w.limits, matchLimit)
		lib.Xpcre2_set_heap_limit_8(tls, w.limits, heapLimit)
	}
	w.cleanup = runtime.AddCleanup(w, memory.free, w.memory)
	return w
}

func (m memory) free() {
	lib.Xpcre2_match_data_free_8(m.tls, m.data)
	lib.Xpcre2_match_context_free_8(m.tls, m.limits)
	libc.Xfree(m.tls, m.buffer)
	m.tls.Close()
}

// setSubject copies the key to where the library can read it. It reports
// whether there was memory for everything a match needs.
func (w *scratch) setSubject(key string) bool {
	if w.data == 0 || w.limits == 0 {
		return false
	}
	if w.buffer == 0 || len(key) > w.size {
		size := max(firstBuffer, 2*len(key))
		buffer := libc.Xrealloc(w.tls, w.buffer, types.Size_t(size))
		if buffer == 0 {
			return false
		}
		w.cleanup.Stop()
		w.buffer, w.size = buffer, size
		w.cleanup = runtime.AddCleanup(w, memory.free, w.memory)
	}
	copy(libc.GoBytes(w.buffer, w.size), key)
	return true
}

// groups returns the text of the groups of the last match. One that took no
// part has an offset of -1.
func (w *scratch) groups(key string, n int) []string {
	offsets := lib.Xpcre2_get_ovector_pointer_8(w.tls, w.data)
	groups := make([]string, n)
	for i := range groups {
		from := readWord(offsets + uintptr(2*i)*uintSize)
		to := readWord(offsets + uintptr(2*i+1)*uintSize)
		if 0 <= from && from <= to && to <= len(key) {
			groups[i] = key[from:to]
		}
	}
	return groups
}
