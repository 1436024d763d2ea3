package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"postern/internal/control"
	"postern/internal/server"
)

// newControl is a command that the running server carries out.
func newControl(env Env, name, short string) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: noArguments}
	dir := configDir(cmd, env)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		resp, err := tellServer(cmd.Context(), *dir, name)
		for _, w := range resp.Warnings {
			fmt.Fprintf(env.Stderr, "postern: warning: %s\n", printable(w))
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout, resp.Text)
		return nil
	}
	return cmd
}

// tellServer gives a command to the server of a configuration directory.
func tellServer(ctx context.Context, dir, name string) (control.Response, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return control.Response{}, err
	}
	// A broken main.cf must not keep anybody from reaching the server that runs
	// on the old one: the socket's place is all that is needed of it.
	socket, err := server.FindControlSocket(abs)
	if err != nil {
		return control.Response{}, err
	}
	resp, err := control.Call(ctx, socket, control.Request{Command: name})
	if errors.Is(err, fs.ErrPermission) {
		err = errNotYours
	}
	return resp, err
}

// errNotYours is the failure of a command that is not for this user.
var errNotYours = errors.New("only for the user that the server runs as, and root")
