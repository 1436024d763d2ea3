package server

import "testing"

// TestDoubleBounce: notices to the postmaster come from myhostname, and mail for
// their sender ends here, whether a class has its domain or not.
func TestDoubleBounce(t *testing.T) {
	s := running(t, "myhostname = mx.host.example\nmyorigin = origin.example\nmydestination = here.example\n"+
		"relay_domains = relay.example\nnotify_classes = 2bounce\ndouble_bounce_sender = Nobody\ndefault_transport = smtp:[127.0.0.1]:9\n")
	p := queueParameters(s.current.Load().settings)
	if want := "Nobody@mx.host.example"; p.DoubleBounceSender != want {
		t.Errorf("sender of notices = %q, want %q", p.DoubleBounceSender, want)
	}
	if want := "postmaster@origin.example"; p.DoubleBounceNotice != want {
		t.Errorf("their recipient = %q, want %q", p.DoubleBounceNotice, want)
	}
	for recipient, discard := range map[string]bool{
		"nobody@mx.host.example": true, "NOBODY@MX.Host.example": true, "nobody@here.example": true,
		"nobody@relay.example": false, "nobody@far.example": false, "x@mx.host.example": false, "nobody+x@here.example": false,
	} {
		routed, err := s.route(t.Context(), "", recipient)
		if err != nil || (routed.Transport == "discard") != discard {
			t.Errorf("route(%s) = %+v, %v; discarded should be %t", recipient, routed, err, discard)
		}
	}
}
