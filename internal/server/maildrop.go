package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"postern/internal/control/mailq"
	"postern/internal/intake"
	"postern/internal/maildrop"
	"postern/internal/queue"
	"postern/internal/spool"
)

// drop is the maildrop as the queue's commands see it: a directory.
type drop string

var _ mailq.Maildrop = drop("")

// IDs implements mailq.Maildrop. A directory that was never made is empty.
func (d drop) IDs() ([]string, error) {
	names, err := maildrop.Names(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("maildrop: %w", err)
	}
	var ids []string
	for _, name := range names {
		if id := maildrop.ID(name); id != "" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Open implements mailq.Maildrop. With sendmail -t the recipients are read from the
// header.
func (d drop) Open(id string) (*mailq.Submitted, error) {
	name := maildrop.Name(id)
	if name == "" {
		return nil, fmt.Errorf("%q: %w", id, queue.ErrNotFound)
	}
	item, err := maildrop.Open(string(d), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	m, err := intake.ReadSubmitted(item)
	if err != nil {
		return nil, errors.Join(err, item.Close())
	}
	e := spool.Envelope{Sender: m.Sender.Internal(), Arrival: item.Time, EnvID: m.Params.EnvID, Ret: m.Params.Ret,
		EightBit: item.Envelope.EightBit, Verify: m.Verify, Report: m.Report}
	for _, r := range m.Recipients {
		e.Recipients = append(e.Recipients, spool.Recipient{Address: r.Address.Internal(), ORCPT: r.ORCPT, Notify: spool.Notify(r.Notify)})
	}
	return &mailq.Submitted{Envelope: e, Size: m.Size, Text: m.Text, Closer: item}, nil
}

// Remove implements mailq.Maildrop.
func (d drop) Remove(id string) error {
	name := maildrop.Name(id)
	if name == "" {
		return fmt.Errorf("%q: %w", id, queue.ErrNotFound)
	}
	err := os.Remove(filepath.Join(string(d), name))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	}
	return err
}
