package sql

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"postern/internal/table"
	"postern/internal/table/cf"
)

// Names of parameters (mysql_table(5)).
const (
	paramCharset   = "charset"
	paramFile      = "option_file"
	paramGroup     = "option_group"
	paramResultSet = "require_result_set"
	paramTLSCert   = "tls_cert_file"
	paramTLSKey    = "tls_key_file"
	paramTLSCA     = "tls_CAfile"
	paramTLSPath   = "tls_CApath"
	paramCiphers   = "tls_ciphers"
	paramVerify    = "tls_verify_cert"
)

const (
	mysqlPort      = "3306"
	mysqlSocket    = "/run/mysqld/mysqld.sock"
	defaultCharset = "utf8mb4"
)

// MySQL opens a mysql: table (mysql_table(5), package comment), which asks a
// MariaDB or MySQL server. A missing or wrong parameter is an error, of type
// *table.Error, that names the line. The servers are not asked: a table opens
// while they are down, and its lookups fail.
func MySQL(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	t, err := openMySQL(ctx, o, name, use)
	if err != nil {
		return nil, cf.OpenFailure("mysql:"+name, use, err)
	}
	return cached(o, t), nil
}

func openMySQL(ctx context.Context, o *table.Opener, name string, use table.Use) (*serverTable, error) {
	s, err := cf.Load(o, name, Parameters("mysql"))
	if err != nil {
		return nil, err
	}
	database, err := s.Required(paramDatabase)
	if err != nil {
		return nil, err
	}
	hosts, err := parseHosts(s.Get(paramHosts), "", false)
	if err != nil {
		return nil, s.Wrong(paramHosts, err)
	}
	t, err := newServerTable(ctx, o, "mysql", name, s, use, form{dialect: mysqlDialect})
	if err != nil {
		return nil, err
	}
	m := &mysqlTable{serverTable: t}
	if m.needResult, err = yesNo(s, paramResultSet, true); err != nil {
		return nil, err
	}
	options := m.readOptions()
	for i := range hosts {
		m.locate(&hosts[i], options)
	}
	if err := m.configure(database, options); err != nil {
		return nil, err
	}
	return t, t.serve(hosts, m.dial)
}

// mysqlTable is what a mysql: table needs to connect.
type mysqlTable struct {
	*serverTable
	config     *mysql.Config     // without an address
	check      *certificateCheck // nil: the server's certificate is not looked at
	needResult bool              // require_result_set
	statement  string
}

// yesNo is a boolean parameter.
func yesNo(s *cf.Settings, name string, unset bool) (bool, error) {
	value, _, ok := s.Lookup(name)
	if !ok {
		return unset, nil
	}
	switch strings.ToLower(value) {
	case "yes", "true":
		return true, nil
	case "no", "false":
		return false, nil
	}
	return false, s.Wrong(name, fmt.Errorf("%q is neither yes nor no", value))
}

// locate finds out where a host is to be dialled, as MySQL's own library does:
// "localhost" is the socket, and instead of any socket a host of the option file
// is taken.
func (m *mysqlTable) locate(h *host, options map[string]string) {
	if h.network == "tcp" && strings.EqualFold(h.host, localhost) {
		if h.port != "" {
			_, at, _ := m.settings.Lookup(paramHosts)
			m.opener.Warn("%s, line %d: hosts: localhost means the socket, and port %s is not used: write 127.0.0.1:%s", at.File, at.Line, h.port, h.port)
		}
		*h = host{network: "unix", host: firstOf(options["socket"], mysqlSocket)}
	}
	if other := options["host"]; h.network == "unix" && other != "" && !strings.EqualFold(other, localhost) {
		*h = host{network: "tcp", host: other}
	}
	h.name = h.address(firstOf(options["port"], mysqlPort))
}

// firstOf is the first of several texts that is not empty.
func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// configure makes the driver's configuration. What the .cf file says goes
// before the option file.
func (m *mysqlTable) configure(database string, options map[string]string) error {
	s, c := m.settings, mysql.NewConfig()
	c.User, c.Passwd = s.Get(paramUser), s.Get(paramPassword)
	if c.User == "" { // the password of the option file is for the user of the option file
		c.User, c.Passwd = firstOf(options["user"], ownName()), firstOf(c.Passwd, options["password"])
	}
	c.DBName = database
	c.Timeout = connectTimeout
	if n, err := strconv.ParseUint(options["connect-timeout"], 10, 16); err == nil && n > 0 {
		c.Timeout = min(c.Timeout, time.Duration(n)*time.Second)
	}
	c.CheckConnLiveness = false // a dead connection shows itself, and is tried again
	c.Logger = &mysql.NopLogger{}
	charset := strings.ToLower(firstOf(s.Get(paramCharset), options["default-character-set"], defaultCharset))
	if strings.Trim(charset, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return s.Wrong(paramCharset, fmt.Errorf("%q is not the name of a character set, such as utf8mb4", charset))
	}
	if charset != defaultCharset { // the driver's own
		if err := c.Apply(mysql.Charset(charset, "")); err != nil {
			return s.Wrong(paramCharset, err)
		}
	}
	m.keys.utf8 = strings.HasPrefix(charset, "utf8")
	m.config, m.statement = c, m.query.statement()
	var err error
	c.TLS, err = m.tls(options)
	return err
}

// ownName is the user that this program runs as, who MySQL's library logs in as
// when nobody else is named.
func ownName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// dial connects to a server.
func (m *mysqlTable) dial(ctx context.Context, h *host) (session, net.Conn, error) {
	c := m.config.Clone()
	c.Net, c.Addr = h.network, h.host
	if h.network != "unix" {
		c.Addr = h.name
	}
	if c.TLS != nil {
		c.TLS.ServerName = serverName(h)
		if m.check != nil {
			c.TLS.VerifyConnection = func(state tls.ConnectionState) error { return m.check.verify(state, serverName(h)) }
		}
	}
	var conn *watchedConn
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn = &watchedConn{Conn: dialled}
		return conn, nil
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, nil, m.unreachable(h, "", err)
	}
	opened, err := connector.Connect(ctx)
	if err != nil {
		return nil, nil, m.notConnected(h, conn.reason(err))
	}
	return &mysqlSession{table: m, conn: opened, wire: conn}, conn, nil
}

// watchedConn remembers why a connection ended, which the driver does not say.
type watchedConn struct {
	net.Conn
	err error
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.err = err
	}
	return n, err
}

func (c *watchedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		c.err = err
	}
	return n, err
}

// reason is err, or what lies behind it when it says only that the connection
// is of no use any more.
func (c *watchedConn) reason(err error) error {
	if c == nil || c.err == nil || !errors.Is(err, driver.ErrBadConn) && !errors.Is(err, mysql.ErrInvalidConn) {
		return err
	}
	if errors.Is(c.err, io.EOF) {
		return errEnded
	}
	return c.err
}

var errEnded = errors.New("the server closed the connection")

// mysqlSession is a connection with the query prepared.
type mysqlSession struct {
	table  *mysqlTable
	conn   driver.Conn
	wire   *watchedConn
	stmt   driver.StmtQueryContext // nil: not prepared yet
	values []driver.NamedValue
	cells  []driver.Value
}

func (s *mysqlSession) close() { _ = s.conn.Close() }

// prepare sends the text of the query, once in a session.
func (s *mysqlSession) prepare() error {
	if s.stmt != nil {
		return nil
	}
	stmt, err := s.conn.Prepare(s.table.statement)
	if err != nil {
		return s.failure(err)
	}
	if n := stmt.NumInput(); n != len(s.table.query.values) {
		_ = stmt.Close()
		return &refusedError{fmt.Errorf("a ? outside of quotes means a value: the query has %d values and %d of them are %%-letters", n, len(s.table.query.values))}
	}
	s.stmt = stmt.(driver.StmtQueryContext)
	s.values = make([]driver.NamedValue, len(s.table.query.values))
	return nil
}

func (s *mysqlSession) ask(values []string, add func(row) error) error {
	if err := s.prepare(); err != nil {
		return err
	}
	for i, v := range values {
		s.values[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	rows, err := s.stmt.QueryContext(context.Background(), s.values)
	if err != nil {
		return s.failure(err)
	}
	err = s.read(rows, add)
	if closing := rows.Close(); err == nil && closing != nil {
		return s.failure(closing)
	}
	return err
}

// list sends a statement as it is.
func (s *mysqlSession) list(statement string, add func(row) error) error {
	if err := s.run("START TRANSACTION READ ONLY"); err != nil {
		return err
	}
	err := s.query(statement, add)
	if ending := s.run("ROLLBACK"); err == nil {
		err = ending
	}
	return err
}

func (s *mysqlSession) query(statement string, add func(row) error) error {
	rows, err := s.conn.(driver.QueryerContext).QueryContext(context.Background(), statement, nil)
	if err != nil {
		return s.failure(err)
	}
	err = s.read(rows, add)
	if closing := rows.Close(); err == nil && closing != nil {
		return s.failure(closing)
	}
	return err
}

// run sends a statement without rows.
func (s *mysqlSession) run(statement string) error {
	if _, err := s.conn.(driver.ExecerContext).ExecContext(context.Background(), statement, nil); err != nil {
		return s.failure(err)
	}
	return nil
}

// read hands over the rows of the one result set.
func (s *mysqlSession) read(rows driver.Rows, add func(row) error) error {
	columns := rows.Columns()
	if len(columns) == 0 {
		if s.table.needResult {
			return &refusedError{errNoResultSet}
		}
		return nil
	}
	if cap(s.cells) < len(columns) {
		s.cells = make([]driver.Value, len(columns))
	}
	cells := s.cells[:len(columns)]
	for {
		switch err := rows.Next(cells); {
		case err == io.EOF:
			return s.onlyOne(rows)
		case err != nil:
			return s.failure(err)
		}
		r := row{columns, make([]cell, len(columns))}
		for i, v := range cells {
			r.values[i] = textCell(v)
		}
		if err := add(r); err != nil {
			return err
		}
	}
}

var (
	errNoResultSet    = errors.New("no result set: every way through the procedure must SELECT something, unless require_result_set = no")
	errManyResultSets = errors.New("several result sets: a procedure must SELECT once only")
)

// onlyOne holds that there is no second result set.
func (s *mysqlSession) onlyOne(rows driver.Rows) error {
	more, ok := rows.(driver.RowsNextResultSet)
	if !ok || !more.HasNextResultSet() {
		return nil
	}
	switch err := more.NextResultSet(); {
	case err == nil:
		return &refusedError{errManyResultSets}
	case err == io.EOF:
		return nil
	default:
		return s.failure(err)
	}
}

// textCell is a value as the mysql command would print it.
func textCell(value driver.Value) cell {
	switch v := value.(type) {
	case nil:
		return cell{null: true}
	case []byte:
		return cell{text: string(v)}
	case string:
		return cell{text: v}
	case int64:
		return cell{text: strconv.FormatInt(v, 10)}
	case uint64:
		return cell{text: strconv.FormatUint(v, 10)}
	case float32:
		return cell{text: floatText(float64(v), 32)}
	case float64:
		return cell{text: floatText(v, 64)}
	}
	return cell{text: fmt.Sprint(value)}
}

// floatText writes a number without an exponent unless it is very big or small.
func floatText(v float64, bits int) string {
	if size := max(v, -v); size != 0 && (size < 1e-15 || size >= 1e15) {
		return strings.Replace(strconv.FormatFloat(v, 'e', -1, bits), "e+", "e", 1)
	}
	return strconv.FormatFloat(v, 'f', -1, bits)
}

// Errors of a server (https://mariadb.com/kb/en/mariadb-error-codes/) after
// which another connection may do better.
var mysqlGone = map[uint16]bool{
	1047: true, // a Galera node that is not ready
	1053: true, // shutdown
	1243: true, // a proxy forgot the prepared statement
	1317: true, // the query was interrupted
	1615: true, // the statement must be prepared again
	1927: true, // the connection was killed
	4031: true, // it was idle for too long
}

// failure gives an error of the driver its class.
func (s *mysqlSession) failure(err error) error {
	var said *mysql.MySQLError
	if !errors.As(err, &said) || mysqlGone[said.Number] {
		return &lostError{s.wire.reason(err)}
	}
	return &refusedError{mysqlWords(said)}
}
