package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/address"
	"postern/internal/explain"
	"postern/internal/setup"
)

// explainTime bounds a whole run of explain.
const explainTime = 20 * time.Second

// newExplain says where addresses go and why. Exit status: 0 all are accepted,
// 1 one is refused, 2 one is refused for now, 3 could not run.
func newExplain(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "explain [flags] ADDRESS...", Short: "Say where an address goes, and which line or row decided"}
	dir := configDir(cmd, env)
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object per address")
	postfix := cmd.Flags().Bool("postfix", false, "answer as with compatibility = postfix")
	sender := cmd.Flags().StringP("from", "f", "sender@client.example", "envelope sender; <> for the null sender")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			fmt.Fprintln(env.Stderr, "postern: explain needs an address")
			return status(3)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), explainTime)
		defer cancel()
		st, err := runExplain(ctx, env, *dir, *sender, *postfix, *asJSON, args)
		if err != nil {
			fmt.Fprintf(env.Stderr, "postern: %v\n", err)
			st = 3
		}
		if st != 0 {
			return status(st)
		}
		return nil
	}
	return cmd
}

func runExplain(ctx context.Context, env Env, dir, sender string, postfix, asJSON bool, addresses []string) (int, error) {
	x, closeTables, err := newExplainer(ctx, env, dir, postfix)
	if err != nil {
		return 3, err
	}
	defer closeTables()
	if sender != "<>" && sender != "" {
		if x.Sender, err = address.Parse(sender); err != nil {
			return 3, fmt.Errorf("-f: %w", err)
		}
	}
	worst := 0
	for _, a := range addresses {
		e, err := x.Explain(ctx, a)
		if err != nil {
			return 3, err
		}
		worst = max(worst, e.ExitStatus())
		if !asJSON {
			e.Print(env.Stdout)
			continue
		}
		if err := json.NewEncoder(env.Stdout).Encode(e); err != nil {
			return 3, err
		}
	}
	return worst, nil
}

// newExplainer reads a configuration the way the server would.
func newExplainer(ctx context.Context, env Env, dir string, postfix bool) (*explain.Explainer, func() error, error) {
	o := setup.Options{Log: stderrLog{env.Stderr}}
	if postfix {
		o = o.WithPostfix()
	}
	s, err := setup.Open(ctx, dir, o)
	if err != nil {
		return nil, nil, err
	}
	if s.Policy == nil {
		return nil, nil, errors.Join(s.Fault, s.Close())
	}
	return &explain.Explainer{Dir: s.Dir, Router: s.Router, Policy: s.Policy}, s.Close, nil
}
