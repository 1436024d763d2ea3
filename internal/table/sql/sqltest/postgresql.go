package sqltest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// PostgreSQL is the PostgreSQL server that the tests of this program share.
func PostgreSQL(t testing.TB) *Server {
	t.Helper()
	return share(t, "postgresql", startPostgreSQL)
}

// NewPostgreSQL starts a PostgreSQL server that ends with the test.
func NewPostgreSQL(t testing.TB) *Server {
	t.Helper()
	s := startPostgreSQL(t)
	t.Cleanup(s.remove)
	return s
}

// access lets the administrator in without a password, by the socket only.
const access = `local all postgres trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
`

func startPostgreSQL(t testing.TB) *Server {
	t.Helper()
	program, install := need(t, "postgres"), need(t, "initdb")
	s := newServer(t, "postgres")
	data := filepath.Join(s.Dir, "data")
	s.Socket = s.Dir
	s.program, s.execute = program, execPostgreSQL
	s.install(t, data, install, "-D", data, "-A", "trust", "-U", "postgres", "-N", "--no-locale", "-E", "UTF8")
	must(t, os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(access), 0o644))
	s.stopBy = os.Interrupt // a fast shutdown: clients are not waited for
	s.args = []string{"-D", data, "-p", s.Port, "-h", "127.0.0.1", "-k", s.Socket, "-c", "fsync=off", "-c", "max_connections=300",
		"-c", "ssl=on", "-c", "ssl_cert_file=" + filepath.Join(s.Dir, certFile), "-c", "ssl_key_file=" + filepath.Join(s.Dir, keyFile)}
	s.Start(t)
	return s
}

// execPostgreSQL runs statements. One that begins with \c and a name changes to
// the database of that name.
func execPostgreSQL(s *Server, statements []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	for _, statement := range statements {
		if len(statement) > 3 && statement[:3] == `\c ` {
			_ = c.Close(ctx)
			if c, err = s.connect(ctx, statement[3:]); err != nil {
				return failed(statement, err)
			}
			continue
		}
		if _, err := c.Exec(ctx, statement).ReadAll(); err != nil {
			return failed(statement, err)
		}
	}
	return nil
}

func (s *Server) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%s user=postgres dbname=%s sslmode=disable", s.Socket, s.Port, database))
	if err != nil {
		return nil, err
	}
	config.ConnectTimeout = 5 * time.Second
	return pgconn.ConnectConfig(ctx, config)
}
