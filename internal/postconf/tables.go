package postconf

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"postern/internal/syntax"
)

// Parameters of tables behind a client: in a file of their own, or in main.cf
// with the table's name and an underscore in front.
var (
	commonParams = []string{"domain", "expansion_limit", "result_format"}
	sqlParams    = []string{"query", "table", "select_field", "where_field", "additional_conditions"}
	serverParams = []string{"dbname", "hosts", "user", "password"}

	tableParams = map[string][]string{
		"sqlite": slices.Concat(commonParams, sqlParams, []string{"dbpath"}),
		"pgsql":  slices.Concat(commonParams, sqlParams, serverParams, []string{"select_function"}),
		"mysql": slices.Concat(commonParams, sqlParams, serverParams, []string{"option_file", "option_group",
			"require_result_set", "tls_CAfile", "tls_CApath", "tls_cert_file", "tls_ciphers", "tls_key_file", "tls_verify_cert"}),
		"ldap": slices.Concat(commonParams, []string{"bind", "bind_dn", "bind_pw", "cache", "cache_expiry", "cache_size",
			"chase_referrals", "debuglevel", "dereference", "leaf_result_attribute", "query_filter", "recursion_limit",
			"result_attribute", "result_filter", "sasl_authz_id", "sasl_mechs", "sasl_minssf", "sasl_realm", "scope",
			"search_base", "server_host", "server_port", "size_limit", "special_result_attribute", "start_tls",
			"terminal_result_attribute", "timeout", "tls_ca_cert_dir", "tls_ca_cert_file", "tls_cert", "tls_cipher_suite",
			"tls_key", "tls_random_file", "tls_require_cert", "version"}),
		"memcache": {"backup", "data_size_limit", "domain", "flags", "key_format", "line_size_limit", "max_try",
			"memcache", "retry_pause", "timeout", "ttl"},
	}
)

// learnTables looks for type:name in a value. What looks like a table need not
// be one: nothing comes of it then.
func (c *Config) learnTables(text string, in *scope) error {
	for _, item := range syntax.Split(text, syntax.Separators) {
		if item[0] == '{' {
			if err := c.learnInner(item, in); err != nil {
				return err
			}
			continue
		}
		kind, name, _ := strings.Cut(item, ":")
		for kind == "proxy" && name != "" {
			kind, name, _ = strings.Cut(name, ":")
		}
		if name == "" {
			continue
		}
		params := tableParams[kind]
		switch name[0] {
		case '.':
		case '{':
			if err := c.learnInner(name, in); err != nil {
				return err
			}
		case '/':
			if err := c.checkTable(kind, name, params); err != nil {
				return err
			}
		default:
			for _, p := range params {
				c.refer(name+"_"+p, in, true)
			}
		}
	}
	return nil
}

// learnInner looks for tables inside {...}.
func (c *Config) learnInner(text string, in *scope) error {
	inner, wrong := unbrace(text)
	if wrong != "" {
		where := "main.cf"
		if in != nil {
			where = "master.cf:" + in.name
		}
		c.tool.warn("%s: %s", where, wrong)
	}
	return c.learnTables(inner, in)
}

// unbrace is the text inside {...}, as it stands. wrong says what is wrong with
// the braces; the inner text is then what there is of it.
func unbrace(text string) (inner, wrong string) {
	for i, depth := 0, 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth > 0 {
				continue
			}
			if i < len(text)-1 {
				wrong = "syntax error after '}' in \"" + text + "\""
			}
			return text[1:i], wrong
		}
	}
	return text[1:], "missing '}' in \"" + text + "\""
}

// checkTable looks for unknown names in the file of a table, once. A file that
// others may not read is passed over: it may hold a password.
func (c *Config) checkTable(kind, path string, params []string) error {
	if params == nil || c.checked[kind+":"+path] {
		return nil
	}
	c.checked[kind+":"+path] = true
	f, err := os.Open(path)
	if err != nil {
		if !errors.Is(err, fs.ErrPermission) {
			c.tool.warn("open \"%s\" configuration \"%s\": %v", kind, path, plain(err))
		}
		return nil
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && !st.Mode().IsRegular() {
		c.tool.warn("open \"%s\" configuration \"%s\": not a regular file", kind, path)
		return nil
	}
	values := map[string]string{}
	err = c.tool.assignments(f, func(name, value string, line int) {
		if old, ok := values[name]; ok && old != value {
			c.tool.warn("%s, line %d: overriding earlier entry: %s=%s", path, line, name, old)
		}
		values[name] = value
	})
	for _, name := range sorted(values) {
		if !slices.Contains(params, name) {
			c.tool.warn("%s:%s: unused parameter: %s=%s", kind, path, name, values[name])
		}
	}
	return err
}
