package server

import (
	"context"
	"errors"
	"os"

	"postern/internal/intake"
	"postern/internal/maildrop"
	"postern/internal/smtp"
)

// pickup takes in what the sendmail command put into the maildrop, until ctx
// ends. A message stays there until it is durable in the spool. When the server
// dies between that and its removal, or the power goes before the removal is on
// the disk, it is taken in once more.
func (s *Server) pickup(ctx context.Context, dir string) {
	log := s.log.Program("pickup")
	for range maildrop.Watch(ctx, dir) {
		names, err := maildrop.Names(dir)
		if err != nil {
			log.Warningf("maildrop %s: %v", dir, err)
			continue
		}
		for _, name := range names {
			if ctx.Err() != nil {
				return
			}
			if err := s.pickOne(ctx, dir, name); err != nil {
				log.Warningf("maildrop %s/%s: %v", dir, name, err)
			}
		}
	}
}

// pickOne takes in one file. A bad one is set aside with the reason in the
// log, one that cannot be taken now stays for the next round.
func (s *Server) pickOne(ctx context.Context, dir, name string) error {
	item, err := maildrop.Open(dir, name)
	if errors.Is(err, maildrop.ErrBad) {
		return errors.Join(err, maildrop.SetAside(dir, name))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer item.Close()
	g := s.current.Load()
	m, err := intake.ReadSubmitted(item)
	if err != nil {
		return errors.Join(err, maildrop.SetAside(dir, name))
	}
	reply := smtp.R(552, "5.3.4", "Error: message file too big")
	if limit := g.settings.Int64("message_size_limit"); limit == 0 || item.Size <= limit {
		reply = g.intake.Pickup(ctx, m)
	}
	switch {
	case reply.Positive():
		return item.Remove()
	case reply.Permanent():
		return errors.Join(errors.New(reply.String()), maildrop.SetAside(dir, name))
	}
	return errors.New(reply.String())
}
