package cli

import (
	"fmt"
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
		resp, err := call(cmd, *dir, name)
		if err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout, resp.Text)
		return nil
	}
	return cmd
}

func call(cmd *cobra.Command, dir, name string) (control.Response, error) {
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
	return control.Call(cmd.Context(), socket, control.Request{Command: name})
}
