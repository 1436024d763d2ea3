package postconf

import (
	"slices"

	"postern/internal/config"
	"postern/internal/syntax"
)

// Class is where a parameter name comes from.
type Class uint8

const (
	Builtin Class = 1 << iota // the catalogue
	Service                   // a service of master.cf
	User                      // the user, and something refers to it
	legacy                    // an old name: shown when set or asked for

	All = Builtin | Service | User
)

// Classes are the names of the option -C.
var Classes = map[string]Class{"builtin": Builtin, "service": Service, "user": User, "all": All}

// former are names of older versions that defaults still refer to.
var former = []string{
	"authorized_verp_clients", "fallback_relay", "lmtp_per_record_deadline", "postscreen_blacklist_action",
	"postscreen_dnsbl_ttl", "postscreen_dnsbl_whitelist_threshold", "postscreen_whitelist_interfaces",
	"smtp_per_record_deadline", "smtpd_client_connection_limit_exceptions", "smtpd_per_record_deadline",
	"tlsproxy_client_level", "tlsproxy_client_policy", "virtual_maps",
}

// readOnly are parameters that a program sets for itself.
var readOnly = []string{"process_id", "process_name", "service_name"}

// transportSuffixes are the parameters of a delivery service. The default is
// that of default_SUFFIX, or of SUFFIX where that does not exist.
var transportSuffixes = []string{
	"recipient_limit", "extra_recipient_limit", "recipient_refill_limit", "recipient_refill_delay",
	"delivery_slot_cost", "delivery_slot_loan", "delivery_slot_discount", "minimum_delivery_slots",
	"initial_destination_concurrency", "destination_concurrency_limit", "destination_recipient_limit",
	"destination_concurrency_positive_feedback", "destination_concurrency_negative_feedback",
	"destination_concurrency_failed_cohort_limit", "destination_rate_delay", "transport_rate_delay",
}

// learn finds out which names are known.
func (c *Config) learn() error {
	for _, p := range config.Params() {
		c.known[p.Name] = Builtin
	}
	for _, name := range former {
		if c.known[name] == 0 {
			c.known[name] = legacy
		}
	}
	for _, s := range c.services {
		c.learnService(s)
	}
	c.values = c.expander()
	if c.defaults {
		return nil
	}
	seen := map[*scope]bool{}
	for _, s := range c.services {
		if !seen[s.scope] {
			seen[s.scope] = true
			if err := c.learnFrom(s.scope); err != nil {
				return err
			}
		}
	}
	c.learnDefaults()
	return c.learnFrom(nil)
}

// learnService adds the parameters that are named after a service.
func (c *Config) learnService(s *service) {
	program, name := s.fields[fieldCommand], s.fields[fieldService]
	add := func(suffix, general string) {
		full := name + "_" + suffix
		if c.known[full] == 0 {
			c.general[full] = general
		}
		c.known[full] = Service
	}
	switch program {
	case "pipe", "spawn":
		add("time_limit", "command_time_limit")
	}
	switch program {
	case "local", "error", "virtual", "smtp", "lmtp", "pipe":
		for _, suffix := range transportSuffixes {
			general := "default_" + suffix
			if _, ok := config.LookupParam(general); !ok {
				general = suffix
			}
			add(suffix, general)
		}
	}
}

// learnDefaults follows $name in the defaults of parameters that are not set:
// an old name that is set counts as used.
func (c *Config) learnDefaults() {
	for _, name := range sorted(c.known) {
		p, ok := config.LookupParam(name)
		if _, set := c.main[name]; ok && !set && p.Type != "raw" {
			text, _ := c.values.Default(name)
			c.follow(text, nil)
		}
	}
}

// learnFrom goes through the settings of main.cf, or through those of a service.
func (c *Config) learnFrom(in *scope) error {
	values := c.main
	if in != nil {
		values = in.params
	}
	if list, ok := values["smtpd_restriction_classes"]; ok {
		text, err := c.expand(c.scopeValues(in), list)
		if err != nil {
			return err
		}
		for _, name := range syntax.Split(text, syntax.Separators) {
			c.refer(name, in, false)
		}
	}
	for _, name := range sorted(values) {
		if err := c.learnSetting(name, values[name], in); err != nil {
			return err
		}
	}
	return nil
}

// learnSetting looks at what one value refers to.
func (c *Config) learnSetting(name, value string, in *scope) error {
	if slices.Contains(readOnly, name) {
		c.tool.warn("%s: read-only parameter assignment: %s=%s", c.source(in), name, value)
		if in != nil {
			delete(in.params, name)
		} else {
			delete(c.main, name)
			c.values = c.expander()
		}
		return nil
	}
	if c.known[name] == legacy {
		c.known[name] = User
	}
	if p, ok := config.LookupParam(name); ok && p.Type == "raw" {
		return nil
	}
	c.follow(value, in)
	if c.known[name]&(Builtin|Service) == 0 {
		return nil
	}
	text, err := c.expand(c.scopeValues(in), value)
	if err != nil {
		return err
	}
	return c.learnTables(text, in)
}

// scopeValues are the settings for $name in main.cf or in a service.
func (c *Config) scopeValues(in *scope) *config.Settings {
	if in == nil {
		return c.values
	}
	return c.expander(in.params, in.own)
}

// source is the file of a setting.
func (c *Config) source(in *scope) string {
	if in == nil {
		return c.tool.path("main.cf")
	}
	return c.tool.path("master.cf")
}

// follow notes the names that a text refers to.
func (c *Config) follow(text string, in *scope) {
	names, err := config.Names(text)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		c.refer(name, in, false)
	}
	if err != nil {
		c.tool.warn("%v", err)
	}
}

// refer notes that something in main.cf, or in a service, refers to a name: a
// setting of that name is in use. optional is for names that need not exist.
func (c *Config) refer(name string, in *scope, optional bool) {
	found := false
	if in != nil && in.has(name) {
		in.used[name], found = true, true
	} else if _, set := c.main[name]; set {
		found = true
		if c.known[name] == 0 {
			c.known[name] = User
		}
	}
	if in == nil {
		for _, s := range c.services {
			if s.scope.has(name) {
				s.scope.used[name], found = true, true
			}
		}
	}
	if !found && !optional && c.known[name] == 0 {
		c.tool.warn("%s: undefined parameter: %s", c.source(in), name)
	}
}

// UnusedMain warns of settings of main.cf that nobody reads.
func (c *Config) UnusedMain() {
	for _, name := range sorted(c.main) {
		if c.known[name] == 0 {
			c.tool.warn("%s: unused parameter: %s=%s", c.source(nil), name, c.main[name])
		}
	}
}

// UnusedMaster warns of -o options of master.cf that nobody reads.
func (c *Config) UnusedMaster() {
	seen := map[*scope]bool{}
	for _, s := range c.services {
		if seen[s.scope] {
			continue
		}
		seen[s.scope] = true
		for _, name := range sorted(s.scope.params) {
			if c.known[name] == 0 && !s.scope.used[name] {
				c.tool.warn("%s: unused parameter: %s=%s", c.source(s.scope), name, s.scope.params[name])
			}
		}
	}
}
