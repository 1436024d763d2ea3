package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postern/internal/origin"
	"postern/internal/syntax"
)

// Service is a service of master.cf.
type Service struct {
	Name      string   // "smtp", "127.0.0.1:2525", "relay"
	Type      string   // inet, unix, fifo, unix-dgram, pass
	Chroot    bool     // "y" in the field: Postfix confines it to queue_directory
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

// read reads a whole file.
func (o Options) read(name string) ([]byte, error) {
	f, err := o.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// readMaster reads master.cf. Without the file there is a server on port 25
// with the usual delivery services. The error is that of a file that cannot be
// read; good lines count although others are bad.
func (s *Settings) readMaster() (faults []*Fault, err error) {
	name := filepath.Join(s.dir, "master.cf")
	text, err := s.options.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(defaultMaster)
	} else if err != nil {
		return nil, err
	}
	for line, err := range syntax.Lines(bytes.NewReader(text)) {
		at := origin.At{File: name, Line: line.Number, Text: line.Text}
		if err != nil {
			s.problem(Orphan, at, "", err.Error()) // an orphan, as reading memory does not fail
			continue
		}
		m, err := parseService(line.Text)
		if err != nil {
			faults = append(faults, &Fault{at, err})
			continue
		}
		m.At = at
		for i := range m.Overrides {
			m.Overrides[i].At = at
		}
		s.addService(m)
	}
	return faults, nil
}

// addService adds a service. Of two with the same name and type the last one
// counts, in the place of the first.
func (s *Settings) addService(m Service) {
	i := slices.IndexFunc(s.services, func(o Service) bool { return o.Name == m.Name && o.Type == m.Type })
	if i < 0 {
		s.services = append(s.services, m)
		return
	}
	s.problems = append(s.problems, Problem{Kind: Repeated, At: m.At, Also: []origin.At{s.services[i].At},
		Text: fmt.Sprintf("duplicate entry for service %q (%s), first at %v: the last one is used", m.Name, m.Type, s.services[i].At)})
	s.services[i] = m
}

// unset is the process limit of a service that has '-' there.
const unset = -1

// limitProcesses gives default_process_limit to the services without a limit.
func (s *Settings) limitProcesses() {
	for i := range s.services {
		if s.services[i].MaxProc == unset {
			s.services[i].MaxProc = s.Int("default_process_limit")
		}
	}
}

var serviceTypes = map[string]bool{"inet": true, "unix": true, "fifo": true, "unix-dgram": true, "pass": true}

// parseService reads one logical line.
func parseService(text string) (Service, error) {
	f := syntax.Split(text, syntax.Blank)
	if len(f) < 8 {
		return Service{}, fmt.Errorf("bad field count: %d fields, need at least 8", len(f))
	}
	m := Service{Name: f[0], Type: f[1], Chroot: f[4] == "y", MaxProc: unset, Command: f[7]}
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

// arguments reads the arguments of the program, -o options apart. Options end
// at the first word that is none: what follows belongs to the program, such as
// "argv=/usr/bin/deliver -o x" of pipe(8).
func (m *Service) arguments(words []string) error {
	for i := 0; i < len(words); i++ {
		w := words[i]
		if !strings.HasPrefix(w, "-") {
			for _, w := range words[i:] {
				inner, _ := syntax.Unbrace(w)
				m.Args = append(m.Args, inner)
			}
			return nil
		}
		option, ok := strings.CutPrefix(w, "-o")
		if !ok {
			m.Args = append(m.Args, w)
			continue
		}
		if option == "" {
			if i++; i == len(words) {
				return errors.New("-o needs name=value")
			}
			option = words[i]
		}
		inner, _ := syntax.Unbrace(option)
		name, value, err := syntax.NameValue(inner)
		if err != nil {
			return fmt.Errorf("-o %s: %w; use { name = value } for values with blanks", option, err)
		}
		m.Overrides = append(m.Overrides, Override{Name: name, Value: value})
	}
	return nil
}
