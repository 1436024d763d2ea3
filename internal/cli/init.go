package cli

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
	_ "modernc.org/sqlite" // the driver of the example's sqlite table

	"database/sql"

	"postern/internal/table/builtin"
	"postern/internal/table/index"
)

// example is the configuration that init writes.
//
//go:embed example
var example embed.FS

// newInit writes a small commented configuration: the domains of the usual
// tutorial, ready to serve on a port that needs no root.
func newInit(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "init DIR", Short: "Write a commented example configuration into a new directory"}
	listen := cmd.Flags().String("listen", "127.0.0.1:2525", "address of the SMTP service")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{"init needs the name of a directory"}
		}
		if host, port, err := net.SplitHostPort(*listen); err != nil || host == "" || port == "" {
			return usageError{fmt.Sprintf("--listen %s: want ADDRESS:PORT, as in 127.0.0.1:2525", *listen)}
		}
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, "main.cf")); err == nil {
			fmt.Fprintf(env.Stdout, "%s exists: nothing was changed\n", filepath.Join(dir, "main.cf"))
			return nil
		}
		if err := writeExample(cmd.Context(), dir, *listen); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "wrote an example configuration to %s\n", dir)
		return nil
	}
	return cmd
}

// exampleValues fill the templates.
type exampleValues struct {
	Dir, Listen string
	Mail        string // where the mailboxes are: Dir/mail, but for openMail
	UID, GID    int
}

// writeExample writes the files and the database. main.cf comes last, so that a
// directory with a main.cf is complete.
func writeExample(ctx context.Context, dir, listen string) error {
	v := exampleValues{dir, listen, filepath.Join(dir, "mail"), os.Getuid(), os.Getgid()}
	if v.UID == 0 {
		v.UID, v.GID = 5000, 5000 // virtual(8) never writes as root
	}
	if err := os.MkdirAll(filepath.Join(dir, "queue"), 0o755); err != nil {
		return err
	}
	if err := makeMail(&v); err != nil {
		return err
	}
	entries, err := fs.ReadDir(example, "example")
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "main.cf", "mail.sql", "hints.txt":
			continue
		}
		if err := writeTemplate(dir, e.Name(), v); err != nil {
			return err
		}
	}
	if err := writeDatabase(ctx, filepath.Join(dir, "mail.db")); err != nil {
		return err
	}
	if err := buildIndexes(ctx, dir); err != nil {
		return err
	}
	return writeTemplate(dir, "main.cf", v)
}

// buildIndexes does what postmap and postalias would: Postfix needs the indexes, and
// Postern says so where one is missing.
func buildIndexes(ctx context.Context, dir string) error {
	for _, name := range []string{"aliases", "virtual", "virtual_mailbox_domains", "virtual_mailbox_users"} {
		path := filepath.Join(dir, name)
		b := &index.Builder{Format: builtin.Formats()["hash"], Name: "hash:" + path, Path: path, Fold: true, UTF8: true,
			Alias: name == "aliases"}
		if err := b.Rebuild(ctx); err != nil {
			return err
		}
	}
	return nil
}

// makeMail makes the directories for mailboxes. What root starts delivers as other
// users: where they cannot enter DIR (/root is closed on most systems), the
// mailboxes are made in /var/tmp, and DIR/mail is a symbolic link to them.
func makeMail(v *exampleValues) error {
	if v.UID != os.Getuid() && !openToAll(v.Dir) {
		outside, err := os.MkdirTemp("/var/tmp", "postern-example-")
		if err != nil {
			return err
		}
		if err := os.Chmod(outside, 0o755); err != nil {
			return err
		}
		if err := os.Symlink(outside, v.Mail); err != nil {
			return err
		}
		v.Mail = outside
	}
	local := filepath.Join(v.Mail, "local")
	if err := os.MkdirAll(local, 0o755); err != nil {
		return err
	}
	// Every system user makes a Maildir of his own there.
	if err := os.Chmod(local, 0o777|os.ModeSticky); err != nil {
		return err
	}
	if v.UID != os.Getuid() {
		return os.Chown(v.Mail, v.UID, v.GID)
	}
	return nil
}

// openToAll tells whether every user may pass through dir and all above it.
func openToAll(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

func writeTemplate(dir, name string, v exampleValues) error {
	text, err := example.ReadFile("example/" + name)
	if err != nil {
		return err
	}
	t, err := template.New(name).Parse(string(text))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), out.Bytes(), 0o644)
}

// writeDatabase makes the sqlite table of the example.
func writeDatabase(ctx context.Context, name string) (err error) {
	text, err := example.ReadFile("example/mail.sql")
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, string(text))
	return err
}

// printHints says what to try on a fresh server, with the exact commands.
func printHints(w io.Writer, dir string, addresses []string) {
	text, err := example.ReadFile("example/hints.txt")
	if err != nil || len(addresses) == 0 {
		return
	}
	t, err := template.New("hints").Parse(string(text))
	if err != nil {
		return
	}
	program, err := os.Executable()
	if err != nil {
		program = "postern"
	}
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, program); err == nil && !strings.HasPrefix(rel, "..") {
			program = rel
		}
	}
	host, port, _ := strings.Cut(addresses[0], ":")
	_ = t.Execute(w, map[string]string{"Program": program, "Dir": strings.TrimSuffix(dir, "/"), "Host": host, "Port": port})
}
