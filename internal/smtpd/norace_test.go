//go:build !race

package smtpd

// raceDetector is whether the race detector needs memory of its own here.
const raceDetector = false
