package postconf

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"postern/internal/syntax"
)

// The fields of a service, in their order.
const (
	fieldService = iota
	fieldType
	fieldPrivate
	fieldUnprivileged
	fieldChroot
	fieldWakeup
	fieldLimit
	fieldCommand
	fieldCount
)

var fieldNames = [fieldCount]string{"service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"}

// column is where a field begins when there is room.
var column = [fieldCount]int{0, 11, 17, 25, 33, 41, 49, 57}

// blanks separate the words of master.cf.
const blanks = " \t\r\n"

var errFields = errors.New("bad field count")

// service is an entry of master.cf.
type service struct {
	fields  [fieldCount]string
	options []daemonOption
	args    []string // what follows the options, without braces
	scope   *scope
}

// daemonOption is an option of the program: "-v", or "-o" with its value.
type daemonOption struct {
	flag, value string
	valued      bool
}

// setting cuts the value of -o name=value.
func (o daemonOption) setting() (name, value string, ok bool) {
	if !o.valued {
		return "", "", false
	}
	name, value, err := nameValue(o.value)
	return name, value, err == nil
}

// scope are the -o options of the services with one name and type.
type scope struct {
	name   string
	params map[string]string
	own    map[string]string // that the program sets for itself
	used   map[string]bool
}

func newScope(s *service) *scope {
	own := map[string]string{"service_name": s.fields[fieldService], "process_name": path.Base(s.fields[fieldCommand])}
	return &scope{name: s.name(), params: map[string]string{}, own: own, used: map[string]bool{}}
}

func (sc *scope) add(s *service) {
	for _, o := range s.options {
		if name, value, ok := o.setting(); ok {
			sc.params[name] = value
		}
	}
}

func (sc *scope) has(name string) bool { _, ok := sc.params[name]; return ok }

// name is what service patterns are compared with.
func (s *service) name() string { return s.fields[fieldService] + "/" + s.fields[fieldType] }

// parseService reads an entry of master.cf.
func (t *Tool) parseService(text string) (*service, error) {
	words := syntax.Split(text, blanks)
	if len(words) < fieldCount {
		return nil, errFields
	}
	s := &service{}
	copy(s.fields[:], words)
	s.command(words[fieldCount:], t.Warn)
	return s, s.check(text)
}

// command takes the words behind the program's name. Options come one by one
// afterwards ("-vo a=b" is -v and -o a=b), and { name = value } as name=value.
func (s *service) command(words []string, warn func(string)) {
	s.options, s.args = nil, nil
	for len(words) > 0 && strings.HasPrefix(words[0], "-") && words[0] != "--" {
		word := words[0]
		words = words[1:]
		flags, value, found := strings.Cut(word[1:], "o")
		if strings.HasPrefix(flags, "-") { // no option of any program
			flags, found = word[1:], false
		}
		if flags != "" || !found {
			s.options = append(s.options, daemonOption{flag: "-" + flags})
		}
		if !found {
			continue
		}
		if value == "" && len(words) > 0 {
			value, words = words[0], words[1:]
		}
		s.options = append(s.options, daemonOption{"-o", canonical(value, warn), value != ""})
	}
	for _, word := range words {
		if word[0] == '{' {
			inner, wrong := unbrace(word)
			if wrong != "" {
				warn("master.cf: " + wrong)
			}
			word = strings.Trim(inner, syntax.Blank)
		}
		s.args = append(s.args, word)
	}
}

// canonical is the value of -o without braces and without the blanks that they
// allow around the equals sign.
func canonical(value string, warn func(string)) string {
	if !strings.HasPrefix(value, "{") {
		return value
	}
	inner, wrong := unbrace(value)
	if wrong != "" {
		warn("master.cf: " + wrong)
	}
	inner = strings.Trim(inner, syntax.Blank)
	name, text, err := nameValue(inner)
	if err != nil {
		warn(fmt.Sprintf("master.cf: %v: \"%s\"", err, inner))
		return inner
	}
	return name + "=" + text
}

var serviceTypes = []string{"unix", "fifo", "inet", "pass", "unix-dgram"}

// check says which field is impossible. text is the entry or the new field.
func (s *service) check(text string) error {
	for i, value := range s.fields {
		ok := true
		switch i {
		case fieldService:
			ok = value != "" && value[0] != '#' // the line would be a comment
		case fieldCommand:
			ok = value != ""
		case fieldType:
			ok = slices.Contains(serviceTypes, value)
		case fieldPrivate, fieldUnprivileged, fieldChroot:
			ok = value == "y" || value == "n" || value == "-"
		case fieldWakeup:
			seconds := strings.TrimSuffix(value, "?")
			ok = value != "" && (seconds == "-" || digits(seconds))
		case fieldLimit:
			ok = value == "-" || value != "" && digits(value)
		}
		if !ok {
			return fmt.Errorf("invalid %s field \"%s\" in \"%s\"", fieldNames[i], value, text)
		}
	}
	return nil
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// expansion is what is done to the values of -o options before they are shown.
type expansion func(text string) (string, error)

// entry is the service as lines of master.cf, the fields in their columns. fold
// breaks it before the 80th column; every -o gets a line of its own then.
func (s *service) entry(fold bool, expand expansion) (string, error) {
	l := &layout{fold: fold}
	for i, f := range s.fields {
		if i > 0 {
			l.pad(column[i])
		}
		l.write(f)
	}
	err := s.layOut(l, expand)
	return l.String(), err
}

// layOut writes the options and arguments.
func (s *service) layOut(l *layout, expand expansion) error {
	for _, o := range s.options {
		if !o.valued {
			l.word(o.flag)
			continue
		}
		value := o.value
		if expand != nil {
			var err error
			if value, err = expand(value); err != nil {
				return err
			}
		}
		l.end()
		l.word(o.flag + " " + embrace(value))
		l.end()
	}
	for i, arg := range s.args {
		if i == 0 && strings.HasPrefix(arg, "-") && arg != "--" {
			arg = "{" + arg + "}" // it would be an option
		} else {
			arg = embrace(arg)
		}
		l.word(arg)
	}
	return nil
}

// embrace protects the blanks and braces of a word.
func embrace(word string) string {
	if word == "" || word[0] == '{' || strings.ContainsAny(word, blanks) {
		return "{" + word + "}"
	}
	return word
}

// Limits of folded lines.
const (
	lineLimit = 80
	indent    = "    "
)

// layout puts words on lines.
type layout struct {
	strings.Builder
	fold  bool
	width int // of the last line
}

func (l *layout) write(text string) {
	l.WriteString(text)
	l.width += len(text)
}

// pad goes to a column, at least one blank ahead.
func (l *layout) pad(column int) {
	l.write(" ")
	for l.width < column {
		l.write(" ")
	}
}

// end makes the next word begin a line.
func (l *layout) end() {
	if l.fold {
		l.width = lineLimit
	}
}

// word adds a word to what is there, on a new line when this one would become
// too long. A '#' stays behind another word: a line that begins with it would be
// a comment.
func (l *layout) word(word string) {
	if l.fold && l.width+1+len(word) >= lineLimit && word[0] != '#' {
		l.WriteString("\n" + indent)
		l.width = len(indent)
	} else {
		l.write(" ")
	}
	l.write(word)
}

// foldText is a text with one blank between its words; with fold, of lines that
// end before the 80th column where the words allow it.
func foldText(text string, fold bool) string {
	var b strings.Builder
	width := 0
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(blanks, r) }) {
		switch {
		case width == 0:
		case fold && width+len(word) >= lineLimit:
			b.WriteString("\n" + indent)
			width = len(indent)
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += len(word)
	}
	return b.String()
}
