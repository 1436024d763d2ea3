package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"postern/internal/control"
	"postern/internal/control/mailq"
)

const postcatUsage = "usage: postcat [-b (body text)] [-c config_dir] [-e (envelope records)] [-h (header text)] [-o (offsets)] [-q (access queue)] [-v] [queue_id...]"

// postcatTool is a run of postcat(1).
type postcatTool struct {
	env                            Env
	dir                            string
	envelope, header, body, offset bool
	w                              *bufio.Writer
}

// runPostcat is the command postcat. Messages are named by their ids; there are
// no queue files that it could be given.
func runPostcat(ctx context.Context, env Env) int {
	fail := func(err error) int {
		fmt.Fprintf(env.Stderr, "postcat: fatal: %v\n", err)
		return 1
	}
	t := &postcatTool{env: env, dir: defaultDir(env), w: bufio.NewWriter(env.Stdout)}
	opts, ids, err := getopt(env.Args[1:], "bc:dehoqrv", "")
	if err != nil {
		fmt.Fprintf(env.Stderr, "postcat: %v\n", err)
		return fail(errors.New(postcatUsage))
	}
	inQueue := false
	for _, o := range opts {
		switch o.letter {
		case 'b':
			t.body = true
		case 'c':
			t.dir = o.value
		case 'e':
			t.envelope = true
		case 'h':
			t.header = true
		case 'o':
			t.offset = true
		case 'q':
			inQueue = true
		}
	}
	if !t.body && !t.envelope && !t.header {
		t.body, t.envelope, t.header = true, true, true
	}
	if !inQueue {
		return fail(errors.New("there are no queue files to read: give queue ids, with -q"))
	}
	if err := errors.Join(t.run(ctx, ids), t.w.Flush()); err != nil {
		return fail(err)
	}
	return 0
}

func (t *postcatTool) run(ctx context.Context, ids []string) (err error) {
	m, err := findMailSystem(t.dir)
	if err != nil {
		return err
	}
	m.direct = true
	defer func() { err = errors.Join(err, m.close()) }()
	for _, id := range ids {
		if err := t.show(ctx, m, id); err != nil {
			return err
		}
	}
	return nil
}

// show prints one message.
func (t *postcatTool) show(ctx context.Context, m *mailSystem, id string) error {
	var head *mailq.Message
	text := &messageText{tool: t, header: true}
	_, err := m.stream(ctx, "queue.message", nil, control.Sink{Item: func(raw json.RawMessage) error {
		if head == nil {
			head = &mailq.Message{}
			if err := json.Unmarshal(raw, head); err != nil {
				return err
			}
			t.envelopeRecords(head)
			return nil
		}
		var part mailq.Part
		if err := json.Unmarshal(raw, &part); err != nil {
			return err
		}
		return text.write(part.Text)
	}}, id)
	var told *control.Error
	switch {
	case errors.As(err, &told) && told.Code == control.NotFound:
		return fmt.Errorf("open queue file %s: No such file or directory", id)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("open queue file %s: Permission denied", id)
	case err != nil:
		return fmt.Errorf("%s: %w", id, err)
	}
	if err := text.end(); err != nil {
		return err
	}
	if t.envelope {
		t.section("HEADER EXTRACTED", head)
		t.section("MESSAGE FILE END", head)
	}
	return nil
}

func (t *postcatTool) section(name string, m *mailq.Message) {
	t.line(0, fmt.Sprintf("*** %s %s/%s ***", name, m.Entry.State, m.Entry.ID))
}

// line prints a record; -o puts its offset in the text in front.
func (t *postcatTool) line(offset int64, text string) {
	if t.offset {
		fmt.Fprintf(t.w, "%9d ", offset)
	}
	_, _ = t.w.WriteString(text) // Flush tells
	_ = t.w.WriteByte('\n')
}

// envelopeRecords prints the envelope in the words of Postfix's queue files.
func (t *postcatTool) envelopeRecords(m *mailq.Message) {
	if !t.envelope {
		return
	}
	record := func(name, value string) { t.line(0, name+": "+printable(value)) }
	attribute := func(name, value string) {
		if value != "" {
			record("named_attribute", name+"="+value)
		}
	}
	e := &m.Envelope
	t.section("ENVELOPE RECORDS", m)
	t.line(0, fmt.Sprintf("message_size: %15d %15d %15d %15d %15d %15d", m.Entry.Size, 0, len(e.Recipients), 0, m.Entry.Size, 0))
	record("message_arrival_time", e.Arrival.Local().Format(time.ANSIC))
	attribute("log_ident", m.Entry.ID)
	attribute("message_id", e.MessageID)
	if e.SMTPUTF8 {
		attribute("smtputf8", "1")
	}
	if e.EightBit {
		attribute("encoding", "8bit")
	}
	attribute("envelope_id", e.EnvID)
	attribute("ret_flags", e.Ret)
	record("sender", external(e.Sender))
	for i, r := range e.Recipients {
		attribute("dsn_orig_rcpt", r.ORCPT)
		if r.Notify != 0 {
			attribute("notify_flags", fmt.Sprint(uint8(r.Notify)))
		}
		if r.Original != "" {
			record("original_recipient", external(r.Original))
		}
		if i < len(m.Done) && m.Done[i] {
			record("done_recipient", external(r.Address))
		} else {
			record("recipient", external(r.Address))
		}
	}
	t.section("MESSAGE CONTENTS", m)
}

// messageText prints the lines of a text, as many of them as were asked for.
type messageText struct {
	tool   *postcatTool
	header bool   // still in the header
	begun  bool   // within a line
	wanted bool   // that line is printed
	held   []byte // beginning of a header line that is not whole yet
	offset int64
}

// maxHeld bounds how much of a header line is looked at.
const maxHeld = 64 << 10

// write takes the next piece of the text. A line may come in several.
func (x *messageText) write(p []byte) error {
	if len(x.held) > 0 {
		p = append(x.held, p...)
		x.held = nil
	}
	for len(p) > 0 {
		line, whole := p, false
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line, whole = p[:i+1], true
		}
		if x.header && !whole && !x.begun && len(p) < maxHeld {
			x.held = bytes.Clone(p)
			return nil
		}
		if err := x.piece(line, whole); err != nil {
			return err
		}
		p = p[len(line):]
	}
	return nil
}

// piece prints a line or a part of one.
func (x *messageText) piece(line []byte, whole bool) error {
	if !x.begun {
		x.begin(line)
	}
	x.begun = !whole
	x.offset += int64(len(line))
	if !x.wanted {
		return nil
	}
	_, err := x.tool.w.Write(line)
	return err
}

// begin sees the beginning of a line. The first one that is no header field and
// no continuation begins the body.
func (x *messageText) begin(line []byte) {
	if x.header {
		x.header = headerLine(line)
	}
	x.wanted = x.header && x.tool.header || !x.header && x.tool.body
	if x.wanted && x.tool.offset {
		fmt.Fprintf(x.tool.w, "%9d ", x.offset)
	}
}

// end completes a last line without a line end.
func (x *messageText) end() error {
	if len(x.held) > 0 {
		if err := x.piece(x.held, false); err != nil {
			return err
		}
	}
	if x.begun && x.wanted {
		return x.tool.w.WriteByte('\n')
	}
	return nil
}

// headerLine reports whether a line begins as one of a header.
func headerLine(line []byte) bool {
	if len(line) == 0 || line[0] == '\n' {
		return false
	}
	if line[0] == ' ' || line[0] == '\t' {
		return true
	}
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && len(name) > 0 && bytes.IndexFunc(bytes.TrimRight(name, " \t"), func(c rune) bool { return c <= ' ' || c >= 0x7f }) < 0
}
