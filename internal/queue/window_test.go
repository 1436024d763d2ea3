package queue

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseFeedback(t *testing.T) {
	for text, want := range map[string]float64{ // at a window of 16
		"1": 1, "0.5": 0.5, "1/8": 0.125, "1 / 8": 0.125, "1/concurrency": 1. / 16, "0.5/concurrency": 1. / 32, "1/sqrt_concurrency": 0.25,
	} {
		f, err := ParseFeedback(text)
		if got := f.of(16); err != nil || math.Abs(got-want) > 1e-12 {
			t.Errorf("ParseFeedback(%q).of(16) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "2", "-1", "x", "1/", "1/0", "1/x", "/8", "1/2/3", "NaN", "Inf", "0/concurrency"} {
		if f, err := ParseFeedback(text); err == nil {
			t.Errorf("ParseFeedback(%q) = %v, want an error", text, f)
		}
	}
	if got := (Feedback{}).of(7); got != 1 {
		t.Errorf("the zero Feedback is %v, want 1", got)
	}
}

func FuzzParseFeedback(f *testing.F) {
	for _, text := range []string{"1", "1/8", "1/concurrency", "0.5/sqrt_concurrency", "1e-300/3", "1/0x1p-2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		feedback, err := ParseFeedback(text)
		if got := feedback.of(5); err == nil && !(got >= 0 && got <= 1) {
			t.Errorf("ParseFeedback(%q).of(5) = %v", text, got)
		}
	})
}

// TestFractionsOfFeedback: windows move as the sum of the feedback says.
func TestFractionsOfFeedback(t *testing.T) {
	feedback := func(text string) Feedback {
		f, err := ParseFeedback(text)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	tr := &transport{Transport: Transport{InitialConcurrency: 5, DestinationConcurrency: 20,
		PositiveFeedback: feedback("1/concurrency"), NegativeFeedback: feedback("1/4")}, lanes: map[laneKey]*lane{}}
	l := tr.lane("a.example", "x")
	l.busy = 20
	for range 5 {
		l.succeed()
	}
	if l.window != 6 {
		t.Errorf("window %d after as many successes as it is wide, want 6", l.window)
	}
	windows := []int{}
	for range 9 {
		l.fail(dead, time.Now())
		windows = append(windows, l.window)
	}
	if want := []int{5, 5, 5, 5, 4, 4, 4, 4, 3}; !slices.Equal(windows, want) {
		t.Errorf("windows after failures %v, want %v", windows, want)
	}
}

func TestLanesWithoutExtension(t *testing.T) {
	tr := &transport{Transport: Transport{DestinationRecipients: 1}, delimiter: "+-", lanes: map[laneKey]*lane{}}
	for _, other := range []string{"john+x@a.example", "JOHN-y+z@a.example"} {
		if tr.lane("a.example", "john@a.example") != tr.lane("a.example", other) {
			t.Errorf("%s has a lane of its own", other)
		}
	}
	if tr.lane("a.example", "+x@a.example") == tr.lane("a.example", "@a.example") {
		t.Error("an address that is an extension only lost it")
	}
}

func TestTimeline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(0, 20), 0, 60).Draw(t, "times")
		bulk := rapid.IntRange(0, len(times)).Draw(t, "bulk")
		var h timeline[alarm]
		for _, at := range times[:bulk] {
			h = append(h, alarm{at: at})
		}
		h.order()
		for _, at := range times[bulk:] {
			h.push(alarm{at: at})
		}
		slices.Sort(times)
		for i, want := range times {
			if got := h.pop().at; got != want {
				t.Fatalf("value %d is %d, want %d", i, got, want)
			}
		}
	})
}
