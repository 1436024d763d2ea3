package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parseArgs parses the arguments of sendmail in an environment with a few variables.
func parseArgs(args string) (sendmailCall, error) {
	env := map[string]string{"MAIL_CONFIG": "/etc/mail.test", "NAME": "Ann Other"}
	return parseSendmail(Env{
		Args:   append([]string{"sendmail"}, strings.Fields(args)...),
		Getenv: func(name string) string { return env[name] },
	})
}

func TestSendmailFlags(t *testing.T) {
	for _, tt := range []struct {
		args   string
		change func(*sendmailCall)
	}{
		{"a@b.test c", func(c *sendmailCall) { c.recipients = []string{"a@b.test", "c"} }},
		{"-bv a", func(c *sendmailCall) { c.mode, c.recipients = "v", []string{"a"} }},
		{"-bm -bv a", func(c *sendmailCall) { c.mode, c.recipients = "v", []string{"a"} }},
		{"-v a", func(c *sendmailCall) { c.verbose, c.recipients = 1, []string{"a"} }},
		{"-v -v a", func(c *sendmailCall) { c.verbose, c.recipients = 2, []string{"a"} }},
		{"-bs", func(c *sendmailCall) { c.mode = "s" }},
		{"-bp", func(c *sendmailCall) { c.mode = "p" }},
		{"-bi", func(c *sendmailCall) { c.mode = "i" }},
		{"-I", func(c *sendmailCall) { c.mode = "i" }},
		{"-bh", func(c *sendmailCall) { c.mode = "h" }},
		{"-q", func(c *sendmailCall) { c.queue = []string{"-f"} }},
		{"-q15m", func(c *sendmailCall) { c.queue = []string{} }},
		{"-qI4F1C0A9E7B21", func(c *sendmailCall) { c.queue = []string{"-i", "4F1C0A9E7B21"} }},
		{"-qRrelay.test", func(c *sendmailCall) { c.queue = []string{"-s", "relay.test"} }},
		{"-f a@b.test", func(c *sendmailCall) { c.sender, c.haveSender = "a@b.test", true }},
		{"-r <>", func(c *sendmailCall) { c.sender, c.haveSender = "<>", true }},
		{"-FAnn", func(c *sendmailCall) { c.fullName = "Ann" }},
		{"-ti", func(c *sendmailCall) { c.fromHeader, c.ignoreDots = true, true }},
		{"-t -oi", func(c *sendmailCall) { c.fromHeader, c.ignoreDots = true, true }},
		{"-N success,Delay", func(c *sendmailCall) { c.notify = "SUCCESS,DELAY" }},
		{"-N never", func(c *sendmailCall) { c.notify = "NEVER" }},
		{"-N foo", func(c *sendmailCall) { c.warnings = []string{"bad -N option value -- ignored"} }},
		{"-N never,delay", func(c *sendmailCall) { c.warnings = []string{"bad -N option value -- ignored"} }},
		{"-R hdrs", func(c *sendmailCall) { c.ret = "HDRS" }},
		{"-R foo", func(c *sendmailCall) { c.warnings = []string{"bad -R option value -- ignored"} }},
		{"-V en+20vid", func(c *sendmailCall) { c.envid = "en+20vid" }},
		{"-V en\x01vid", func(c *sendmailCall) { c.warnings = []string{"bad syntax in -V option value -- ignored"} }},
		{"-B 8bitmime", func(c *sendmailCall) { c.eightBit = true }},
		{"-B 7BIT", func(*sendmailCall) {}},
		{"-Am -c -G -e m -h 5 -L x -m -n -O x=y -odb -o7 -p x -U -x -X /dev/null -- -a", func(c *sendmailCall) { c.recipients = []string{"-a"} }},
	} {
		want := sendmailCall{mode: "m", dir: "/etc/mail.test", fullName: "Ann Other"}
		tt.change(&want)
		got, err := parseArgs(tt.args)
		got.recipients = slices.Clip(got.recipients)
		if len(got.recipients) == 0 {
			got.recipients = nil
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(sendmailCall{})); err != nil || diff != "" {
			t.Errorf("sendmail %s: %v (-want +got):\n%s", tt.args, err, diff)
		}
	}
}

func TestSendmailWrongFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-bt":     "unsupported: -bt",
		"-bvs":    "unsupported: -bvs",
		"-bv -t":  "-t option cannot be used with -bv",
		"-I a":    "alias initialization mode requires no recipient",
		"-bp a":   "display queue mode requires no recipient; -C names the configuration",
		"-q a":    "flush queue mode requires no recipient",
		"-qIAB a": "flush queue mode requires no recipient",
		"-B foo":  "-B option needs 8BITMIME or 7BIT",
		"-qI":     "specify: -qIqueueid",
		"-qR x":   "specify: -qRsitename",
		"-qSx":    "-qS is not implemented",
		"-qfoo":   "-qf is not implemented",
		"-XV a":   "-XV option is not supported",
		"-XV+= a": "-XV option is not supported",
		"-Z":      "invalid option -- 'Z'",
		"-f":      "option requires an argument -- 'f'",
	} {
		if _, err := parseArgs(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("sendmail %s: %v, want %q", args, err, want)
		}
	}
}
