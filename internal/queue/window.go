package queue

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"postern/internal/deliver"
)

// Feedback is how much the result of a delivery moves the window of its
// destination (postconf default_destination_concurrency_positive_feedback and
// default_destination_concurrency_negative_feedback). The zero value is 1.
type Feedback struct {
	less float64 // 1 minus the number, so that the zero value is 1
	by   divisor
}

// divisor is what the number of a feedback is divided by.
type divisor uint8

const (
	byNothing divisor = iota
	byWindow
	byRootOfWindow
)

// ParseFeedback reads "1", "0.5", "1/8", "1/concurrency" or
// "1/sqrt_concurrency". The number is above 0 and at most 1.
func ParseFeedback(text string) (Feedback, error) {
	var f Feedback
	number, under, divided := strings.Cut(strings.ReplaceAll(text, " ", ""), "/")
	n, err := strconv.ParseFloat(number, 64)
	d := 1.0
	switch {
	case !divided:
	case under == "concurrency":
		f.by = byWindow
	case under == "sqrt_concurrency":
		f.by = byRootOfWindow
	case err == nil:
		d, err = strconv.ParseFloat(under, 64)
	}
	if n /= d; err != nil || !(n > 0 && n <= 1) {
		return Feedback{}, fmt.Errorf("bad concurrency feedback %q: want a number up to 1, 1/8, 1/concurrency or 1/sqrt_concurrency", text)
	}
	f.less = 1 - n
	return f, nil
}

// of is the feedback at a window.
func (f Feedback) of(window int) float64 {
	n := 1 - f.less
	switch f.by {
	case byWindow:
		n /= float64(window)
	case byRootOfWindow:
		n /= math.Sqrt(float64(window))
	}
	return n
}

// rounding is what a sum of feedback may lack of a whole.
const rounding = 1e-9

// succeed counts a delivery that reached the destination. Enough of them widen
// the window by one, but not further than it is used; a dead destination comes
// back to life.
func (l *lane) succeed() {
	l.cohorts = 0
	t := l.transport
	if l.dead() {
		l.revive(l.busy)
		return
	}
	if l.window >= t.concurrency() || l.window >= l.busy+t.firstWindow() {
		return
	}
	for l.success += t.PositiveFeedback.of(l.window); l.success >= 1-rounding; l.success-- {
		l.window++
		l.failure = 0
	}
	l.window = min(l.window, t.concurrency())
}

// fail counts a failure of the destination, and reports whether that killed
// it. The first failure narrows the window at once; after that it takes as many
// as add up to one.
func (l *lane) fail(reason deliver.Status, now time.Time) (died bool) {
	if l.dead() {
		return false
	}
	t := l.transport
	l.cohorts += 1 / float64(l.window)
	if t.FailedCohorts > 0 && l.cohorts >= float64(t.FailedCohorts)-rounding {
		l.window, l.diedAt = 0, now.UnixNano()
		l.reason = deferral(reason.DSN, "delivery temporarily suspended: "+reason.Reason)
		return true
	}
	for l.failure -= t.NegativeFeedback.of(l.window); l.failure < -rounding; l.failure++ {
		l.window--
		l.success = 0
	}
	l.window = max(1, l.window)
	return false
}

// dead reports whether the destination is not to be tried now.
func (l *lane) dead() bool { return l.window == 0 }

// revive makes a dead destination one like any other. Without a window it gets
// that of an untried one.
func (l *lane) revive(window int) {
	if window == 0 {
		window = l.transport.firstWindow()
	}
	l.window = min(window, l.transport.concurrency())
	l.success, l.failure, l.cohorts = 0, 0, 0
	l.restsTo = time.Time{}
}
