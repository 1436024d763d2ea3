package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"postern/internal/origin"
	"postern/internal/syntax"
)

// Service is a service of master.cf.
type Service struct {
	Name      string   // "smtp", "127.0.0.1:2525", "relay"
	Type      string   // inet, unix, fifo, unix-dgram, pass
	MaxProc   int      // 0: no limit
	Command   string   // the program, "smtpd"
	Args      []string // without the -o options
	Overrides []Override
	At        origin.At
}

// defaultMaster stands for a master.cf that is not there.
const defaultMaster = `smtp inet n - n - - smtpd
virtual unix - n n - - virtual
local unix - n n - - local
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
`

// readMaster reads master.cf. Without the file there is a server on port 25
// with the usual delivery services.
func (s *Settings) readMaster() error {
	name := filepath.Join(s.dir, "master.cf")
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(defaultMaster)
	} else if err != nil {
		return err
	}
	services, err := parseMaster(name, string(text), s.Int("default_process_limit"))
	s.services = services
	seen := map[string]origin.At{}
	var errs []error
	for _, m := range services {
		key := m.Name + " " + m.Type
		if at, ok := seen[key]; ok {
			errs = append(errs, fmt.Errorf("%v: service %s is defined at %v already", m.At, key, at))
		}
		seen[key] = m.At
	}
	return errors.Join(append([]error{err}, errs...)...)
}

// parseMaster reads the text of a master.cf. Good lines come back also when
// others are bad.
func parseMaster(name, text string, processes int) ([]Service, error) {
	var services []Service
	var errs []error
	for line, err := range syntax.Lines(strings.NewReader(text)) {
		at := origin.At{File: name, Line: line.Number, Text: line.Text}
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", at, err))
			continue
		}
		m, err := parseService(line.Text, processes)
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", at, err))
			continue
		}
		m.At = at
		for i := range m.Overrides {
			m.Overrides[i].At = at
		}
		services = append(services, m)
	}
	return services, errors.Join(errs...)
}

var serviceTypes = map[string]bool{"inet": true, "unix": true, "fifo": true, "unix-dgram": true, "pass": true}

// parseService reads one logical line.
func parseService(text string, processes int) (Service, error) {
	f := syntax.Split(text, syntax.Blank)
	if len(f) < 8 {
		return Service{}, fmt.Errorf("bad field count: %d fields, need at least 8", len(f))
	}
	m := Service{Name: f[0], Type: f[1], MaxProc: processes, Command: f[7]}
	if !serviceTypes[m.Type] {
		return m, fmt.Errorf("bad service type %q", m.Type)
	}
	for i, what := range []string{"private", "unprivileged", "chroot"} {
		if v := f[2+i]; v != "y" && v != "n" && v != "-" {
			return m, fmt.Errorf("field %q: %q instead of y, n or -", what, v)
		}
	}
	if v := f[6]; v != "-" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return m, fmt.Errorf("bad process limit %q", v)
		}
		m.MaxProc = n
	}
	return m, m.arguments(f[8:])
}

// arguments reads the arguments of the program, -o options apart.
func (m *Service) arguments(words []string) error {
	for i := 0; i < len(words); i++ {
		w := words[i]
		option, ok := strings.CutPrefix(w, "-o")
		if !ok {
			inner, _ := syntax.Unbrace(w)
			m.Args = append(m.Args, inner)
			continue
		}
		if option == "" {
			if i++; i == len(words) {
				return errors.New("-o needs name=value")
			}
			option = words[i]
		}
		inner, braced := syntax.Unbrace(option)
		name, value, err := syntax.NameValue(inner)
		if err != nil {
			return fmt.Errorf("-o %s: %w", option, err)
		}
		if !braced && strings.ContainsAny(name, syntax.Blank) {
			return fmt.Errorf("-o %s: use { name = value } for values with blanks", option)
		}
		m.Overrides = append(m.Overrides, Override{Name: name, Value: value})
	}
	return nil
}
