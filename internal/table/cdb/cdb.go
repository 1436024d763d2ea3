package cdb

import (
	"encoding/binary"
	"fmt"

	"postern/internal/table/index"
)

// Format describes cdb: files to package index.
func Format() index.Format {
	return index.Format{
		Type:   "cdb",
		Suffix: ".cdb",
		Lock:   index.NoLock,
		Open:   open,
		Write:  write,
	}
}

// Sizes.
const (
	tables     = 256
	headSize   = tables * 8
	recordHead = 8
	slotSize   = 8
)

var le = binary.LittleEndian

func hash(key []byte) uint32 {
	h := uint32(5381)
	for _, b := range key {
		h = h*33 ^ uint32(b)
	}
	return h
}

func damaged(at uint32, what string) error {
	return fmt.Errorf("%w: at byte %d: %s", index.ErrDamaged, at, what)
}
