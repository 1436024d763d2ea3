package server

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/bounce"
	"postern/internal/config"
	"postern/internal/queue"
	"postern/internal/route"
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
			setPace(&t, g.settings, name)
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
func setPace(t *queue.Transport, v *config.Settings, name string) {
	// warnOfFeedback has said what is wrong.
	t.PositiveFeedback, _ = queue.ParseFeedback(transportText(v, name, positiveFeedback))
	t.NegativeFeedback, _ = queue.ParseFeedback(transportText(v, name, negativeFeedback))
	t.DestinationRateDelay = transportDuration(v, name, "destination_rate_delay")
	t.RateDelay = transportDuration(v, name, "transport_rate_delay")
}

// Concurrency feedbacks, without the transport.
const (
	positiveFeedback = "destination_concurrency_positive_feedback"
	negativeFeedback = "destination_concurrency_negative_feedback"
)

// warnOfFeedback logs the feedbacks in main.cf that cannot be read.
func (s *Server) warnOfFeedback(v *config.Settings) {
	transports := []string{"default"}
	for _, m := range v.Services() {
		if !slices.Contains(transports, m.Name) {
			transports = append(transports, m.Name)
		}
	}
	for _, transport := range transports {
		for _, suffix := range [...]string{positiveFeedback, negativeFeedback} {
			name := transport + "_" + suffix
			value := v.Value(name)
			if !value.Set || value.Text == "" {
				continue
			}
			if _, err := queue.ParseFeedback(value.Text); err != nil {
				s.main.Warningf("%v: %s: %v", value.At, name, err)
			}
		}
	}
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
		DoubleBounceSender: doubleBounceSender(v).Internal(),
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

// doubleBounceSender is the sender of notices to the postmaster: Postfix completes
// it with myhostname.
func doubleBounceSender(v *config.Settings) address.Address {
	a := address.Split(v.String("double_bounce_sender"))
	if a.Domain == "" {
		a.Domain = v.String("myhostname")
	}
	return a
}

// discarded reports whether mail for a recipient is for the sender of our own
// notices, and so for nobody: in the local class, as with Postfix, and, where
// myhostname is in no class, all the same.
func discarded(v *config.Settings, res *route.Resolution) bool {
	own := doubleBounceSender(v)
	return strings.EqualFold(res.Address.Local, own.Local) &&
		(res.Class == route.Local || strings.EqualFold(res.Address.Domain, own.Domain))
}

// complete adds myorigin to an address without a domain.
func complete(v *config.Settings, text string) string {
	a := address.Split(text)
	if a.Domain == "" {
		a.Domain = v.String("myorigin")
	}
	return a.Internal()
}
