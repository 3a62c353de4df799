package mysql

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"hefring/internal/run"
	"hefring/models"
)

// within connects to a server, runs fn for at most limit and closes.
func within(ctx context.Context, server models.DatabaseServer, name string, limit time.Duration, fn func(context.Context, *sql.DB) error) (err error) {
	connector, err := mysql.NewConnector(config(server, name))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	return fn(ctx, db)
}

func config(server models.DatabaseServer, name string) *mysql.Config {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = server.User, server.Password, name
	c.Net, c.Addr = "tcp", net.JoinHostPort(server.Host, strconv.Itoa(port(server)))
	if strings.HasPrefix(server.Host, "/") {
		c.Net, c.Addr = "unix", server.Host
	}
	switch server.TLS {
	case models.TLSRequire:
		c.TLS = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // encrypted, whoever answers: the operator's choice
	case models.TLSVerify:
		c.TLS = &tls.Config{ServerName: server.Host, MinVersion: tls.VersionTLS12}
	case models.TLSOff:
	}
	c.Timeout = connectTime
	c.InterpolateParams = true
	c.Collation = "utf8mb4_general_ci"
	c.AllowNativePasswords = true
	c.Logger = &mysql.NopLogger{} // what it would log comes back as an error
	return c
}

// Codes of the server and of the client programs, see
// https://mariadb.com/kb/en/mariadb-error-code-reference/
const (
	codeCannotCreate   = 1005
	codeDiskFull       = 1021
	codeWriteFailed    = 1026
	codeEngineError    = 1030
	codeTooMany        = 1040
	codeNoDatabase     = 1049
	codeSyntax         = 1064
	codeTableFull      = 1114
	codeNoGrant        = 1141
	codeLockWait       = 1205
	codeNoUser         = 1269 // REVOKE for a user that is not there
	codeNoSuchUser     = 1133
	codeNoServerSocket = 2002
	codeNoServer       = 2003
	codeGone           = 2006
	codeLost           = 2013
)

func isCode(err error, codes ...int) bool {
	return slices.Contains(codes, codeOf(err))
}

// toolCode finds the code in what mysql and mysqldump say:
// "ERROR 1045 (28000): Access denied", "mysqldump: Got error: 1045: …",
// "mysqldump: Error 2013: Lost connection".
var toolCode = regexp.MustCompile(`(?i)\berror:? (\d{4})\b`)

func codeOf(err error) int {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return int(e.Number)
	}
	if e, ok := errors.AsType[*run.ExitError](err); ok {
		if found := toolCode.FindStringSubmatch(e.Tail); found != nil {
			code, _ := strconv.Atoi(found[1])
			return code
		}
	}
	return 0
}

// noRoom is how the server tells why it could not write: error 28 of the system, or
// 135 of a storage engine.
var noRoom = regexp.MustCompile(`(?i)(?:errno:|got error) (?:28|135)\b`)

// isFull tells whether the server's disk is full.
func isFull(err error) bool {
	switch codeOf(err) {
	case codeDiskFull, codeTableFull, 3:
		return true
	case codeCannotCreate, codeWriteFailed, codeEngineError:
		said := err.Error()
		if e, ok := errors.AsType[*run.ExitError](err); ok {
			said = e.Tail
		}
		return noRoom.MatchString(said)
	}
	return errors.Is(err, syscall.ENOSPC)
}

// explain says what a failure means where a person can act on it.
func explain(verb string, server models.DatabaseServer, name string, err error) error {
	if models.CodeOf(err) != "" {
		return err
	}
	unavailable := func(format string, args ...any) error {
		return models.Wrapf(models.Unavailable, err, format, args...)
	}
	switch code := codeOf(err); {
	case isFull(err):
		return unavailable("The disk of the database server %s is full: could not %s the database %s. Free some space there, then try again.", server.Name, verb, name)
	case code == 1045, code == 1698, code == 1251:
		return unavailable("%s refuses the user %s: wrong password, or not from this machine. Correct the user and the password of the database server.", server.Name, server.User)
	case code == 1044, code == 1142, code == 1227, code == 1370, code == 1410, code == 1419, code == 1396 && verb == "test":
		return unavailable("%s does not let %s %s databases: %s. Give that user the right to create databases and users there, and to grant.", server.Name, server.User, verb, text(err))
	case code == codeTooMany, code == 1203, code == 1226:
		return unavailable("%s has too many connections. Try again in a moment, or raise its max_connections.", server.Name)
	case code == codeNoDatabase:
		return models.Wrapf(models.NotFound, err, "The database %s is not on %s. Restore it from a backup.", name, server.Name)
	case code == codeLockWait:
		return unavailable("The database %s on %s stayed locked by another session. End that session, then try again.", name, server.Name)
	case code == codeNoServer, code == codeNoServerSocket, errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EHOSTUNREACH), dialFailed(err):
		return unavailable("%s does not answer at %s. Start the database server, or correct its address.", server.Name, server.Host)
	case code == codeGone, code == codeLost, code == 1053, code == 1927, errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return unavailable("%s ended the connection in the middle: could not %s the database %s. Look at the server's log, then try again.", server.Name, verb, name)
	case errors.Is(err, run.ErrNotFound):
		return unavailable("The client programs of MariaDB or MySQL are not on this machine. Install mariadb-client, then try again.")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return unavailable("%s took too long to %s the database %s. Look what keeps it busy, then try again.", server.Name, verb, name)
	}
	return fmt.Errorf("%s database %s on %s: %w", verb, name, server.Name, err)
}

func dialFailed(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

// text is the server's own sentence.
func text(err error) string {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Message
	}
	return err.Error()
}
