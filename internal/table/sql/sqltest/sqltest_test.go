package sqltest_test

import (
	"os"
	"testing"

	"postern/internal/table/sql/sqltest"
)

func TestMain(m *testing.M) { os.Exit(sqltest.Main(m)) }

// TestServers starts, kills and restarts a server of each kind.
func TestServers(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *sqltest.Server{"mariadb": sqltest.NewMariaDB, "postgresql": sqltest.NewPostgreSQL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := start(t)
			db.Exec(t, "CREATE DATABASE d1")
			db.Kill()
			db.Start(t)
			db.Stop()
			db.Start(t)
			db.Exec(t, "DROP DATABASE d1")
		})
	}
}
