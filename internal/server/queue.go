package server

import (
	"context"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/queue"
	"postern/internal/spool"
)

// queueOptions ties the queue to the newest generation.
func (s *Server) queueOptions(v *config.Settings) queue.Options {
	return queue.Options{
		Store: s.spool,
		Route: s.route,
		Transport: func(name string) (queue.Transport, bool) {
			t, ok := s.current.Load().agents[name]
			return t, ok
		},
		Submit: func(ctx context.Context, m queue.Submission) (spool.New, error) {
			return s.current.Load().intake.Internal(ctx, m.Envelope, m.Text, m.Size)
		},
		Log:        func(program string) queue.Logger { return s.log.Program(program) },
		Parameters: queueParameters(v),
	}
}

// queueParameters reads the settings of qmgr and bounce.
func queueParameters(v *config.Settings) queue.Parameters {
	p := queue.Parameters{
		ActiveLimit:    v.Int("qmgr_message_active_limit"),
		MinimalBackoff: v.Duration("minimal_backoff_time"), MaximalBackoff: v.Duration("maximal_backoff_time"),
		MaximalLifetime: v.Duration("maximal_queue_lifetime"), BounceLifetime: v.Duration("bounce_queue_lifetime"),
		DelayWarning: v.Duration("delay_warning_time"), SoftBounce: v.Bool("soft_bounce"),
		Hostname: v.String("myhostname"), Origin: v.String("myorigin"), BounceSizeLimit: v.Int64("bounce_size_limit"),
		DoubleBounceSender: complete(v, v.String("double_bounce_sender")),
	}
	for _, class := range v.List("notify_classes") {
		switch class {
		case "bounce":
			p.BounceNotice = complete(v, v.String("bounce_notice_recipient"))
		case "2bounce":
			p.DoubleBounceNotice = complete(v, v.String("2bounce_notice_recipient"))
		case "delay":
			p.DelayNotice = complete(v, v.String("delay_notice_recipient"))
		}
	}
	return p
}

// complete adds myorigin to an address without a domain.
func complete(v *config.Settings, text string) string {
	a := address.Split(text)
	if a.Domain == "" {
		a.Domain = v.String("myorigin")
	}
	return a.Internal()
}
