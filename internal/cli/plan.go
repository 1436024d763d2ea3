package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/plan"
	"postern/internal/setup"
)

// planOptions are the flags of plan.
type planOptions struct {
	dir       string
	with      []string
	addresses []string
	json      bool
	dns       bool
}

// newPlan says what a change of the configuration would do. Exit status: 0 nothing
// changes, 1 something does, 2 could not run.
func newPlan(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan -c OLD NEW | plan -c DIR --with FILE=NEWFILE ...",
		Short: "Say which addresses a change of the configuration concerns, and what becomes of them",
	}
	dir := configDir(cmd, env)
	var o planOptions
	cmd.Flags().StringArrayVar(&o.with, "with", nil, "FILE=NEWFILE: what changes when NEWFILE stands in the place of FILE; may be repeated")
	cmd.Flags().StringArrayVar(&o.addresses, "addresses", nil, "a file with further addresses, one in a line, or a mail log")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&o.dns, "dns", false, "ask the DNS too")
	wrongCall(cmd, env, couldNotRun)
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.dir = *dir
		result, err := runPlan(cmd.Context(), env, o, args)
		if err != nil {
			return exit(env, err)
		}
		if result.Changed() {
			return status(1)
		}
		return nil
	}
	return cmd
}

// runPlan compares and prints.
func runPlan(ctx context.Context, env Env, o planOptions, args []string) (*plan.Result, error) {
	after, options, err := o.other(args)
	if err != nil {
		return nil, err
	}
	more, err := readAddresses(o.addresses)
	if err != nil {
		return nil, err
	}
	modestly()
	bar := newBar(env.Stderr, "plan")
	defer bar.end()
	old, err := setup.Open(ctx, o.dir, setup.Options{})
	if err != nil {
		return nil, err
	}
	defer old.Close()
	changed, err := setup.Open(ctx, after, options)
	if err != nil {
		return nil, err
	}
	defer changed.Close()
	result, err := plan.Compare(ctx, old, changed, plan.Options{DNS: o.dns, Addresses: more, Progress: bar.at})
	if err := interrupted(ctx); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	bar.end()
	if unread := changed.Opener.Replace.Unread(); len(unread) > 0 {
		return nil, fmt.Errorf("--with %s: nothing in the configuration reads this file; name the file as it is named there", unread[0])
	}
	if o.json {
		return result, toJSON(env.Stdout).Encode(result)
	}
	for _, s := range []*setup.Setup{old, changed} {
		if s.Policy == nil {
			fmt.Fprintf(env.Stderr, "postern: %s: no address can be followed: %v\n", s.Dir, s.Fault)
		}
	}
	result.Print(env.Stdout, colours(env, env.Stdout))
	return result, nil
}

// other is the directory to compare with, and the files that stand in the place of
// others.
func (o planOptions) other(args []string) (dir string, options setup.Options, err error) {
	switch {
	case len(args) == 1 && len(o.with) == 0:
		return args[0], options, nil
	case len(args) > 0 || len(o.with) == 0:
		return "", options, errors.New("plan needs either a second directory or --with FILE=NEWFILE")
	}
	options.Replace = map[string]string{}
	for _, pair := range o.with {
		name, by, ok := strings.Cut(pair, "=")
		if !ok || name == "" || by == "" {
			return "", options, fmt.Errorf("--with %s: want FILE=NEWFILE", pair)
		}
		if name, err = o.named(name); err != nil {
			return "", options, err
		}
		if by, err = filepath.Abs(by); err != nil {
			return "", options, err
		}
		if _, err := os.Stat(by); err != nil {
			return "", options, fmt.Errorf("--with %s: %w", pair, err)
		}
		options.Replace[name] = by
	}
	return o.dir, options, nil
}

// named is the file that --with means: a relative name is below the configuration
// directory, or else below the working directory.
func (o planOptions) named(name string) (string, error) {
	if !filepath.IsAbs(name) {
		below, err := filepath.Abs(filepath.Join(o.dir, name))
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(below); err == nil {
			return below, nil
		}
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(abs); err != nil {
		return "", fmt.Errorf("--with: there is nothing to replace: %w", err)
	}
	return abs, nil
}

// readAddresses reads the addresses of files.
func readAddresses(names []string) ([]string, error) {
	var all []string
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		list, err := plan.ReadAddresses(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, list...)
	}
	return all, nil
}
