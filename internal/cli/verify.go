package cli

import (
	"context"
	"fmt"
)

// verify is sendmail -bv: it says for each address whether it can be delivered
// and how, and sends nothing.
func verify(ctx context.Context, env Env, c sendmailCall) int {
	x, closeTables, err := newExplainer(ctx, env, c.dir, false)
	if err != nil {
		fmt.Fprintf(env.Stderr, "sendmail: fatal: %v\n", err)
		return exConfig
	}
	defer closeTables()
	if len(c.recipients) == 0 {
		fmt.Fprintln(env.Stderr, "sendmail: fatal: recipient addresses must be specified on the command line")
		return exUsage
	}
	x.Local = true
	worst := 0
	for _, r := range c.recipients {
		e, err := x.Explain(ctx, r)
		if err != nil {
			fmt.Fprintf(env.Stderr, "sendmail: fatal: %v\n", err)
			return exSoftware
		}
		e.PrintVerdicts(env.Stdout)
		switch e.ExitStatus() {
		case 1:
			worst = exNoUser
		case 2:
			worst = max(worst, exTempFail)
		}
	}
	return worst
}
