package spool

import "fmt"

// hold keeps a segment from being used again while it is read. The caller
// holds mu, and calls letGo in the end; nil: there is no such segment.
func (s *Spool) hold(gen uint32) *segment {
	seg := s.index.segs[gen]
	if seg != nil {
		seg.readers++
	}
	return seg
}

func (s *Spool) letGo(seg *segment) {
	s.mu.Lock()
	seg.readers--
	s.mu.Unlock()
}

// readText returns the text of a message in the log, nil when it has a file.
func (s *Spool) readText(m *Message) ([]byte, error) {
	s.mu.Lock()
	e, text := s.index.table.find(m.Number), s.texts[m.Number]
	if e == nil || text != nil || e.is(slotFile) {
		s.mu.Unlock()
		if e == nil {
			return nil, ErrGone
		}
		return text, nil
	}
	at := e.text
	seg := s.hold(at.gen)
	s.mu.Unlock()
	if seg == nil {
		return nil, fmt.Errorf("%w: no segment %d", ErrDamaged, at.gen)
	}
	defer s.letGo(seg)
	return s.readTextAt(seg, at, m.Size, m.CRC)
}

// readTextAt reads a text from a segment that is held, and checks it.
func (s *Spool) readTextAt(seg *segment, at spot, size int64, crc uint32) ([]byte, error) {
	text := make([]byte, size)
	if size > 0 {
		if err := s.j.waitReadable(at); err != nil {
			return nil, err
		}
		if err := readAt(seg.file, text, int64(at.off)); err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
	}
	if checksum(text) != crc {
		return nil, fmt.Errorf("%w: text in segment %d at %d", ErrDamaged, at.gen, at.off)
	}
	return text, nil
}

// readAhead is how much is read for a record whose length is not known: most
// records without their texts are shorter.
const readAhead = 2048

// readState reads the envelope and state of a message from a segment that is
// held.
func (s *Spool) readState(seg *segment, at spot, number uint64) (state, error) {
	if err := s.j.waitReadable(at); err != nil {
		return state{}, err
	}
	off := int64(at.off)
	b := make([]byte, min(readAhead, max(seg.size-off, 0)))
	if err := readAt(seg.file, b, off); err != nil {
		return state{}, fmt.Errorf("read the log: %w", err)
	}
	damaged := fmt.Errorf("%w: record of %s in segment %d at %d", ErrDamaged, formatID(number), at.gen, off)
	h, ok := s.j.salt.decodeHead(b, seg.gen, off, seg.size)
	if !ok {
		return state{}, damaged
	}
	if end := headSize + int(h.meta); end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
		if err := readAt(seg.file, b[readAhead:], off+readAhead); err != nil {
			return state{}, fmt.Errorf("read the log: %w", err)
		}
	}
	meta := b[headSize : headSize+int(h.meta)]
	if checksum(meta) != h.metaCRC {
		return state{}, damaged
	}
	if v, ok := stateIn(h.kind, meta, number); ok {
		return v, nil
	}
	return state{}, damaged
}

// stateIn finds what a record says of a message.
func stateIn(kind recordType, meta []byte, number uint64) (state, bool) {
	switch kind {
	case recordKeep:
		v, err := decodeState(meta)
		return v, err == nil && v.id == number
	case recordChange:
		c, err := decodeChanged(meta)
		if err != nil {
			return state{}, false
		}
		for _, v := range c.states {
			if v.id == number {
				return v, true
			}
		}
		for _, v := range c.news {
			if v.id == number {
				return state{stored: v}, true
			}
		}
	}
	return state{}, false
}
