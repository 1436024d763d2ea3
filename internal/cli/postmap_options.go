package cli

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/table"
	"postern/internal/table/index"
)

// mapCall is what the command line of postmap asked for.
type mapCall struct {
	dir       string // -c
	doing     byte   // 'q', 'd', 's', or 0 to build
	key       string // of -q and -d; "-": those on standard input
	fold      bool   // not -f
	files     bool   // -F
	insert    bool   // -i
	headers   bool   // -h
	body      bool   // -b
	mime      bool   // -m
	null      *bool  // -N, -n
	asRoot    bool   // -o
	noMode    bool   // -p
	noUTF8    bool   // -u
	forceUTF8 bool   // -U
	verbose   bool   // -v
	listTypes bool   // -m alone
	tables    []string

	duplicates index.Duplicates // -r, -w
}

// The options of both programs, and their usage as Postfix words it.
const (
	postmapOptions   = "bfFhimnNoprsuUvwc:d:q:"
	postaliasOptions = "Nfinoprsuvwc:d:q:"

	postmapUsage   = "usage: postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."
	postaliasUsage = "usage: postalias [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."
)

// parse reads the command line. Of options that contradict each other, like -N
// and -n, the last one counts.
func (t *mapTool) parse() error {
	spec, usage := postmapOptions, postmapUsage
	if t.alias {
		spec, usage = postaliasOptions, postaliasUsage
	}
	opts, rest, err := getopt(t.env.Args[1:], spec, "")
	if err != nil {
		fmt.Fprintf(t.env.Stderr, "%s: %v\n", t.name, err)
		return errors.New(usage)
	}
	t.mapCall = mapCall{dir: defaultDir(t.env), fold: true, tables: rest, verbose: t.env.Getenv("MAIL_VERBOSE") != ""}
	for _, o := range opts {
		if strings.IndexByte("qds", o.letter) >= 0 {
			if t.doing != 0 && (t.doing != 's' || o.letter != 's') {
				return errors.New("specify only one of -s -q or -d")
			}
			t.doing, t.key = o.letter, o.value
		}
		t.set(o)
	}
	message := t.headers || t.body || t.mime
	switch {
	case t.mime && len(opts) == 1 && len(rest) == 0:
		t.listTypes = true
		return nil
	case message && (t.doing != 'q' || t.key != "-"):
		return errors.New(`specify -b -h or -m only with "-q -"`)
	case len(rest) == 0:
		return errors.New(usage)
	case t.mime && !t.headers && !t.body:
		t.log.Warningf("ignoring -m option without -b or -h")
	}
	return nil
}

// set notes an option that stands for itself.
func (t *mapTool) set(o option) {
	switch o.letter {
	case 'b':
		t.body = true
	case 'c':
		t.dir = o.value
	case 'f':
		t.fold = false
	case 'F':
		t.files = true
	case 'h':
		t.headers = true
	case 'i':
		t.insert = true
	case 'm':
		t.mime = true
	case 'N', 'n':
		with := o.letter == 'N'
		t.null = &with
	case 'o':
		t.asRoot = true
	case 'p':
		t.noMode = true
	case 'r':
		t.duplicates = index.Replace
	case 'u':
		t.noUTF8 = true
	case 'U':
		t.forceUTF8 = true
	case 'v':
		t.verbose = true
	case 'w':
		t.duplicates = index.Keep
	}
}

// use says for what tables are opened.
func (t *mapTool) use() table.Use { return table.Use{Fold: t.fold, AliasSyntax: t.alias} }

// split is the type and the name of a table on the command line. The prefix
// "proxy:" is left on.
func (t *mapTool) split(spec string) (typ, name string) {
	if typ, name, ok := strings.Cut(spec, ":"); ok {
		return typ, name
	}
	return t.settings.String("default_database_type"), spec
}
