package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/control/mailq"
)

const qshapeUsage = `usage: qshape [-s] [-p] [-m min_subdomains] [-l] [-b bucket_count] [-t bucket_time] [-w terminal_width]
	[-N batch_msg_count] [-n top_domains] [-c config_directory] [queue_name ...]`

// shape counts recipients, or messages by sender, by domain and age.
type shape struct {
	senders    bool
	parents    bool // count parent domains too
	subdomains int  // that a parent domain needs to be shown
	linear     bool // buckets of equal width, not each twice the one before
	buckets    int  // the last one has no end
	tick       int  // width of the first one, in minutes
	width      int  // of the output
	top        int  // rows; 0: all
	now        time.Time

	rows map[string]*shapeRow
}

// shapeRow is one domain: its sum, then its buckets.
type shapeRow struct {
	counts     []int
	subdomains int
}

// shapeTotal is the row of all domains. No domain has capital letters here.
const shapeTotal = "TOTAL"

// Widths of qshape's columns.
const (
	shapeWidth  = 80
	shapeDomain = 18 // what a domain has at least
)

// runQshape is the command qshape.
func runQshape(ctx context.Context, env Env) int {
	s := &shape{subdomains: 5, buckets: 10, tick: 5, width: shapeWidth, now: time.Now()}
	if isTerminal(env.Stdout) {
		s.top = 20
	}
	dir, queues, err := s.parse(env)
	if err != nil {
		fmt.Fprintf(env.Stderr, "qshape: %v\n%s\n", err, qshapeUsage)
		return 255
	}
	if err := s.run(ctx, env, dir, queues); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = errNotYours
		}
		fmt.Fprintf(env.Stderr, "qshape: fatal: %v\n", err)
		return exUnavailable
	}
	return 0
}

func (s *shape) parse(env Env) (dir string, queues []string, err error) {
	dir = defaultDir(env)
	opts, rest, err := getopt(env.Args[1:], "lhc:psw:b:t:m:n:N:", "")
	if err != nil {
		return dir, nil, err
	}
	for _, o := range opts {
		switch o.letter {
		case 'l':
			s.linear = true
		case 'h':
			return dir, nil, errors.New("counts the queue by domain and age in minutes")
		case 'c':
			dir = o.value
		case 'p':
			s.parents = true
		case 's':
			s.senders = true
		default:
			n, err := strconv.Atoi(o.value)
			if err != nil || n < 0 {
				return dir, nil, fmt.Errorf("-%c %s: not a number", o.letter, o.value)
			}
			s.number(o.letter, n)
		}
	}
	for i, q := range rest {
		rest[i] = strings.TrimSuffix(q[strings.LastIndexByte(strings.TrimSuffix(q, "/"), '/')+1:], "/")
	}
	if len(rest) == 0 {
		rest = []string{"incoming", "active"}
	}
	return dir, rest, nil
}

// number takes an option with a number; 0 stands for the default.
func (s *shape) number(letter byte, n int) {
	switch {
	case letter == 'n':
		s.top = n
	case n == 0:
	case letter == 'w':
		s.width = max(n, shapeWidth)
	case letter == 'b':
		s.buckets = min(n, 40)
	case letter == 't':
		s.tick = min(n, 1<<20)
	case letter == 'm':
		s.subdomains = n
	}
}

func (s *shape) run(ctx context.Context, env Env, dir string, queues []string) (err error) {
	m, err := findMailSystem(dir)
	if err != nil {
		return err
	}
	m.public = true
	m.direct = true
	defer func() { err = errors.Join(err, m.close()) }()
	f := mailq.Filter{States: slices.DeleteFunc(queues, func(q string) bool {
		return mailq.CheckState(q) != nil
	})}
	s.rows = map[string]*shapeRow{shapeTotal: s.newRow()}
	if len(f.States) > 0 {
		if err := m.list(ctx, f, s.entry); err != nil {
			return err
		}
	}
	w := bufio.NewWriter(env.Stdout)
	s.print(w)
	return w.Flush()
}

func (s *shape) newRow() *shapeRow { return &shapeRow{counts: make([]int, s.buckets+1)} }

// entry counts one message.
func (s *shape) entry(e *mailq.Entry) error {
	if e.Error != "" {
		return nil
	}
	b := s.bucket(s.now.Sub(e.Arrival))
	if s.senders {
		s.count(e.Sender, b)
		return nil
	}
	for i := range e.Recipients {
		s.count(e.Recipients[i].Address, b)
	}
	return nil
}

// bucket is the column of an age, from 1.
func (s *shape) bucket(age time.Duration) int {
	ticks := age.Minutes() / float64(s.tick)
	switch {
	case ticks < 1:
		return 1
	case s.linear:
		return min(int(ticks)+1, s.buckets)
	}
	return min(2+int(math.Log2(ticks)), s.buckets)
}

// count adds an address to its domain, and to the parents of that.
func (s *shape) count(addr string, bucket int) {
	name := "MAILER-DAEMON"
	if addr != "" {
		a := address.Split(addr)
		if name = strings.ToLower(strings.Trim(a.Domain, ".")); name == "" {
			name = strings.ToLower(a.Local)
		}
	}
	s.rows[shapeTotal].add(bucket)
	fresh := s.row(name).add(bucket)
	if !s.parents {
		return
	}
	for {
		_, rest, ok := strings.Cut(name, ".")
		if !ok || !strings.Contains(rest, ".") {
			return
		}
		name = rest
		parent := s.row("." + name)
		if fresh {
			parent.subdomains++
		}
		fresh = parent.add(bucket)
	}
}

func (s *shape) row(name string) *shapeRow {
	r := s.rows[name]
	if r == nil {
		r = s.newRow()
		s.rows[name] = r
	}
	return r
}

// add counts one, and reports whether it was the first.
func (r *shapeRow) add(bucket int) (first bool) {
	r.counts[0]++
	r.counts[bucket]++
	return r.counts[0] == 1
}

// print writes the table: the busiest domains first.
func (s *shape) print(w io.Writer) {
	heads, widths := s.columns()
	room := s.width
	for _, n := range widths {
		room -= n
	}
	room = max(room, shapeDomain)
	line := func(name string, cells []string) {
		fmt.Fprintf(w, "%*s", room, shortDomain(name, room))
		for i, c := range cells {
			fmt.Fprintf(w, "%*s", widths[i], c)
		}
		fmt.Fprintln(w)
	}
	line("", heads)
	shown := 0
	for _, name := range s.order() {
		row := s.rows[name]
		if name[0] == '.' && row.subdomains < s.subdomains {
			continue
		}
		if shown++; s.top > 0 && shown > s.top {
			return
		}
		cells := make([]string, len(row.counts))
		for i, n := range row.counts {
			cells[i] = strconv.Itoa(n)
		}
		line(printable(name), cells)
	}
}

// columns are the headings, the ages in minutes at which buckets end, and the
// widths that they and the largest figures need.
func (s *shape) columns() (heads []string, widths []int) {
	total := s.rows[shapeTotal].counts
	end := s.tick
	for i, n := range total {
		head := strconv.Itoa(end)
		switch {
		case i == 0:
			head = "T"
		case i == s.buckets && i > 1:
			head = strconv.Itoa(s.lastEnd()) + "+"
		case i == s.buckets:
			head = "0+"
		case s.linear:
			end += s.tick
		default:
			end *= 2
		}
		heads = append(heads, head)
		widths = append(widths, max(3, len(head)+1, len(strconv.Itoa(n))+1))
	}
	return heads, widths
}

// lastEnd is the age at which the last bucket begins.
func (s *shape) lastEnd() int {
	end := s.tick
	for range s.buckets - 2 {
		if s.linear {
			end += s.tick
		} else {
			end *= 2
		}
	}
	return end
}

// order sorts the domains: larger ones first, then shorter ones. The sum is
// first among equals.
func (s *shape) order() []string {
	return slices.SortedFunc(maps.Keys(s.rows), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.rows[b].counts[0], s.rows[a].counts[0]),
			-cmp.Compare(btoi(a == shapeTotal), btoi(b == shapeTotal)),
			cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// shortDomain keeps the end of a name that has no room.
func shortDomain(name string, room int) string {
	switch {
	case len(name) <= room:
		return name
	case name[0] == '.':
		return ".+" + name[len(name)-room+2:]
	}
	return "+" + name[len(name)-room+1:]
}
