package maillog

// Tap calls f with the warnings and errors that are logged from now on until
// stop is called: the word that their severity has in the log, "warning", "error"
// or "fatal", and the text without it. f is called with locks held: it must not
// block and not log.
func (l *Log) Tap(f func(severity, text string)) (stop func()) {
	tap := &f
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taps == nil {
		l.taps = map[*func(severity, text string)]bool{}
	}
	l.taps[tap] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.taps, tap)
	}
}

// tell passes a line to the taps; the lock is held.
func (l *Log) tell(severity, text string) {
	for f := range l.taps {
		(*f)(severity, text)
	}
}
