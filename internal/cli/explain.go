package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"postern/internal/address"
	"postern/internal/check"
	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/setup"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	dir     string
	json    bool
	postfix bool
	dns     bool
	sender  string
}

// newExplain says where addresses go and why. Exit status: 0 all are accepted,
// 1 one is refused, 2 one is refused for now, 3 could not run.
func newExplain(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "explain [flags] ADDRESS... | explain --log LINE|FILE", Short: "Say where an address goes, and which line or row decided"}
	var o explainOptions
	dir := configDir(cmd, env)
	flags := cmd.Flags()
	flags.BoolVar(&o.json, "json", false, "print one JSON object per address")
	flags.BoolVar(&o.postfix, "postfix", false, "answer as with compatibility = postfix")
	flags.BoolVar(&o.dns, "dns", false, "ask the DNS too")
	flags.StringVarP(&o.sender, "from", "f", "sender@client.example", "envelope sender; <> for the null sender")
	line := logFlag(cmd)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		fmt.Fprintf(env.Stderr, "postern: %v\n", err)
		return status(3)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.dir = *dir
		if *line != "" {
			return explainLog(cmd, env, o, *line, args)
		}
		if len(args) == 0 {
			fmt.Fprintln(env.Stderr, "postern: explain needs an address")
			return status(3)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), check.Time)
		defer cancel()
		st, err := runExplain(ctx, env, o, args)
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

// runExplain answers for each address. The status is the worst of them.
func runExplain(ctx context.Context, env Env, o explainOptions, addresses []string) (int, error) {
	options := setup.Options{Log: stderrLog{env.Stderr}}
	if o.postfix {
		options = options.WithPostfix()
	}
	as, err := newExplained(ctx, o, options)
	if err != nil {
		return 3, err
	}
	defer as.close()
	var compare *comparison
	if o.postfix && !o.json {
		if compare, err = newComparison(ctx, env, o); err != nil {
			return 3, err
		}
		defer compare.close()
	}
	worst := 0
	for _, a := range addresses {
		e, err := as.explain(ctx, a)
		if err == nil {
			err = interrupted(ctx)
		}
		if err != nil {
			return 3, err
		}
		worst = max(worst, e.ExitStatus())
		if o.json {
			err = json.NewEncoder(env.Stdout).Encode(e)
		} else {
			e.Print(env.Stdout, styleOf(env, env.Stdout))
		}
		if err == nil && compare != nil {
			err = compare.print(ctx, as.explainer.Fate(ctx, a)) // both without the findings
		}
		if err != nil {
			return 3, err
		}
	}
	return worst, nil
}

// explained is a configuration of which addresses are explained.
type explained struct {
	setup     *setup.Setup
	explainer *explain.Explainer
	inventory *inventory.Inventory
	check     check.Options
}

// newExplained reads a configuration the way the server would.
func newExplained(ctx context.Context, o explainOptions, options setup.Options) (*explained, error) {
	options.Wait = check.ServerTime
	s, err := setup.Open(ctx, o.dir, options)
	if err != nil {
		return nil, err
	}
	if s.Policy == nil {
		return nil, errors.Join(s.Fault, s.Close())
	}
	x := &explain.Explainer{Dir: s.Dir, Settings: s.Service, Router: s.Router, Policy: s.Policy, Clock: time.Now}
	if o.sender != "<>" && o.sender != "" {
		if x.Sender, err = address.Parse(o.sender); err != nil {
			return nil, errors.Join(fmt.Errorf("-f: %w", err), s.Close())
		}
	}
	return &explained{s, x, inventory.New(s), check.Options{DNS: o.dns}}, nil
}

func (x *explained) close() error { return x.setup.Close() }

// explain is the answer for one address, with its findings.
func (x *explained) explain(ctx context.Context, text string) (explain.Explanation, error) {
	e, err := x.explainer.Explain(ctx, text)
	if err != nil {
		return e, err
	}
	check.Address(ctx, x.inventory, &e, x.check)
	x.explainer.Judge(&e)
	return e, nil
}

// styleOf is how an explanation is printed there.
func styleOf(env Env, w io.Writer) explain.Style {
	s := explain.Style{Colour: colours(env, w)}
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			s.Width = int(size.Col)
		}
	}
	return s
}
