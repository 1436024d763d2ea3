package cli

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/check"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/logline"
	"postern/internal/setup"
)

// logFlag adds the flag --log of explain.
func logFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("log", "", "explain a line of the mail log, or the failures of a file of them (-: standard input)")
}

// explainLog is explain --log.
func explainLog(cmd *cobra.Command, env Env, o explainOptions, arg string, rest []string) error {
	st, err := 3, error(usageError{"--log takes one line or file, and no address"})
	if len(rest) == 0 {
		st, err = runExplainLog(cmd.Context(), env, o, arg)
	}
	if err != nil {
		fmt.Fprintf(env.Stderr, "postern: %v\n", err)
		st = 3
	}
	if st != 0 {
		return status(st)
	}
	return nil
}

// logAnswer is what is said about a log line, or about all lines of one cause.
type logAnswer struct {
	Code  string       `json:"code"` // "": no code names it
	Title string       `json:"title,omitempty"`
	Kind  logline.Kind `json:"kind"`
	Count int          `json:"count"`
	Line  string       `json:"line"` // one of them, without its front
	// Addresses are those it happened to most, the most frequent first.
	Addresses   []string             `json:"addresses,omitempty"`
	Explanation *explain.Explanation `json:"explanation,omitempty"` // of the first address
	Findings    []finding.Finding    `json:"findings"`
	Now         string               `json:"now"` // what the configuration as it is now does
	Cure        string               `json:"cure"`
}

// runExplainLog answers for a log line, or for a file of them ("-": standard
// input). The status is that of explain: 0 when the configuration as it is now has
// nothing to do with it any more.
func runExplainLog(ctx context.Context, env Env, o explainOptions, arg string) (int, error) {
	options := setup.Options{}
	if o.postfix {
		options = options.WithPostfix()
	}
	x, err := newExplained(ctx, o, options)
	if err != nil {
		return 3, err
	}
	defer x.close()
	v := &investigator{x: x}
	file, size, err := openLog(env, arg)
	if err != nil {
		return 3, err
	}
	var answers []logAnswer
	if file == nil {
		e, ok := logline.Parse(arg)
		if !ok {
			return 3, errors.New("this line shows neither a failure nor a delivery, and no such file exists")
		}
		ctx, cancel := context.WithTimeout(ctx, check.Time)
		defer cancel()
		answers = []logAnswer{v.answer(ctx, e)}
		err = interrupted(ctx)
	} else {
		defer file.Close()
		answers, err = v.logFile(ctx, env, o, file, size)
	}
	if err != nil {
		return 3, err
	}
	return worstAnswer(answers), printAnswers(env, answers, o.json)
}

// logFile answers for a file, and says so when there is nothing to answer.
func (v *investigator) logFile(ctx context.Context, env Env, o explainOptions, file io.Reader, size int64) ([]logAnswer, error) {
	answers, lines, err := v.file(ctx, env, file, size)
	if ended := interrupted(ctx); ended != nil {
		err = ended
	}
	if err == nil && len(answers) == 0 {
		out := env.Stdout
		if o.json {
			out = env.Stderr
		}
		fmt.Fprintf(out, "no failure in %s\n", plural(lines, "line"))
	}
	return answers, err
}

// openLog opens the file that an argument names; nil: it is a line. The size is 0
// when it is not known how much there is to read.
func openLog(env Env, arg string) (io.ReadCloser, int64, error) {
	if arg == "-" {
		return unpacked(io.NopCloser(env.Stdin), 0)
	}
	info, err := os.Stat(arg)
	if err != nil || info.IsDir() {
		return nil, 0, nil
	}
	f, err := os.Open(arg)
	if err != nil {
		return nil, 0, err
	}
	return unpacked(f, info.Size())
}

// unpacked reads a log, also one that logrotate(8) has packed (gzip, RFC 1952).
func unpacked(f io.ReadCloser, size int64) (io.ReadCloser, int64, error) {
	in := bufio.NewReader(f)
	whole := struct {
		io.Reader
		io.Closer
	}{in, f}
	if magic, _ := in.Peek(2); string(magic) != "\x1f\x8b" {
		return whole, size, nil
	}
	packed, err := gzip.NewReader(in)
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	whole.Reader = packed
	return whole, 0, nil
}

// worstAnswer is the exit status: 1 a refusal or an error, 2 a refusal for now.
func worstAnswer(answers []logAnswer) int {
	worst := 0
	for _, a := range answers {
		switch {
		case a.Explanation != nil:
			worst = max(worst, a.Explanation.ExitStatus())
		case finding.Count(a.Findings, finding.Error) > 0:
			worst = max(worst, 1)
		}
	}
	return worst
}

// investigator looks for the causes of events in one configuration.
type investigator struct {
	x     *explained
	whole []finding.Finding // of the whole configuration
	done  bool              // whole is there
}

// answer says what is behind an event.
func (v *investigator) answer(ctx context.Context, e logline.Event) logAnswer {
	a := logAnswer{Kind: e.Kind, Count: 1, Line: e.Reason}
	var own []finding.Finding
	if e.Recipient != "" {
		a.Addresses = []string{e.Recipient}
	}
	if e.Recipient != "" && !aboutSender(e) {
		// A mailbox of another host is no recipient that we must accept from everybody.
		if x, err := v.x.explain(ctx, e.Recipient); err == nil && (e.Advice == "" || x.ExitStatus() == 0) {
			a.Explanation, own = &x, x.Findings
		}
	}
	a.Findings = withCodes(own, e.Codes)
	if len(a.Findings) == 0 && len(e.Codes) > 0 {
		a.Findings = v.search(ctx, e)
	}
	if len(a.Findings) > 0 {
		a.Code = a.Findings[0].Code
	} else if len(e.Codes) > 0 {
		a.Code = e.Codes[0]
	}
	for _, f := range own { // what else is wrong with this address
		if f.Severity != finding.Info && !slices.ContainsFunc(a.Findings, func(g finding.Finding) bool { return g.Code == f.Code }) {
			a.Findings = append(a.Findings, f)
		}
	}
	if a.Findings == nil {
		a.Findings = []finding.Finding{}
	}
	a.Title, a.Cure = finding.Title(a.Code), finding.Cure(a.Code)
	if a.Code == "" {
		a.Cure = e.Advice
	}
	a.Now = now(a)
	return a
}

// aboutSender says of an event whether its address is one that sends.
func aboutSender(e logline.Event) bool { return len(e.Codes) > 0 && e.Codes[0] == "VD501" }

// withCodes are the findings that have one of the codes, the likeliest first.
func withCodes(list []finding.Finding, codes []string) []finding.Finding {
	var found []finding.Finding
	for _, code := range codes {
		for _, f := range list {
			if f.Code == code {
				found = append(found, f)
			}
		}
	}
	return found
}

// search looks for an event in the findings of the whole configuration: those with
// its codes that speak of what it is about.
func (v *investigator) search(ctx context.Context, e logline.Event) []finding.Finding {
	if !v.done {
		v.whole, v.done = check.RunOn(ctx, v.x.inventory, v.x.check).Findings, true
	}
	var subjects []string
	for _, s := range []string{e.Table, e.File, e.Parameter, e.Domain, e.Recipient, e.Final} {
		if s != "" {
			subjects = append(subjects, s)
		}
	}
	if _, domain, ok := strings.Cut(e.Recipient, "@"); ok && domain != "" {
		subjects = append(subjects, domain)
	}
	var found []finding.Finding
	for _, f := range withCodes(v.whole, e.Codes) {
		if len(subjects) == 0 || ofHost[f.Code] || slices.ContainsFunc(subjects, func(s string) bool { return v.mentions(f, s) }) {
			found = append(found, f)
		}
	}
	return found
}

// ofHost are failures that concern everybody, whatever a log line is about.
var ofHost = map[string]bool{"VD301": true, "VD304": true, "VD305": true, "VD306": true, "VD307": true,
	"VD402": true, "VD403": true, "VD404": true, "VD503": true, "VD507": true, "VD509": true}

// mentions says whether a finding speaks of a subject.
func (v *investigator) mentions(f finding.Finding, subject string) bool {
	subject = strings.ToLower(subject)
	_, name, ok := strings.Cut(subject, ":") // a table by its file, too
	if !ok || !filepath.IsAbs(name) {
		name = subject
	}
	has := func(text string) bool { return strings.Contains(strings.ToLower(text), subject) }
	if has(f.Message) {
		return true
	}
	for _, at := range f.At {
		file := at.File
		if file != "" && !filepath.IsAbs(file) {
			file = filepath.Join(v.x.setup.Dir, file)
		}
		if has(at.Text) || has(at.Table) || has(at.Key) || has(at.Parameter) || file != "" && (file == name || strings.HasSuffix(name, "/"+filepath.Base(file))) {
			return true
		}
	}
	return false
}

// now says what the configuration as it is now does.
func now(a logAnswer) string {
	e := a.Explanation
	switch {
	case e == nil && finding.Count(a.Findings, finding.Info) == len(a.Findings):
		return "as the configuration is now, it does not have this fault"
	case e == nil:
		return "the configuration as it is now has this fault"
	case e.Reply.Code >= 300:
		return fmt.Sprintf("as the configuration is now, %s is refused: %d %s %s", e.Address, e.Reply.Code, e.Reply.Enhanced, e.Reply.Text)
	case e.After != nil:
		return fmt.Sprintf("as the configuration is now, %s is refused at the end of the message: %d %s %s", e.Address, e.After.Code, e.After.Enhanced, e.After.Text)
	}
	var to []string
	for _, r := range e.Recipients {
		text := r.Address + " by " + r.Transport
		if r.Reply.Code >= 300 {
			text += fmt.Sprintf(", where it meets %d %s %s", r.Reply.Code, r.Reply.Enhanced, r.Reply.Text)
		}
		to = append(to, text)
	}
	return fmt.Sprintf("as the configuration is now, %s is accepted and goes to %s", e.Address, strings.Join(to, "; "))
}

// printAnswers writes answers for programs or for people.
func printAnswers(env Env, answers []logAnswer, asJSON bool) error {
	enc := toJSON(env.Stdout)
	for i, a := range answers {
		if asJSON {
			if err := enc.Encode(a); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(env.Stdout)
		}
		a.print(env.Stdout, colours(env, env.Stdout))
	}
	return nil
}

func (a logAnswer) print(w io.Writer, colour bool) {
	head := "no code names this"
	if a.Code != "" {
		head = strings.TrimSpace(a.Code + " " + a.Title)
	}
	if a.Count > 1 {
		head += fmt.Sprintf("   %d times", a.Count)
	}
	fmt.Fprintln(w, head)
	fmt.Fprintf(w, "   %s\n", finding.Printable(a.Line))
	if len(a.Addresses) > 1 {
		fmt.Fprintf(w, "   most often %s\n", finding.Printable(strings.Join(a.Addresses, ", ")))
	}
	for _, f := range a.Findings {
		f.Print(w, colour)
	}
	fmt.Fprintf(w, "   now: %s\n", finding.Printable(a.Now))
	if (len(a.Findings) == 0 || a.Code == "") && a.Cure != "" {
		fmt.Fprintf(w, "   cure: %s\n", a.Cure)
	}
}
