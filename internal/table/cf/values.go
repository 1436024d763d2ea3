package cf

import (
	"fmt"
	"strings"
)

// NumberOr is a parameter that counts something and is at least least; unset
// is fallback.
func (s *Settings) NumberOr(name string, fallback, least int) (int, error) {
	if _, ok := s.values[name]; !ok {
		return fallback, nil
	}
	n, err := s.Number(name)
	if err == nil && n < least {
		err = s.Wrong(name, fmt.Errorf("must be at least %d", least))
	}
	return n, err
}

// Bool is a parameter that says yes or no, in any case; unset is no.
func (s *Settings) Bool(name string) (bool, error) {
	value, _, ok := s.Lookup(name)
	switch {
	case !ok || strings.EqualFold(value, "no"):
		return false, nil
	case strings.EqualFold(value, "yes"):
		return true, nil
	}
	return false, s.Wrong(name, fmt.Errorf("%q is neither yes nor no", value))
}

// Former gives a parameter that is not set the value of its former name.
func (s *Settings) Former(name, former string) {
	if old, ok := s.values[former]; ok {
		if _, ok := s.values[name]; !ok {
			s.values[name] = old
		}
	}
}
