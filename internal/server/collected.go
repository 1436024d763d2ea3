package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"

	"postern/internal/control"
)

// collectLimit is how much of an answer is kept in memory.
const collectLimit = 1 << 20

// collected is the Stream of an answer that is kept until the spool is free
// again, because whoever reads it may take his time. What is more than
// collectLimit goes to a temporary file without a name. Where none can be made,
// the answer is passed on as it comes.
type collected struct {
	out    control.Stream
	recent []byte // items, a line each, behind those in file
	file   *os.File
	size   int64 // of what is in file
	direct bool
}

// Item keeps one item. An error of it is that of encoding, or of out.
func (c *collected) Item(v any) error {
	if c.direct {
		return c.out.Item(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.recent = append(append(c.recent, b...), '\n')
	if len(c.recent) < collectLimit || c.spill() == nil {
		return nil
	}
	c.direct = true
	return c.tell()
}

// Progress is passed on at once.
func (c *collected) Progress(done, total int) { c.out.Progress(done, total) }

// spill moves what is in memory to the file. After an error it is still in
// memory.
func (c *collected) spill() error {
	if c.file == nil {
		f, err := os.CreateTemp("", "postern-")
		if err != nil {
			return err
		}
		if err := os.Remove(f.Name()); err != nil {
			return errors.Join(err, f.Close())
		}
		c.file = f
	}
	if _, err := c.file.WriteAt(c.recent, c.size); err != nil {
		return err
	}
	c.size += int64(len(c.recent))
	c.recent = c.recent[:0]
	return nil
}

// tell passes on what was kept.
func (c *collected) tell() error {
	kept := []io.Reader{bytes.NewReader(c.recent)}
	if c.file != nil {
		kept = []io.Reader{io.NewSectionReader(c.file, 0, c.size), kept[0]}
	}
	r := bufio.NewReaderSize(io.MultiReader(kept...), 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			c.recent, c.size = nil, 0
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.out.Item(json.RawMessage(line[:len(line)-1])); err != nil {
			return err
		}
	}
}

// close gives the file back.
func (c *collected) close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
