package sql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/table/reach"
)

var (
	mysqlServer = reach.Server{Name: "MariaDB or MySQL", Socket: "SELECT @@socket shows it; for TCP write hosts = 127.0.0.1",
		Listen: "bind-address, port and skip-networking in its configuration", Wait: connectTimeout}
	pgsqlServer = reach.Server{Name: "PostgreSQL", Socket: "SHOW unix_socket_directories shows it; for TCP write hosts = 127.0.0.1",
		Listen: "listen_addresses and port in postgresql.conf", Wait: connectTimeout}
)

// tlsCause words what is wrong with TLS; any other error stays as it is.
func tlsCause(err error) error {
	var authority x509.UnknownAuthorityError
	var verify *tls.CertificateVerificationError
	var names x509.HostnameError
	switch {
	case errors.Is(err, mysql.ErrNoTLS):
		return errors.New("the tls_ parameters ask for TLS, and the server does not offer it: give it a certificate (ssl-cert, ssl-key), or leave the parameters out")
	case errors.As(err, &authority):
		return fmt.Errorf("TLS: %w: its certificate authority is not the one of tls_CAfile", authority)
	case errors.As(err, &names):
		return fmt.Errorf("TLS: %w", names)
	case errors.As(err, &verify):
		return fmt.Errorf("TLS: %w", verify)
	}
	return err
}

// notConnected words why a server could not be connected to, and blames the
// parameter that decides about it.
func (m *mysqlTable) notConnected(h *host, err error) error {
	var said *mysql.MySQLError
	if !errors.As(err, &said) {
		return m.unreachable(h, "", tlsCause(mysqlServer.Cause(err, h.network == "unix")))
	}
	param, advice := "", ""
	user := fmt.Sprintf("user %q", m.config.User)
	switch said.Number {
	case 1045, 1698: // the server does not say whether user or password is wrong
		param, advice = firstSet(m, paramPassword, paramUser), "correct user and password, or let the server have them (CREATE USER)"
	case 1044:
		param, advice = paramDatabase, fmt.Sprintf("the user needs the right: GRANT SELECT ON %s.* TO ...", m.config.DBName)
	case 1049:
		param, advice = paramDatabase, "correct dbname, or create the database; SHOW DATABASES lists them"
	case 1130:
		param, advice = paramUser, "the server knows no user for this client's address: CREATE USER 'name'@'address'"
	case 1115:
		param, advice = firstSet(m, paramCharset, paramHosts), "SHOW CHARACTER SET lists those that the server knows"
	case 1040, 1203:
		advice = "raise max_connections, or find out who has so many"
	}
	err = fmt.Errorf("%s, database %q: %w", user, m.config.DBName, mysqlWords(said))
	if advice != "" {
		err = fmt.Errorf("%w; %s", err, advice)
	}
	return m.unreachable(h, param, err)
}

// firstSet is the first of two parameters if it is set, else the second.
func firstSet(m *mysqlTable, first, second string) string {
	if _, _, ok := m.settings.Lookup(first); ok {
		return first
	}
	return second
}

// mysqlWords are the server's words, with the number by which they are found.
func mysqlWords(said *mysql.MySQLError) error {
	advice := ""
	switch said.Number {
	case 1064:
		if strings.Contains(said.Message, "near '?") {
			advice = "; ? is the key, which is sent as a value, so that a type cannot stand in front of it: write CAST('%s' AS type)"
		}
	case 1142, 1143, 1370: // a right is missing
		advice = "; the user needs the right: GRANT SELECT (or EXECUTE) ON ... TO ..."
	case 1146:
		advice = "; SHOW TABLES lists those of the database"
	}
	return fmt.Errorf("%s (error %d)%s", strings.TrimSpace(said.Message), said.Number, advice)
}

// notConnected words why a server could not be connected to, and blames the
// parameter that decides about it.
func (p *pgsqlTable) notConnected(h *host, err error) error {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return p.unreachable(h, "", tlsCause(pgsqlServer.Cause(lastCause(err), h.network == "unix")))
	}
	param, advice := "", ""
	switch said.Code {
	case "28P01": // the server does not say whether user or password is wrong
		param, advice = paramPassword, "correct user and password, or let the server have them (CREATE ROLE ... LOGIN PASSWORD ...)"
	case "28000":
		param, advice = paramUser, "correct user, or allow it in pg_hba.conf"
	case "3D000":
		param, advice = paramDatabase, "correct dbname, or create the database; psql -l lists them"
	case "42501":
		param, advice = paramDatabase, fmt.Sprintf("the user needs the right: GRANT CONNECT ON DATABASE %s TO %s", h.pgsql.Database, h.pgsql.User)
	case "53300":
		advice = "raise max_connections, or find out who has so many"
	case "22023":
		param, advice = paramEncoding, "the usual one is UTF8"
	}
	if _, _, ok := p.settings.Lookup(param); !ok {
		param = ""
	}
	err = fmt.Errorf("user %q, database %q: %w", h.pgsql.User, h.pgsql.Database, pgsqlWords(said))
	if advice != "" {
		err = fmt.Errorf("%w; %s", err, advice)
	}
	return p.unreachable(h, param, err)
}

// lastCause is the error at the bottom of a chain in which every link repeats
// the host.
func lastCause(err error) error {
	for {
		switch e := err.(type) {
		case *net.OpError, *net.DNSError, *tls.CertificateVerificationError:
			return err
		case interface{ Unwrap() []error }:
			all := e.Unwrap()
			err = all[len(all)-1]
		case interface{ Unwrap() error }:
			next := e.Unwrap()
			if next == nil {
				return err
			}
			err = next
		default:
			return err
		}
	}
}

// pgsqlWords are the server's words, with the code by which they are found.
func pgsqlWords(said *pgconn.PgError) error {
	advice := ""
	switch said.Code {
	case "42501": // a right is missing
		advice = "; the user needs the right: GRANT SELECT (or EXECUTE) ON ... TO ..."
	case "42P01":
		advice = "; \\d in psql lists the tables of the database"
	case "42601":
		if strings.Contains(said.Message, `"$`) {
			advice = "; the key is sent as a value, so that a type cannot stand in front of it: write CAST('%s' AS type)"
		}
	}
	return fmt.Errorf("%s (SQLSTATE %s)%s", strings.TrimSpace(said.Message), said.Code, advice)
}
