package spool

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Chunks of a snapshot.
const (
	chunkHead  = 8
	maxChunk   = 64 << 20
	chunkSlots = 1024
	chunkDebts = 256
	writeSize  = 1 << 20
)

// chunkWriter writes chunks to a file. The first error stays.
type chunkWriter struct {
	file File
	key  salt
	seq  uint64
	n    int64 // chunks
	off  int64 // where buf goes
	buf  []byte
	err  error
}

func (w *chunkWriter) chunk(b []byte) {
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(b)))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, w.key.checksum(w.seq, w.n, b))
	w.buf = append(w.buf, b...)
	w.n++
	if len(w.buf) >= writeSize {
		w.flush()
	}
}

func (w *chunkWriter) flush() {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.file.WriteAt(w.buf, w.off)
	}
	w.off += int64(len(w.buf))
	w.buf = w.buf[:0]
}

// slots writes all slots of frozen leaves.
func (w *chunkWriter) slots(leaves []leaf) {
	var b []byte
	for _, l := range leaves {
		for i := range l.n {
			if len(b) == chunkSlots*slotSize {
				w.chunk(b)
				b = b[:0]
			}
			b = l.slots[i].append(b)
		}
	}
	if len(b) > 0 {
		w.chunk(b)
	}
}

// appendWorks makes the chunks that tell of works, and counts them in h.
func (x *index) appendWorks(h *snapshotHead) (chunks [][]byte) {
	var debts []*debt
	for number, w := range x.works {
		if w.wide != nil {
			b := binary.AppendUvarint(nil, number)
			for _, v := range w.wide {
				b = binary.LittleEndian.AppendUint64(b, v)
			}
			chunks = append(chunks, b)
			h.wides++
		}
		for _, d := range w.debts {
			if !d.gone {
				debts = append(debts, d)
			}
		}
	}
	h.debts = len(debts)
	for len(debts) > 0 {
		n := min(len(debts), chunkDebts)
		var b []byte
		for _, d := range debts[:n] {
			b = binary.AppendUvarint(b, d.number)
			b = binary.AppendUvarint(b, d.at.gen)
			b = binary.AppendUvarint(b, uint64(d.at.off))
			b = appendString(b, d.boot)
			b = appendOutcome(b, d.outcome)
		}
		chunks, debts = append(chunks, b), debts[n:]
	}
	return chunks
}

// chunkReader reads what a chunkWriter wrote.
type chunkReader struct {
	r   *bufio.Reader
	key salt
	seq uint64
	n   int64
	buf []byte
}

func newChunkReader(f File, size int64, key salt, seq uint64) *chunkReader {
	return &chunkReader{r: bufio.NewReaderSize(io.NewSectionReader(f, 0, size), int(min(size, writeSize))), key: key, seq: seq}
}

// next returns the next chunk, which is valid until the following one.
func (r *chunkReader) next() ([]byte, error) {
	var head [chunkHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, r.damaged(err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxChunk {
		return nil, r.damaged(fmt.Errorf("%d bytes", n))
	}
	if uint32(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return nil, r.damaged(err)
	}
	if r.key.checksum(r.seq, r.n, b) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, r.damaged(fmt.Errorf("checksum"))
	}
	r.n++
	return b, nil
}

func (r *chunkReader) damaged(why error) error {
	return fmt.Errorf("%w: chunk %d: %w", ErrDamaged, r.n, why)
}

// head reads the first chunk.
func (r *chunkReader) head() (snapshotHead, error) {
	b, err := r.next()
	if err != nil {
		return snapshotHead{}, err
	}
	return decodeSnapshotHead(b)
}

// index reads the rest.
func (r *chunkReader) index(h *snapshotHead) (index, []*debt, error) {
	x := newIndex()
	x.loading = true
	wides, err := r.slots(&x, h.slots)
	if err == nil && wides != h.wides {
		err = r.damaged(fmt.Errorf("messages with many recipients"))
	}
	for range h.wides {
		if err == nil {
			err = r.wide(&x)
		}
	}
	var debts []*debt
	if err == nil {
		debts, err = r.debts(&x, h.debts)
	}
	if err != nil {
		return index{}, nil, err
	}
	if _, err := r.r.ReadByte(); err != io.EOF {
		return index{}, nil, r.damaged(fmt.Errorf("more than there should be"))
	}
	return x, debts, nil
}

// slots reads n slots, and counts those whose recipients are told elsewhere.
func (r *chunkReader) slots(x *index, n int) (wides int, err error) {
	for last := uint64(0); n > 0; {
		b, err := r.next()
		if err != nil {
			return 0, err
		}
		if len(b) == 0 || len(b)%slotSize != 0 || len(b)/slotSize > n {
			return 0, r.damaged(fmt.Errorf("length"))
		}
		for ; len(b) > 0; b, n = b[slotSize:], n-1 {
			e, ok := decodeSlot(b)
			if !ok || e.number <= last {
				return 0, r.damaged(fmt.Errorf("message %s", formatID(e.number)))
			}
			last = e.number
			x.table.insert(e)
			if e.wide() {
				wides++
			}
		}
	}
	return wides, nil
}

// wide reads which recipients of a message with many are done with.
func (r *chunkReader) wide(x *index) error {
	b, err := r.next()
	if err != nil {
		return err
	}
	d := decoder{b: b}
	e := x.table.find(d.id())
	if e == nil || !e.wide() || x.works[e.number] != nil || len(d.b) != 8*len(newBitset(e.rcpts)) {
		return r.damaged(fmt.Errorf("recipients of a message"))
	}
	w := x.work(e.number)
	for len(d.b) > 0 {
		w.wide = append(w.wide, binary.LittleEndian.Uint64(d.bytes(8)))
	}
	w.left = int(e.rcpts) - w.wide.count()
	if last := w.wide[len(w.wide)-1]; e.rcpts%64 != 0 && last>>(e.rcpts%64) != 0 {
		return r.damaged(fmt.Errorf("recipients of a message"))
	}
	return d.end()
}

// debts reads n debts.
func (r *chunkReader) debts(x *index, n int) (list []*debt, err error) {
	for n > 0 {
		b, err := r.next()
		if err != nil {
			return nil, err
		}
		d := decoder{b: b}
		for ; n > 0 && len(d.b) > 0; n-- {
			v := &debt{number: d.id(), at: place{d.uint(), d.size()}, boot: d.string(), outcome: d.outcome()}
			e := x.table.find(v.number)
			if d.err != nil || e == nil || v.outcome.Applied == nil || v.outcome.Index >= int(e.rcpts) || !x.done(e, v.outcome.Index) {
				return nil, r.damaged(fmt.Errorf("delivery of %s", formatID(v.number)))
			}
			x.owe(v)
			list = append(list, v)
		}
		if err := d.end(); err != nil || len(b) == 0 {
			return nil, r.damaged(fmt.Errorf("deliveries"))
		}
	}
	return list, nil
}
