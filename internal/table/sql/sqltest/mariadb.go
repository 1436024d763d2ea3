package sqltest

import (
	"context"
	"database/sql/driver"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// MariaDB is the MariaDB server that the tests of this program share.
func MariaDB(t testing.TB) *Server {
	t.Helper()
	return share(t, "mariadb", startMariaDB)
}

// NewMariaDB starts a MariaDB server that ends with the test.
func NewMariaDB(t testing.TB) *Server {
	t.Helper()
	s := startMariaDB(t)
	t.Cleanup(s.remove)
	return s
}

func startMariaDB(t testing.TB) *Server {
	t.Helper()
	program, install := need(t, "mariadbd"), need(t, "mariadb-install-db")
	s := newServer(t, "mysql")
	data := filepath.Join(s.Dir, "data")
	s.Socket = filepath.Join(s.Dir, "socket")
	s.program, s.execute = program, execMariaDB
	common := []string{"--no-defaults", "--datadir=" + data, "--innodb-log-file-size=4M", "--innodb-use-native-aio=0",
		"--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M"}
	s.install(t, data, install, append(common, "--auth-root-authentication-method=normal", "--skip-test-db")...)
	s.args = append(common, "--socket="+s.Socket, "--port="+s.Port, "--bind-address=127.0.0.1", "--skip-name-resolve",
		"--pid-file="+filepath.Join(s.Dir, "pid"), "--performance-schema=0", "--max-connections=300", "--character-set-server=utf8mb4",
		"--ssl-ca="+s.CA, "--ssl-cert="+filepath.Join(s.Dir, certFile), "--ssl-key="+filepath.Join(s.Dir, keyFile))
	s.Start(t)
	return s
}

func execMariaDB(s *Server, statements []string) error {
	config := mysql.NewConfig()
	config.Net, config.Addr, config.User = "unix", s.Socket, "root"
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	c, err := connector.Connect(context.Background())
	if err != nil {
		return err
	}
	defer c.Close()
	for _, statement := range statements {
		if _, err := c.(driver.ExecerContext).ExecContext(context.Background(), statement, nil); err != nil {
			return failed(statement, err)
		}
	}
	return nil
}
