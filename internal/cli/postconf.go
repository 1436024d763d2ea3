package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	conf "postern/internal/postconf"
	"postern/internal/table/builtin"
)

// confTool is a call of postconf.
type confTool struct {
	env       Env
	out       *bufio.Writer
	tool      *conf.Tool
	given     string // the letters of the options that matter
	overrides []string
	class     string
	args      []string
}

// postconf shows and edits main.cf and master.cf: postconf(1). With --explain as
// the first argument it says what parameters are for, and where they are set.
func postconf(ctx context.Context, env Env) int {
	c := &confTool{env: env, out: bufio.NewWriter(env.Stdout), class: "all"}
	c.tool = &conf.Tool{Dir: env.Getenv("MAIL_CONFIG"), Warn: func(text string) {
		c.out.Flush()
		fmt.Fprintf(env.Stderr, "postconf: warning: %s\n", oneLine(text))
	}}
	err := c.run(ctx)
	c.out.Flush()
	if err != nil {
		fmt.Fprintf(env.Stderr, "postconf: fatal: %s\n", oneLine(err.Error()))
		return 1
	}
	return 0
}

// oneLine shows control characters as question marks.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
}

// The options of postconf. majors say what it is about; of a group in exclusive
// only one may be given; companions are the options that a major goes with.
const (
	confOrder  = "aAbdefFhHlmMnopPtTxX#" // in which messages name them
	confMajors = "aAblmtpMFPT"
	confEdits  = "eX#"
)

var (
	confExclusive  = []string{confMajors, "den#X", "f" + confEdits, "x" + confEdits, "od" + confEdits, "hH" + confEdits}
	confCompanions = map[byte]string{'p': "eX#fhxdnoH", 'M': "eX#fox", 'F': "efhoxH", 'P': "eXfhoxH"}
)

const confUsage = "usage: postconf [-aAdeEfFhHlmMnpPvxX#] [-c config_dir] [-C class,...] [-o name=value] [name...]"

func (c *confTool) parse() error {
	opts, rest, err := getopt(c.env.Args[1:], "aAbc:C:deEfFhHlmMno:pPtT:vxX#", "")
	if err != nil {
		fmt.Fprintf(c.env.Stderr, "postconf: %v\n", err)
		return errors.New(confUsage)
	}
	c.args = rest
	for _, o := range opts {
		switch o.letter {
		case 'c':
			c.tool.Dir = o.value
		case 'C':
			c.class = o.value
		case 'o':
			c.overrides = append(c.overrides, o.value)
		}
		if strings.IndexByte(confOrder, o.letter) >= 0 && !c.has(o.letter) {
			c.given += string(o.letter)
		}
	}
	if !strings.ContainsAny(c.given, confMajors) {
		c.given += "p"
	}
	if strings.ContainsAny(c.given, "pMFP") && len(c.args) > 0 && strings.Contains(c.args[0], "=") && !c.has('e') {
		c.given += "e"
	}
	c.tool.Chosen = c.tool.Dir != ""
	if c.tool.Dir == "" {
		c.tool.Dir = defaultDir(c.env)
	}
	return c.compatible()
}

func (c *confTool) has(letter byte) bool { return strings.IndexByte(c.given, letter) >= 0 }

// compatible refuses options that exclude each other.
func (c *confTool) compatible() error {
	pick := func(from string, not string) (list string, n int) {
		for i := range len(confOrder) {
			if l := confOrder[i]; c.has(l) && strings.IndexByte(from, l) >= 0 && strings.IndexByte(not, l) < 0 {
				list += " -" + string(l)
				n++
			}
		}
		return list, n
	}
	for _, group := range confExclusive {
		if list, n := pick(group, ""); n > 1 {
			return fmt.Errorf("specify one of%s", list)
		}
	}
	for i := range len(confMajors) {
		major := confMajors[i]
		if list, n := pick(c.given, string(major)+confCompanions[major]); c.has(major) && n > 0 {
			return fmt.Errorf("with option -%c, do not specify%s", major, list)
		}
	}
	return nil
}

func (c *confTool) run(ctx context.Context) error {
	if len(c.env.Args) > 1 && c.env.Args[1] == "--explain" {
		return c.explain(c.env.Args[2:])
	}
	if err := c.parse(); err != nil {
		return err
	}
	switch {
	case c.has('T'):
		return errors.New("option -T is not supported: there is no OpenSSL here")
	case c.has('b'), c.has('t'):
		return c.templates()
	case c.has('a'), c.has('A'): // no SASL plug-ins: an empty list
		return nil
	case c.has('l'):
		c.list([]string{"flock", "fcntl", "dotlock"})
		return nil
	case c.has('m'):
		types := slices.AppendSeq([]string{"debug", "proxy"}, maps.Keys(builtin.Types()))
		slices.Sort(types)
		c.list(slices.Compact(types))
		return nil
	case strings.ContainsAny(c.given, confEdits):
		return c.edit(ctx)
	case c.has('p'):
		return c.show()
	}
	return c.showMaster()
}

func (c *confTool) list(lines []string) {
	for _, l := range lines {
		fmt.Fprintln(c.out, l)
	}
}

func (c *confTool) edit(ctx context.Context) error {
	do := conf.Set
	switch {
	case c.has('e') && len(c.args) == 0:
		return errors.New("-e requires name=value argument")
	case len(c.args) == 0:
		return errors.New("missing service argument")
	case c.has('X'):
		do = conf.Remove
	case c.has('#'):
		do = conf.CommentOut
	}
	switch {
	case c.has('M'):
		return c.tool.EditEntries(ctx, do, c.args)
	case c.has('F'):
		return c.tool.EditFields(ctx, c.args)
	case c.has('P'):
		return c.tool.EditOverrides(ctx, do, c.args)
	}
	return c.tool.EditMain(ctx, do, c.args)
}

func (c *confTool) format() conf.Format {
	return conf.Format{Expand: c.has('x'), Fold: c.has('f'), HideName: c.has('h'), HideValue: c.has('H')}
}

// classes reads the option -C: a list of classes.
func (c *confTool) classes() (conf.Class, error) {
	var sum conf.Class
	for _, name := range strings.FieldsFunc(c.class, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		class, ok := conf.Classes[strings.ToLower(name)]
		if !ok {
			return 0, fmt.Errorf("unknown -C option value %q in %q", name, c.class)
		}
		sum |= class
	}
	return sum, nil
}

// show lists parameters of main.cf, and then what nobody uses.
func (c *confTool) show() error {
	classes, err := c.classes()
	if err != nil {
		return err
	}
	if c.has('d') {
		settings, err := c.tool.Defaults()
		if err != nil {
			return err
		}
		return settings.Show(c.out, c.format(), classes, false, c.args)
	}
	settings, err := c.tool.Open(c.overrides, false)
	if err != nil {
		return err
	}
	if err := settings.Show(c.out, c.format(), classes, c.has('n'), c.args); err != nil {
		return err
	}
	settings.UnusedMain()
	settings.UnusedMaster()
	return nil
}

// showMaster lists services, fields or -o parameters, and then what nobody uses.
func (c *confTool) showMaster() error {
	settings, err := c.tool.Open(c.overrides, true)
	if err != nil {
		return err
	}
	show := settings.Entries
	switch {
	case c.has('F'):
		show = settings.Fields
	case c.has('P'):
		show = settings.Overrides
	}
	if err := show(c.out, c.format(), c.args); err != nil {
		return err
	}
	settings.UnusedMaster()
	return nil
}

// explain says of parameters what they are for and where they are set.
func (c *confTool) explain(names []string) error {
	opts, names, err := getopt(names, "c:x", "")
	if err != nil || len(names) == 0 {
		return errors.New("usage: postconf --explain [-x] [-c config_dir] name [name...]")
	}
	c.tool.Chosen = true
	c.tool.Dir = defaultDir(c.env)
	expand := false
	for _, o := range opts {
		switch o.letter {
		case 'c':
			c.tool.Dir = o.value
		case 'x':
			expand = true
		}
	}
	settings, err := c.tool.Open(nil, false)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := settings.Explain(c.out, conf.Format{Expand: expand}, name); err != nil {
			return err
		}
	}
	return nil
}
