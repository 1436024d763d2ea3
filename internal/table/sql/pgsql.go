package sql

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/table"
	"postern/internal/table/cf"
)

// Names of parameters (pgsql_table(5)).
const (
	paramEncoding = "encoding"
	paramFunction = "select_function"
)

const (
	pgsqlPort       = "5432"
	pgsqlSocketFile = ".s.PGSQL." // and the port
	defaultEncoding = "UTF8"
)

// PgSQL opens a pgsql: table (pgsql_table(5), package comment), which asks a
// PostgreSQL server. A missing or wrong parameter is an error, of type
// *table.Error, that names the line. The servers are not asked: a table opens
// while they are down, and its lookups fail.
func PgSQL(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	t, err := openPgSQL(ctx, o, name, use)
	if err != nil {
		return nil, cf.OpenFailure("pgsql:"+name, use, err)
	}
	return cached(o, t), nil
}

func openPgSQL(ctx context.Context, o *table.Opener, name string, use table.Use) (*serverTable, error) {
	s, err := cf.Load(o, name, Parameters("pgsql"))
	if err != nil {
		return nil, err
	}
	hosts, err := parseHosts(s.Get(paramHosts), pgsqlPort, true)
	if err != nil {
		return nil, s.Wrong(paramHosts, err)
	}
	t, err := newServerTable(ctx, o, "pgsql", name, s, use, form{dialect: pgsqlDialect, function: paramFunction})
	if err != nil {
		return nil, err
	}
	t.nullIsEmpty = true
	encoding := firstOf(s.Get(paramEncoding), defaultEncoding)
	t.keys = keyRule{noNUL: true, utf8: isUTF8(encoding)}
	p := &pgsqlTable{serverTable: t, statement: t.query.statement()}
	p.name = fmt.Sprintf("postern_%x", sha256.Sum256([]byte(p.statement)))[:40]
	for i := range hosts {
		if err := p.configure(&hosts[i], encoding); err != nil {
			return nil, err
		}
	}
	return t, t.serve(hosts, p.dial)
}

// pgsqlTable is what a pgsql: table needs to connect.
type pgsqlTable struct {
	*serverTable
	statement string
	name      string // of the prepared statement: the same text has the same name
	// unnamed says that prepared statements do not outlive a transaction: there
	// is a pooler in between, such as PgBouncer.
	unnamed atomic.Bool
}

// isUTF8 reports whether a name is one of those that PostgreSQL has for UTF-8.
func isUTF8(encoding string) bool {
	switch strings.ToUpper(strings.NewReplacer("-", "", "_", "").Replace(encoding)) {
	case "UTF8", "UNICODE":
		return true
	}
	return false
}

// configure makes the configuration for one host. What a URI does not say is
// taken from the .cf file.
func (p *pgsqlTable) configure(h *host, encoding string) error {
	s := p.settings
	if h.network == "unix" {
		socketDirectory(h)
	}
	text := h.host
	if h.network != "uri" {
		database, err := s.Required(paramDatabase)
		if err != nil {
			return err
		}
		text = p.keywords(h, database)
	}
	c, err := pgconn.ParseConfig(text)
	if err != nil {
		return s.Wrong(paramHosts, err)
	}
	if h.network == "uri" {
		inherit(c, h.host, s)
	}
	if c.Database == "" {
		_, err := s.Required(paramDatabase)
		return err
	}
	c.ConnectTimeout = connectTimeout
	c.RuntimeParams["client_encoding"] = encoding
	h.pgsql = c
	return nil
}

// socketDirectory takes a port off the path of a socket: "/dir:port", or the
// whole path of the socket as the server made it.
func socketDirectory(h *host) {
	i := strings.LastIndexByte(h.host, ':')
	next := i + 1
	if i < 0 {
		i = strings.LastIndex(h.host, "/"+pgsqlSocketFile)
		next = i + 1 + len(pgsqlSocketFile)
	}
	if i < 0 {
		return
	}
	if _, err := strconv.ParseUint(h.host[next:], 10, 16); err == nil {
		h.host, h.port = h.host[:i], h.host[next:]
	}
}

// keywords is a connection string for a host that is not a URI.
func (p *pgsqlTable) keywords(h *host, database string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for _, pair := range [][2]string{
		{"host", h.host}, {"port", firstOf(h.port, pgsqlPort)}, {"dbname", database},
		{"user", p.settings.Get(paramUser)}, {"password", p.settings.Get(paramPassword)},
	} {
		if pair[1] != "" {
			fmt.Fprintf(&b, "%s='%s' ", pair[0], quote.Replace(pair[1]))
		}
	}
	return b.String()
}

// inherit takes what a URI does not say from the .cf file.
func inherit(c *pgconn.Config, uri string, s *cf.Settings) {
	_, authority, _ := strings.Cut(uri, "://")
	authority, parameters, _ := strings.Cut(authority, "?")
	authority, _, _ = strings.Cut(authority, "/")
	if user := s.Get(paramUser); user != "" && !strings.Contains(authority, "@") && !strings.Contains("&"+parameters, "&user=") {
		c.User = user
	}
	c.Password = firstOf(c.Password, s.Get(paramPassword))
	c.Database = firstOf(c.Database, s.Get(paramDatabase))
}

// dial connects to a server.
func (p *pgsqlTable) dial(ctx context.Context, h *host) (session, net.Conn, error) {
	conn, err := pgconn.ConnectConfig(ctx, h.pgsql.Copy())
	if err != nil {
		return nil, nil, p.notConnected(h, err)
	}
	s := &pgsqlSession{table: p, conn: conn, values: make([][]byte, len(p.query.values))}
	s.types = make([]uint32, len(s.values))
	return s, conn.Conn(), nil
}

// pgsqlSession is a connection, with the query prepared unless a pooler is in
// between.
type pgsqlSession struct {
	table   *pgsqlTable
	conn    *pgconn.PgConn
	stmt    *pgconn.StatementDescription // nil: not prepared
	types   []uint32                     // of the values; 0: the server infers it
	values  [][]byte
	columns []string
}

func (s *pgsqlSession) close() { _ = s.conn.Close(context.Background()) }

func (s *pgsqlSession) ask(values []string, add func(row) error) error {
	for i, v := range values {
		s.values[i] = []byte(v)
	}
	err := s.prepare()
	if err == nil {
		err = s.run(add)
	}
	if isForgotten(err) {
		s.table.unnamed.Store(true)
		err = s.run(add)
	}
	for range s.types {
		if !s.giveType(err) {
			break
		}
		if err = s.prepare(); err == nil {
			err = s.run(add)
		}
	}
	return s.failure(err)
}

// prepare makes the server keep the query, once in a session. The name is that
// of this text, so that clients behind one pooler can share it.
func (s *pgsqlSession) prepare() (err error) {
	if s.stmt != nil || s.table.unnamed.Load() {
		return nil
	}
	s.stmt, err = s.conn.Prepare(context.Background(), s.table.name, s.table.statement, s.types)
	return err
}

// run sends the values, together with the query when it is not prepared, and
// hands over the rows.
func (s *pgsqlSession) run(add func(row) error) error {
	var rows *pgconn.ResultReader
	if s.stmt == nil || s.table.unnamed.Load() {
		rows = s.conn.ExecParams(context.Background(), s.table.statement, s.values, s.types, nil, nil)
	} else {
		rows = s.conn.ExecStatement(context.Background(), s.stmt, s.values, nil, nil)
	}
	return s.read(rows, add)
}

// read hands over the rows of an answer.
func (s *pgsqlSession) read(rows *pgconn.ResultReader, add func(row) error) (err error) {
	for err == nil && rows.NextRow() {
		values := rows.Values()
		r := row{s.names(rows.FieldDescriptions()), make([]cell, len(values))}
		for i, v := range values {
			r.values[i] = cell{string(v), v == nil}
		}
		err = add(r)
	}
	if _, closing := rows.Close(); err == nil {
		return closing
	}
	return err
}

// list sends a statement as it is.
func (s *pgsqlSession) list(statement string, add func(row) error) error {
	ctx := context.Background()
	if err := s.conn.Exec(ctx, "BEGIN READ ONLY").Close(); err != nil {
		return s.failure(err)
	}
	err := s.read(s.conn.ExecParams(ctx, statement, nil, nil, nil, nil), add)
	if ending := s.conn.Exec(ctx, "ROLLBACK").Close(); err == nil {
		err = ending
	}
	return s.failure(err)
}

// names are the names of the columns.
func (s *pgsqlSession) names(fields []pgconn.FieldDescription) []string {
	same := len(s.columns) == len(fields)
	for i := 0; same && i < len(fields); i++ {
		same = s.columns[i] == fields[i].Name
	}
	if !same {
		s.columns = make([]string, len(fields)) // rows before may hold the old one
		for i, f := range fields {
			s.columns[i] = f.Name
		}
	}
	return s.columns
}

// isForgotten reports whether a prepared statement is not where it should be:
// a pooler gave the transaction another connection to the server.
func isForgotten(err error) bool {
	var said *pgconn.PgError
	return errors.As(err, &said) && (said.Code == "26000" || said.Code == "42P05")
}

var valueNumber = regexp.MustCompile(`\$([0-9]+)`)

const textType = 25 // the number of the type text

// giveType makes a value a text that the server could not find a type for
// (concat('%u', 'x')), and reports whether there was one.
func (s *pgsqlSession) giveType(err error) bool {
	var said *pgconn.PgError
	if !errors.As(err, &said) || said.Code != "42P18" {
		return false
	}
	found := valueNumber.FindStringSubmatch(said.Message)
	if found == nil {
		return false
	}
	n, _ := strconv.Atoi(found[1])
	if n < 1 || n > len(s.types) || s.types[n-1] != 0 {
		return false
	}
	s.types[n-1] = textType
	return true
}

// failure gives an error its class. One of add stays as it is.
func (s *pgsqlSession) failure(err error) error {
	var said *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		fatal := said.SeverityUnlocalized == "FATAL" || said.SeverityUnlocalized == "PANIC"
		if fatal || strings.HasPrefix(said.Code, "08") || strings.HasPrefix(said.Code, "57P") || said.Routine == "RevalidateCachedQuery" {
			return &lostError{pgsqlWords(said)}
		}
		return &refusedError{pgsqlWords(said)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &lostError{errEnded}
	case s.conn.IsClosed():
		return &lostError{err}
	}
	return err
}
