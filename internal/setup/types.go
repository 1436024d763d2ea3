package setup

import (
	"context"

	"postern/internal/table"
)

// WithTypes returns the same configuration with a router and a policy that ask
// tables of other types: change is given the map of types before it is used. The
// error is that of a part that cannot be made.
func (s *Setup) WithTypes(ctx context.Context, change func(map[string]table.Constructor)) (*Setup, error) {
	other := *s
	other.Router, other.Policy, other.Fault = nil, nil, nil
	other.Opener = NewOpener(s.Settings, nil)
	other.Opener.Locate, other.Opener.Replace = s.Opener.Locate, s.Opener.Replace
	change(other.Opener.Types)
	return &other, other.decide(ctx, silent{})
}
