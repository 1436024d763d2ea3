package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/internal/nearest"
	"postern/internal/syntax"
)

// lint looks for what works but was hardly meant: unknown names close to known
// ones, comments at the end of a line, a setting that became the continuation
// of another one, arguments in master.cf that were to be part of a value.
func (s *Settings) lint() {
	used := s.references()
	for name, v := range s.written {
		s.lintSetting(name, v, used)
	}
	for _, m := range s.services {
		for _, o := range m.Overrides {
			at := o.At
			at.Parameter = o.Name
			s.lintSetting(o.Name, Value{Raw: o.Value, At: at, Set: true}, used)
		}
		s.lintArguments(m)
		s.lintProgram(m)
	}
	slices.SortStableFunc(s.problems, func(a, b Problem) int { return compareAt(a.At, b.At) })
}

// lintSetting looks at one setting of main.cf or master.cf.
func (s *Settings) lintSetting(name string, v Value, used usage) {
	if inside := s.settingInside(v.Raw); inside != "" {
		s.problems = append(s.problems, Problem{Kind: Swallowed, At: v.At, Parameter: name, Lost: DomainList(inside),
			Text: fmt.Sprintf("continuation line looks like a setting of its own: %s", inside)})
	}
	if p, known := s.params[name]; known {
		if slices.Contains(absent, name) && v.Raw != "" && !strings.EqualFold(v.Raw, "no") {
			s.problem(Ineffective, v.At, name, fmt.Sprintf("%s has no effect in this version: mail is handled as if it were not set", name))
		}
		if p.Type == "str" && (listLike(name) || single(name) && !isExcuse(v.Raw)) {
			s.lintList(name, v)
		}
		if name == "notify_classes" {
			s.lintNotices(v)
		}
		return
	}
	if used.names[name] || s.serviceParam(name) != nil || used.tableParam(name) {
		return
	}
	near := s.near(name)
	if len(near) == 0 {
		s.problem(Unused, v.At, name, fmt.Sprintf("unused parameter: %s=%s", name, shown(name, v.Raw)))
		return
	}
	s.problem(Unknown, v.At, name, fmt.Sprintf("unknown parameter: %s", name), near...)
}

// shown is the value of a parameter as the log has it, without a password.
func shown(name, value string) string {
	if IsPassword(name) || HasSecretTables(name) {
		return "..."
	}
	return clip(value)
}

// IsPassword reports a parameter of main.cf, or of the file of a table, whose value is a
// password as far as its name tells, also when it is misspelt.
func IsPassword(name string) bool {
	name = strings.ToLower(name)
	for _, suffix := range []string{"password", "passwd", "passphrase", "pw", "_pass", "_pwd", "_secret"} {
		if strings.HasSuffix("_"+name, suffix) {
			return true
		}
	}
	return nearest.Word(name, slices.Values([]string{"password"}), 2) != ""
}

// secretTables are the parameters of passwords and of private keys.
var secretTables = []string{"smtp_sasl_password_maps", "lmtp_sasl_password_maps", "smtpd_sasl_password_maps", "tls_server_sni_maps"}

// HasSecretTables reports a parameter whose tables hold passwords or private keys, also
// when it is misspelt.
func HasSecretTables(name string) bool {
	return strings.HasSuffix(name, "password_maps") || strings.HasSuffix(name, "passwd_maps") || strings.HasSuffix(name, "sni_maps") ||
		nearest.Word(name, slices.Values(secretTables), 3) != ""
}

// settingInside finds "known_name =" among the words of a value.
func (s *Settings) settingInside(raw string) string {
	words := strings.Fields(raw)
	for i, w := range words {
		name, _, found := strings.Cut(w, "=")
		if _, known := s.params[name]; known && (found || i+1 < len(words) && words[i+1][0] == '=') {
			return name
		}
	}
	return ""
}

// lintArguments finds words that were hardly meant as arguments: only pipe(8)
// and spawn(8) have any besides options.
func (s *Settings) lintArguments(m Service) {
	if m.Command == "pipe" || m.Command == "spawn" {
		return
	}
	for _, w := range m.Args {
		if !strings.HasPrefix(w, "-") {
			s.problem(Blanks, m.At, "", fmt.Sprintf("service %s: %q and what follows is no option: a value with blanks is written -o { name = value }", m.Name, w))
			return
		}
	}
}

// listLike tells list and table parameters from single texts by their names.
func listLike(name string) bool {
	for _, suffix := range []string{"_maps", "_domains", "_restrictions", "mydestination", "mynetworks", "_interfaces", "_networks"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// single tells parameters whose value is one name, or a transport with its next hop.
func single(name string) bool {
	return slices.Contains([]string{"relayhost", "myhostname", "mydomain", "myorigin"}, name) || strings.HasSuffix(name, "_transport")
}

// isExcuse reports a transport whose next hop is a text for people.
func isExcuse(value string) bool {
	service, _, _ := strings.Cut(value, ":")
	return service == "error" || service == "retry" || service == "discard"
}

// lintList finds words in a list that begin with '#': Postfix ignores the rest
// of a domain list there, and takes it for a part of any other value.
func (s *Settings) lintList(name string, v Value) {
	words := syntax.Split(v.Raw, syntax.Separators)
	for i, w := range words {
		if w[0] == '#' {
			s.problems = append(s.problems, Problem{Kind: Comment, At: v.At, Parameter: name, Lost: loses(name, words[i:]),
				Text: fmt.Sprintf("%s: comment at end of line is not supported: %s", name, w)})
			return
		}
	}
}

// DomainList reports whether a parameter is one of the lists that make a domain
// local, virtual or relayed.
func DomainList(name string) bool {
	return slices.Contains([]string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"}, name)
}

// loses reports whether mail suffers from a '#' in a list: the words behind it
// are domains, tables or files that a domain list does not have, or the '#' is a
// table, restriction or host that does not exist.
func loses(name string, behind []string) bool {
	switch {
	case strings.HasSuffix(name, "_maps"), strings.HasSuffix(name, "_restrictions"), single(name):
		return true
	case !DomainList(name):
		return false
	}
	return slices.ContainsFunc(behind, func(w string) bool { return strings.ContainsAny(strings.Trim(w, "#.:,;"), ".:/$") })
}

// noticeClasses are the classes of notices that the postmaster may want.
var noticeClasses = []string{"2bounce", "bounce", "data", "delay", "policy", "protocol", "resource", "software"}

// lintNotices finds classes of notices that do not exist.
func (s *Settings) lintNotices(v Value) {
	for _, class := range strings.FieldsFunc(v.Raw, func(r rune) bool { return strings.ContainsRune(syntax.Separators+"{}", r) }) {
		if class[0] != '$' && !slices.Contains(noticeClasses, class) {
			s.problem(Notice, v.At, "notify_classes", fmt.Sprintf("notify_classes: unknown class %q", class),
				nearest.Words(class, slices.Values(noticeClasses), 2)...)
		}
	}
}

// usage is what the values of a configuration refer to.
type usage struct {
	names    map[string]bool // $name, and restriction classes
	prefixes map[string]bool // tables "type:name" whose parameters are in main.cf
}

// references collects what main.cf and master.cf refer to.
func (s *Settings) references() usage {
	u := usage{map[string]bool{}, map[string]bool{}}
	for _, v := range s.written {
		u.add(v.Raw)
	}
	for _, m := range s.services {
		for _, o := range m.Overrides {
			u.add(o.Value)
		}
	}
	for _, w := range syntax.Split(s.written["smtpd_restriction_classes"].Raw, syntax.Separators) {
		u.names[w] = true
	}
	return u
}

// add collects what one value refers to.
func (u usage) add(text string) {
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(syntax.Separators+"{}", r) }) {
		if i := strings.LastIndexByte(w, ':'); i > 0 && i < len(w)-1 && w[i+1] != '/' {
			u.prefixes[w[i+1:]] = true
		}
	}
	for {
		_, after, found := strings.Cut(text, "$")
		if !found {
			return
		}
		text = strings.TrimLeft(after, "{("+syntax.Blank)
		u.names[text[:nameLen(text)]] = true
	}
}

// tableParam reports a parameter of a table in main.cf: mysql:foo reads
// foo_dbname and its like (mysql_table(5), "obsolete main.cf parameters").
func (u usage) tableParam(name string) bool {
	for i := range len(name) {
		if name[i] == '_' && u.prefixes[name[:i]] {
			return true
		}
	}
	return false
}

// serviceParam returns the definition of a parameter that belongs to a service
// by its name (relay_destination_concurrency_limit, policy_time_limit), or nil.
// The usual delivery services count whether master.cf has them or not.
func (s *Settings) serviceParam(name string) *Param {
	services := []string{"smtp", "lmtp", "relay", "local", "virtual", "error", "retry", "discard"}
	for _, m := range s.services {
		services = append(services, m.Name)
	}
	for _, service := range services {
		suffix, ok := strings.CutPrefix(name, service+"_")
		if !ok {
			continue
		}
		general := s.params["default_"+suffix]
		switch suffix {
		case "initial_destination_concurrency":
			general = s.params[suffix]
		case "time_limit":
			general = s.params["command_time_limit"]
		}
		if general != nil {
			p := *general
			p.Name = name
			return &p
		}
	}
	return nil
}

// near are the known names that differ in few letters, best first, at most
// three.
func (s *Settings) near(name string) []string {
	words := nearest.Words(name, maps.Keys(s.params), 1+min(len(name), 16)/8)
	return words[:min(3, len(words))]
}

// programs are the services of Postfix, those without a meaning here included.
var programs = []string{"anvil", "bounce", "cleanup", "discard", "dnsblog", "error", "flush", "lmtp", "local", "nqmgr",
	"oqmgr", "pickup", "pipe", "postlogd", "postscreen", "proxymap", "qmgr", "qmqpd", "scache", "showq", "smtp", "smtpd",
	"spawn", "tlsmgr", "tlsproxy", "trivial-rewrite", "verify", "virtual"}

// lintProgram finds a misspelt program: its service would be missing.
func (s *Settings) lintProgram(m Service) {
	if slices.Contains(programs, m.Command) {
		return
	}
	var near []string
	for limit := 1; limit <= 2 && len(near) == 0; limit++ {
		near = nearest.Words(m.Command, slices.Values(programs), limit)
	}
	kind := Program
	if len(near) > 0 {
		kind = Unknown
	}
	s.problem(kind, m.At, "", fmt.Sprintf("service %s: unknown program %q", m.Name, m.Command), near...)
}

// absent are parameters that decide where mail goes, who may send it or what
// becomes of it, and that Postern does not act on. To pass over them in silence
// would be to lose a filter or a login.
var absent = []string{
	"content_filter", "smtpd_proxy_filter", "smtpd_milters", "non_smtpd_milters",
	"header_checks", "mime_header_checks", "nested_header_checks", "body_checks", "smtp_header_checks",
	"masquerade_domains", "smtp_generic_maps", "remote_header_rewrite_domain",
	"smtpd_sasl_auth_enable", "smtpd_sender_login_maps", "tls_server_sni_maps",
}
