// Package sqltest starts private MariaDB and PostgreSQL servers for tests: in a
// temporary directory, on a free port of loopback and a socket of their own, as
// a user that is not root, with real users and passwords.
//
//	func TestMain(m *testing.M) { os.Exit(sqltest.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		db := sqltest.MariaDB(t)
//		db.Exec(t, "CREATE DATABASE d1", "CREATE USER u@'127.0.0.1' IDENTIFIED BY 'secret'")
//		... db.Addr, db.Socket ...
//	}
//
// MariaDB and PostgreSQL return the server that all tests of the program share,
// started at the first call and ended by Main. NewMariaDB and NewPostgreSQL start
// one that ends with the test, which may Kill it, Freeze it and Start it again. Servers die
// with the test program, however that ends.
//
// A test whose server is not installed is skipped, with CI=true it fails.
//
// It imports the drivers, and is imported by tests and benchmarks only.
package sqltest
