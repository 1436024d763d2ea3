package smtpd

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"postern/internal/smtp"
)

var update = flag.Bool("update", false, "write what was seen into the dialogues")

// TestDialogues plays testdata/*.txtar. An archive has these files:
//
//	settings  one setting a line, see apply
//	dialogue  C: a line to send   C+ a line to send together with the next C
//	          B: quoted octets to send   S: a reply line to expect
//	          E: the server ends the connection
//	log       the lines of the log
//	mail      what was stored: recipients, effects, text
//
// Only the dialogue has to be there. With -update it gets the S lines as they
// come, and log and mail are rewritten.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { playFile(t, file) })
	}
}

func playFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(text)
	h := newHouse()
	seen := map[string]string{}
	for _, f := range a.Files {
		switch f.Name {
		case "settings":
			for line := range strings.Lines(string(f.Data)) {
				h.apply(t, strings.TrimSpace(line))
			}
		case "dialogue":
			seen["dialogue"] = h.play(t, string(f.Data))
		}
	}
	seen["log"], seen["mail"] = h.log.String()+"\n", h.mail()
	for i, f := range a.Files {
		got, ok := seen[f.Name]
		if !ok || got == string(f.Data) {
			continue
		}
		if *update {
			a.Files[i].Data = []byte(got)
			continue
		}
		t.Errorf("%s: %s is\n%s\nwant\n%s", file, f.Name, got, f.Data)
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// apply makes one setting.
func (h *house) apply(t *testing.T, line string) {
	name, value, _ := strings.Cut(line, " = ")
	n, _ := strconv.Atoi(value)
	c := &h.config
	switch name {
	case "no_room":
		h.intake.room = smtp.R(452, "4.3.1", "Insufficient system storage")
	case "store_ill":
		h.intake.room = smtp.R(451, "4.3.0", "Error: queue file write error")
	case "etrn": // for a domain and those below it; that of a fault cannot be told
		p := *h.profile.Load()
		p.Flush = func(_ context.Context, domain string) (bool, error) {
			if domain == "fault."+value {
				return false, errDisk
			}
			return domain == value || strings.HasSuffix(domain, "."+value), nil
		}
		h.swap(&p)
	case "helo_required":
		c.HeloRequired = true
	case "disable_vrfy":
		c.DisableVrfy = true
	case "strict":
		c.StrictRFC821 = true
	case "no_smtputf8":
		c.SMTPUTF8 = false
	case "soft_bounce":
		c.SoftBounce = true
	case "postfix":
		c.PostfixCommands = true
	case "allow_pipelining":
		c.ForbidUnauthPipe = false
	case "hard_error_limit":
		c.HardErrorLimit = n
	case "junk_command_limit":
		c.JunkCommandLimit = n
	case "recipient_limit":
		c.RecipientLimit = n
	case "overshoot_limit":
		c.OvershootLimit = n
	case "size":
		c.MessageSizeLimit = int64(n)
	case "line_length":
		c.LineLengthLimit = n
	case "discard":
		c.DiscardEhloKeywords = map[string]bool{value: true}
	case "noop":
		c.NoopCommands = map[string]bool{value: true}
	case "bare_newline":
		c.ForbidBareNewline, _ = smtp.ParseBareNewline(value)
	case "encrypt":
		c.TLS, c.TLSLevel = serverTLS(t), TLSEncrypt
	case "reject_client":
		h.policy.connect = Verdict{Reply: smtp.R(554, "5.7.1", "<unknown[192.0.2.1]>: Client host rejected: Access denied")}
	case "reject_data":
		h.policy.data = Verdict{Reply: smtp.R(554, "5.7.1", "<DATA>: Data command rejected: Access denied")}
	case "reject_end":
		h.policy.endOfData = Verdict{Reply: smtp.R(554, "5.7.1", "<END-OF-MESSAGE>: End-of-data rejected: Access denied")}
	case "commit":
		h.intake.commit = parseReply(value)
	case "begin":
		h.intake.begin = parseReply(value)
	case "disk_full":
		h.intake.writeErr, h.intake.commit = errDisk, smtp.R(452, "4.3.1", "Insufficient system storage")
	default:
		t.Fatalf("unknown setting %q", line)
	}
}

func parseReply(text string) smtp.Reply {
	n, _ := strconv.Atoi(text[:3])
	enhanced, rest, _ := smtp.CutEnhanced(text[4:])
	return smtp.R(n, enhanced, rest)
}

// play speaks the client's lines and writes down both sides.
func (h *house) play(t *testing.T, script string) string {
	p := h.connectSilently(t)
	if err := p.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	held := ""
	pending := 0 // replies that the script expects next
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "S: ") {
			pending++
			if !*update {
				b.WriteString("S: " + p.line() + "\n")
			}
			continue
		}
		if *update {
			p.replies(&b)
		}
		pending = 0
		b.WriteString(line + "\n")
		if line == "E" {
			p.wantEnd()
			continue
		}
		text := line[min(3, len(line)):]
		if strings.HasPrefix(line, "B: ") {
			quoted, err := strconv.Unquote(text)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			p.send(held + quoted)
			held = ""
			continue
		}
		held += text + "\r\n"
		if line[1] == ':' {
			p.send(held)
			held = ""
		}
	}
	if *update {
		p.replies(&b)
	}
	_ = p.Close()
	<-p.over
	return b.String()
}

// replies reads what the server says before it falls silent.
func (p *peer) replies(b *strings.Builder) {
	for {
		if !p.in.HasLine() {
			_ = p.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		}
		line, err := p.in.ReadLine(1000)
		_ = p.SetReadDeadline(time.Time{})
		if err != nil {
			p.in.Reset(p.Conn)
			return
		}
		b.WriteString("S: " + string(line.Text) + "\n")
	}
}

// mail shows what the intake stored.
func (h *house) mail() string {
	var b strings.Builder
	for _, m := range h.intake.stored() {
		b.WriteString("to " + strings.Join(m.recipients, " ") + "\n")
		for _, e := range m.effects {
			b.WriteString("effect " + e.Verb + " " + e.Text + "\n")
		}
		for line := range strings.Lines(m.text) {
			b.WriteString("> " + strconv.Quote(line) + "\n")
		}
	}
	h.intake.mu.Lock()
	defer h.intake.mu.Unlock()
	if h.intake.aborted > 0 {
		b.WriteString("aborted " + strconv.Itoa(h.intake.aborted) + "\n")
	}
	return b.String()
}
