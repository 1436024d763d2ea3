package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/server"
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
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(filepath.Join(abs, "main.cf")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("no main.cf in %s", abs)
	}
	o := config.Options{}
	if postfix {
		o.Overrides = []config.Override{{Name: "compatibility", Value: "postfix"}}
	}
	settings, err := config.Load(abs, o)
	if err != nil {
		return nil, nil, err
	}
	log := stderrLog{env.Stderr}
	opener := server.NewOpener(settings, log)
	opener.Locate = true
	router, err := server.NewRouter(ctx, route.Options{Settings: settings, Opener: opener, Files: privsep.NewFiles(), Log: log})
	if err != nil {
		opener.Close()
		return nil, nil, err
	}
	service := settings
	for _, m := range settings.Services() {
		if m.Command == "smtpd" && m.Type == "inet" {
			if service, err = settings.ForService(m); err != nil {
				opener.Close()
				return nil, nil, err
			}
			break
		}
	}
	policy, err := access.New(ctx, access.Options{Settings: service, Opener: opener, Router: router, Own: server.HostAddresses(), Log: log})
	if err != nil {
		opener.Close()
		return nil, nil, err
	}
	return &explain.Explainer{Dir: abs, Router: router, Policy: policy}, opener.Close, nil
}
