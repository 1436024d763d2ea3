package cli

import (
	"context"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/setup"
)

// comparison says of the answers of Postfix where Postern's own are others, and
// which parameter makes the difference.
type comparison struct {
	env     Env
	options explainOptions
	own     *explained
	single  map[string]*explained // as Postfix, but for one parameter
}

// newComparison opens the configuration as it is, without compatibility = postfix.
func newComparison(ctx context.Context, env Env, o explainOptions) (*comparison, error) {
	own, err := newExplained(ctx, o, setup.Options{})
	if err != nil {
		return nil, err
	}
	return &comparison{env: env, options: o, own: own, single: map[string]*explained{}}, nil
}

func (c *comparison) close() {
	c.own.close()
	for _, x := range c.single {
		x.close()
	}
}

// print writes what Postern does with the address, if that is not what e, the answer
// of Postfix, says.
func (c *comparison) print(ctx context.Context, e explain.Explanation) error {
	own := c.own.explainer.Fate(ctx, e.Address)
	if own.SameFate(e) {
		return nil
	}
	because, err := c.because(ctx, e)
	if err != nil {
		return err
	}
	own.PrintFate(c.env.Stdout, styleOf(c.env, c.env.Stdout), "Postern with its own defaults", because)
	return nil
}

// because are the parameters any one of which changes the answer of Postfix when it
// has Postern's value.
func (c *comparison) because(ctx context.Context, e explain.Explanation) ([]string, error) {
	var all []string
	for _, name := range switched(c.own.setup.Settings) {
		x, err := c.with(ctx, name)
		if err != nil {
			return nil, err
		}
		if !x.explainer.Fate(ctx, e.Address).SameFate(e) {
			all = append(all, name+" = "+c.own.setup.Settings.String(name))
		}
	}
	return all, nil
}

// with is the configuration as Postfix, but for one parameter.
func (c *comparison) with(ctx context.Context, name string) (*explained, error) {
	if x := c.single[name]; x != nil {
		return x, nil
	}
	options := setup.Options{}.WithPostfix()
	options.Overrides = append(options.Overrides, config.Override{Name: name, Value: c.own.setup.Settings.String(name)})
	x, err := newExplained(ctx, c.options, options)
	if err == nil {
		c.single[name] = x
	}
	return x, err
}

// switched are the parameters whose default is another one with compatibility =
// postfix, of those that decide where mail goes.
func switched(s *config.Settings) []string {
	var names []string
	for name := range s.All() {
		text, ok := s.Default(name)
		if ok && strings.Contains(text, "$compatibility}") && aboutAddresses(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// aboutAddresses tells them from those that are about connections.
func aboutAddresses(name string) bool {
	switch name {
	case "dns_trust_ad", "mail_name", "smtpd_forbid_bare_newline", "smtpd_forbid_unauth_pipelining":
		return false
	}
	return true
}
