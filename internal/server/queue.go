package server

import (
	"context"
	"time"

	"postern/internal/address"
	"postern/internal/bounce"
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
			g := s.current.Load()
			t, ok := g.agents[name]
			s.setPace(&t, g.settings, name)
			return t, ok
		},
		Templates: func() *bounce.Templates { return s.current.Load().notices },
		Submit: func(ctx context.Context, m queue.Submission) (spool.New, error) {
			return s.current.Load().intake.Internal(ctx, m.Envelope, m.Text, m.Size)
		},
		Log:        func(program string) queue.Logger { return s.log.Program(program) },
		Observe:    s.metrics,
		Parameters: queueParameters(v),
	}
}

// setPace reads how fast a transport may deliver. A feedback that cannot be read
// is 1.
func (s *Server) setPace(t *queue.Transport, v *config.Settings, name string) {
	feedback := func(suffix string) queue.Feedback {
		f, err := queue.ParseFeedback(transportText(v, name, suffix))
		if err != nil {
			s.main.Warningf("%v: %s: %v", v.Value("default_"+suffix).At, suffix, err)
		}
		return f
	}
	t.PositiveFeedback = feedback("destination_concurrency_positive_feedback")
	t.NegativeFeedback = feedback("destination_concurrency_negative_feedback")
	t.DestinationRateDelay = transportDuration(v, name, "destination_rate_delay")
	t.RateDelay = transportDuration(v, name, "transport_rate_delay")
}

// transportText returns NAME_SUFFIX for a transport, and default_SUFFIX where it
// is not set.
func transportText(v *config.Settings, transport, suffix string) string {
	if own := v.String(transport + "_" + suffix); own != "" {
		return own
	}
	return v.String("default_" + suffix)
}

// transportDuration returns NAME_SUFFIX for a transport, and default_SUFFIX
// where it is not set.
func transportDuration(v *config.Settings, transport, suffix string) time.Duration {
	if v.String(transport+"_"+suffix) != "" {
		return v.Duration(transport + "_" + suffix)
	}
	return v.Duration("default_" + suffix)
}

// queueParameters reads the settings of qmgr and bounce.
func queueParameters(v *config.Settings) queue.Parameters {
	p := queue.Parameters{
		ActiveLimit:    v.Int("qmgr_message_active_limit"),
		RecipientLimit: v.Int("qmgr_message_recipient_limit"), RecipientMinimum: v.Int("qmgr_message_recipient_minimum"),
		MinimalBackoff: v.Duration("minimal_backoff_time"), MaximalBackoff: v.Duration("maximal_backoff_time"),
		MaximalLifetime: v.Duration("maximal_queue_lifetime"), BounceLifetime: v.Duration("bounce_queue_lifetime"),
		DelayWarning: v.Duration("delay_warning_time"), ConfirmDelayCleared: v.Bool("confirm_delay_cleared"),
		TransportRetry: v.Duration("transport_retry_time"), DeferTransports: v.List("defer_transports"),
		SoftBounce: v.Bool("soft_bounce"), RecipientDelimiter: v.String("recipient_delimiter"),
		DelayResolution: v.Int("delay_logging_resolution_limit"), Threaded: v.Bool("enable_threaded_bounces"),
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
