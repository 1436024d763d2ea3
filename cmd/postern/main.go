// Postern is a mail server for virtual domains. See the README, and
// "postern help".
package main

import (
	"os"

	"postern/internal/cli"
)

func main() {
	os.Exit(cli.Main(cli.Env{Args: os.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}))
}
