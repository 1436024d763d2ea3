package bounce

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postern/internal/origin"
)

// template holds the words of one kind of notification.
type template struct {
	charset    string // of text
	from       string // of the header, "Mail Delivery System <MAILER-DAEMON>"
	subject    string
	postmaster string // subject of the copy for the postmaster
	text       string // ends in a line end; $name is not expanded in it
	at         origin.At
}

// Templates are the words of all kinds of notifications.
type Templates struct{ kinds [Verify + 1]template }

// kindNames are what bounce(5) calls the kinds.
var kindNames = [...]string{Failure: "failure", Delay: "delay", Success: "success", Verify: "verify"}

// String is the name of the kind in bounce(5): failure, delay, success, verify.
func (k Kind) String() string { return kindNames[k] }

// BuiltIn returns the templates that count where no file has others.
func BuiltIn() *Templates { return &Templates{builtIn} }

// ReadTemplates reads the file name (postconf bounce_template_file). A kind that
// the file has not, or has wrong, has its built-in template; each mistake is an
// error that names file and line, or file alone when it cannot be read.
func ReadTemplates(name string) (*Templates, []error) { return readTemplates(name, nil) }

func readTemplates(name string, open func(string) (*os.File, error)) (*Templates, []error) {
	if open == nil {
		open = os.Open
	}
	f, err := open(name)
	if err != nil {
		return BuiltIn(), []error{err}
	}
	defer f.Close()
	return ParseTemplates(f, name)
}

// maxTemplates bounds the octets of a template file.
const maxTemplates = 1 << 20

// ParseTemplates reads templates as bounce(5) describes them; file is what errors
// call the text.
//
//	# a comment
//	failure_template = <<EOF
//	Subject: Your mail came back
//
//	The host $myhostname ...
//	EOF
func ParseTemplates(r io.Reader, file string) (*Templates, []error) {
	p := &templateParser{lines: bufio.NewScanner(io.LimitReader(r, maxTemplates)), file: file, made: BuiltIn()}
	p.lines.Buffer(nil, maxTemplates+1)
	for p.next() {
		if line := strings.TrimSpace(p.lines.Text()); line != "" && line[0] != '#' {
			p.attribute(line)
		}
	}
	if err := p.lines.Err(); err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", file, err))
	}
	return p.made, p.errs
}

// templateParser reads a template file line by line.
type templateParser struct {
	lines *bufio.Scanner
	file  string
	line  int
	made  *Templates
	errs  []error
}

func (p *templateParser) next() bool {
	p.line++
	return p.lines.Scan()
}

func (p *templateParser) fail(line int, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%v: %w", origin.At{File: p.file, Line: line}, fmt.Errorf(format, args...)))
}

// attribute reads "name = <<MARK" and the lines up to the mark.
func (p *templateParser) attribute(line string) {
	start := p.line
	name, value, found := strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !found || name == "" {
		p.fail(start, `missing "=" after the name of a template: %q`, line)
		return
	}
	lines := []string{value}
	if mark, ok := strings.CutPrefix(value, "<<"); ok {
		if lines, ok = p.until(strings.TrimSpace(mark)); !ok {
			return
		}
	}
	for k, kind := range kindNames {
		if name == kind+"_template" {
			t, err := readTemplate(lines, builtIn[k])
			if err != nil {
				p.fail(start, "%s: %w; the built-in template is used", name, err)
				return
			}
			t.at = origin.At{File: p.file, Line: start}
			p.made.kinds[k] = t
			return
		}
	}
	p.fail(start, "unknown template %q: want failure_template, delay_template, success_template or verify_template", name)
}

// until returns the lines in front of the mark.
func (p *templateParser) until(mark string) (lines []string, ok bool) {
	start := p.line
	if mark == "" || strings.ContainsAny(mark[:1], `'"`) {
		p.fail(start, "malformed end marker after <<")
		return nil, false
	}
	for p.next() {
		text := p.lines.Text()
		if text == mark {
			return lines, true
		}
		lines = append(lines, text)
	}
	p.fail(start, "missing %q end marker", mark)
	return nil, false
}

// Mistakes in a template.
var (
	errNoText   = errors.New("missing message text")
	errEightBit = errors.New("8-bit message text needs a Charset other than us-ascii")
)

// readTemplate takes the header off the lines of a template; what the header does
// not say stays as it is in t.
func readTemplate(lines []string, t template) (template, error) {
	for len(lines) > 0 && lines[0] != "" && lines[0][0] != ' ' && lines[0][0] != '\t' {
		label, value, found := strings.Cut(lines[0], ":")
		label, value = strings.TrimRight(label, " \t"), strings.TrimSpace(value)
		if !found || label == "" || strings.ContainsAny(label, " \t") {
			break
		}
		if err := t.set(label, value); err != nil {
			return t, err
		}
		lines = lines[1:]
	}
	for len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	if len(lines) == 0 {
		return t, errNoText
	}
	t.text = strings.Join(lines, "\n") + "\n"
	if t.asciiOnly() && !isASCII([]byte(t.text)) {
		return t, errEightBit
	}
	return t, nil
}

// asciiOnly reports whether the charset has no place for 8-bit text.
func (t *template) asciiOnly() bool { return strings.EqualFold(t.charset, "us-ascii") }

// set takes a header field of a template.
func (t *template) set(label, value string) error {
	var to *string
	switch strings.ToLower(label) {
	case "charset":
		to = &t.charset
	case "from":
		to = &t.from
	case "subject":
		to = &t.subject
	case "postmaster-subject":
		to = &t.postmaster
	default:
		return fmt.Errorf("unknown header label %q", label)
	}
	if value == "" {
		return fmt.Errorf("empty %s header value", label)
	}
	if strings.IndexFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) >= 0 {
		return fmt.Errorf("non-ASCII or control character in the %s header value", label)
	}
	*to = value
	return nil
}

// WriteTo writes the templates in the form of the file they are read from
// (postconf -t).
func (t *Templates) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for k := range t.kinds {
		words := &t.kinds[k]
		fmt.Fprintf(&b, "%s_template = <<EOF\nCharset: %s\nFrom: %s\nSubject: %s\n", Kind(k), words.charset, words.from, words.subject)
		if words.postmaster != "" {
			fmt.Fprintf(&b, "Postmaster-Subject: %s\n", words.postmaster)
		}
		fmt.Fprintf(&b, "\n%sEOF\n", words.text)
		if k < len(t.kinds)-1 {
			b.WriteByte('\n')
		}
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// WriteTexts writes the texts of the templates (postconf -b).
func (t *Templates) WriteTexts(w io.Writer) error {
	var b strings.Builder
	for k := range t.kinds {
		if k > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "expanded_%s_text = <<EOF\n%sEOF\n", Kind(k), t.kinds[k].text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
