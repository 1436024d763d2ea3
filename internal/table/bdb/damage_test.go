package bdb

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/internal/table/index"
)

// small is records that need few pages of 512 bytes, but one of every kind.
func small() []pair {
	return append(numbered(22), pair{"long\x00", strings.Repeat("long", 130) + "\x00"}, pair{strings.Repeat("key", 50) + "\x00", "of a long key\x00"})
}

// outcome is what became of the records of a damaged file.
type outcome struct {
	right, failed, lost, wrong int
}

// examine asks a damaged file for everything.
func examine(t *testing.T, format index.Format, data []byte, pairs []pair, what string) (o outcome) {
	t.Helper()
	r, err := format.Open(data)
	if err != nil {
		o.failed = len(pairs)
		return o
	}
	for _, p := range pairs {
		switch value, err := r.Get([]byte(p.key)); {
		case errors.Is(err, index.ErrDamaged):
			o.failed++
		case err == index.ErrNone:
			o.lost++
		case err != nil:
			t.Fatalf("%s: Get(%.50q): %v", what, p.key, err)
		case string(value) != p.value:
			o.wrong++
		default:
			o.right++
		}
	}
	n := 0
	for _, err := range r.All() {
		if n++; n > len(data) {
			t.Fatalf("%s: All does not end", what)
		}
		if err != nil && !errors.Is(err, index.ErrDamaged) {
			t.Fatalf("%s: All: %v", what, err)
		}
	}
	return o
}

// Parts of a file that nothing else in it vouches for.
const (
	inKey = 1 << iota
	inValue
	inHead // length and kind of an item in a leaf
)

// weak says for every byte of a file of pages of 512 bytes what it belongs to.
func weak(data []byte, pairs []pair) []int {
	mask := make([]int, len(data))
	mark := func(text string, what int) {
		for first := true; len(text) > 0; first = false {
			n := min(len(text), 512-headerSize) // as much as lies on one overflow page
			at := bytes.Index(data, []byte(text[:n]))
			for i := range n {
				mask[at+i] |= what
			}
			for i := 1; i <= leafHead && first; i++ {
				mask[at-i] |= inHead
			}
			text = text[n:]
		}
	}
	for _, p := range pairs {
		mark(p.key, inKey)
		mark(p.value, inValue)
	}
	return mask
}

// A byte is changed, each one in turn. Nothing panics or fails to end, and what is found
// is right: except where the byte belongs to a value, or to a key, which may be in order and in
// its bucket all the same; to a link that now ends the chain of a bucket early; to the kind of
// an item in a leaf, which may now be marked as deleted, or to its length, which may
// change a little within the room up to the next multiple of four.
func TestFlips(t *testing.T) {
	for _, format := range formats {
		t.Run(format.Type, func(t *testing.T) {
			t.Parallel()
			pairs := small()
			good := writeSize(t, format.Type, pairs, 512)
			weak := weak(good, pairs)
			data := bytes.Clone(good)
			var sum outcome
			for at := range data {
				for _, mask := range []byte{0x01, 0x80, good[at]} {
					data[at] ^= mask
					what := fmt.Sprintf("byte %d of page %d ^ %#x", at%512, at/512, mask)
					o := examine(t, format, data, pairs, what)
					data[at] = good[at]
					sum = outcome{sum.right + o.right, sum.failed + o.failed, sum.lost + o.lost, sum.wrong + o.wrong}
					head := format.Type == "btree" && (weak[at]&inHead != 0 || good[at] == offPage && mask == deletedFlag)
					if o.wrong > 0 && weak[at]&inValue == 0 && !head {
						t.Errorf("%s: %d wrong values", what, o.wrong)
					}
					link := at%512 >= 16 && at%512 < 20 && format.Type == "hash"
					if o.lost > 0 && weak[at]&inKey == 0 && !head && !link {
						t.Errorf("%s: %d keys lost", what, o.lost)
					}
				}
			}
			t.Logf("keys asked for in damaged files of %d bytes: %d right, %d an error, %d lost, %d with another value",
				len(good), sum.right, sum.failed, sum.lost, sum.wrong)
		})
	}
}

// A file that was cut off is an error, also when its first page does not know.
func TestCut(t *testing.T) {
	for _, format := range formats {
		pairs := small()
		good := writeSize(t, format.Type, pairs, 512)
		for n := range good {
			if _, err := format.Open(good[:n:n]); !errors.Is(err, index.ErrDamaged) {
				t.Errorf("%s: Open of %d bytes of %d: %v", format.Type, n, len(good), err)
			}
			if n%512 != 0 || n == 0 {
				continue
			}
			data := bytes.Clone(good[:n])
			le.PutUint32(data[32:], uint32(n/512-1))
			if o := examine(t, format, data, pairs, fmt.Sprintf("%d bytes", n)); o.lost > 0 || o.wrong > 0 || o.failed == 0 {
				t.Errorf("%s: %d bytes of %d: %+v", format.Type, n, len(good), o)
			}
		}
	}
}

// A page that never reached the disk is an error.
func TestZeroed(t *testing.T) {
	for _, format := range formats {
		pairs := small()
		good := writeSize(t, format.Type, pairs, 512)
		for at := 0; at < len(good); at += 512 {
			data := bytes.Clone(good)
			clear(data[at : at+512])
			if o := examine(t, format, data, pairs, fmt.Sprintf("zeros at %d", at)); o.lost > 0 || o.wrong > 0 || o.failed == 0 {
				t.Errorf("%s: zeros at %d of %d: %+v", format.Type, at, len(good), o)
			}
		}
	}
}

// Files of random pages, and pages in the wrong places.
func TestShuffled(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, format := range formats {
		pairs := small()
		good := writeSize(t, format.Type, pairs, 512)
		pages := len(good) / 512
		for range 2000 {
			data := bytes.Clone(good)
			for range 1 + random.IntN(3) {
				from, to := random.IntN(pages), 1+random.IntN(pages-1)
				copy(data[to*512:][:512], good[from*512:])
				le.PutUint32(data[to*512+8:], uint32(to)) // not to be refused at first sight
			}
			if o := examine(t, format, data, pairs, "shuffled"); o.wrong > 0 {
				t.Errorf("%s: %+v", format.Type, o)
			}
		}
	}
}

// While others write to the file that is mapped, nothing worse than a wrong answer happens.
func TestChangingMap(t *testing.T) {
	for _, format := range formats {
		pairs := small()
		good := writeSize(t, format.Type, pairs, 512)
		file, err := os.Create(filepath.Join(t.TempDir(), "x.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(good); err != nil {
			t.Fatal(err)
		}
		data, err := syscall.Mmap(int(file.Fd()), 0, len(good), syscall.PROT_READ, syscall.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			random := rand.New(rand.NewPCG(9, 10))
			for {
				select {
				case <-done:
					return
				default:
				}
				at := 512 + random.IntN(len(good)-512)
				file.WriteAt([]byte{byte(random.Uint32())}, int64(at))
				file.WriteAt(good[at:at+1], int64(at))
			}
		})
		for range 300 {
			examine(t, format, data, pairs, "changing")
		}
		close(done)
		wg.Wait()
		if err := syscall.Munmap(data); err != nil {
			t.Fatal(err)
		}
	}
}

// Many ask one reader at the same time.
func TestConcurrent(t *testing.T) {
	for _, format := range formats {
		pairs := numbered(500)
		r := opened(t, format, writeSize(t, format.Type, pairs, 512))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for _, p := range pairs {
					if value, err := r.Get([]byte(p.key)); err != nil || string(value) != p.value {
						t.Errorf("Get(%q) = %q, %v", p.key, value, err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// A value that lies on its page is not copied.
func TestAllocations(t *testing.T) {
	for _, format := range formats {
		pairs := numbered(500)
		r := opened(t, format, writeSize(t, format.Type, pairs, pageSize))
		present, absent := []byte(pairs[0].key), []byte("absent@example.test\x00")
		n := testing.AllocsPerRun(100, func() {
			if _, err := r.Get(present); err != nil {
				t.Error(err)
			}
			if _, err := r.Get(absent); err != index.ErrNone {
				t.Error(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", format.Type, n)
		}
	}
}

// Pages as Berkeley DB wrote them before 4.7 (their keys in no order) are read too.
func TestUnsortedPages(t *testing.T) {
	pairs := small()
	data := writeSize(t, "hash", pairs, 512)
	for at := 512; at < len(data); at += 512 {
		if data[at+25] == hashSorted {
			data[at+25] = hashUnsorted
		}
	}
	holds(t, opened(t, Hash(), data), pairs)
}
