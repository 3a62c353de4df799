// Package mysql keeps each database of a site on a MariaDB or MySQL server: one
// user for each site, which may use that site's databases and nothing else.
package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/models"
)

// Name is what models.Database calls this engine.
const Name = models.EngineMySQL

// incomplete is a table that is in a database while it is being filled: what was
// cut short is never taken for whole.
const incomplete = "hefring_incomplete"

// rights are what Drupal needs, and what a dump with views, triggers and routines
// needs when it is loaded. GRANT OPTION and EVENT are not among them.
const rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, REFERENCES, CREATE TEMPORARY TABLES, " +
	"LOCK TABLES, CREATE VIEW, SHOW VIEW, TRIGGER, CREATE ROUTINE, ALTER ROUTINE, EXECUTE"

// Runner starts the client programs.
type Runner interface {
	Run(ctx context.Context, c run.Cmd) (run.Result, error)
	LookPath(name string) (string, error)
}

// Engine is the database.Engine for MariaDB and MySQL servers.
type Engine struct {
	layout  sites.Layout
	runner  Runner
	servers database.Servers
}

var _ database.Engine = (*Engine)(nil)

// New makes the engine for the sites of a layout. The client programs (mysqldump
// and mysql, or mariadb-dump and mariadb) are found by runner.
func New(layout sites.Layout, runner Runner, servers database.Servers) *Engine {
	return &Engine{layout: layout, runner: runner, servers: servers}
}

// Create makes a database, and the site's user if there is none yet.
func (e *Engine) Create(ctx context.Context, site models.Site, label string) (models.Database, error) {
	server, err := e.servers.Of(ctx, Name, site)
	if err != nil {
		return models.Database{}, err
	}
	place, err := database.NewPlace(server, site.ID, label)
	if err != nil {
		return models.Database{}, err
	}
	err = e.asAdmin(ctx, server, func(ctx context.Context, db *sql.DB) error {
		if err := e.ensureUser(ctx, db, place); err != nil {
			return err
		}
		return exec(ctx, db,
			"CREATE DATABASE IF NOT EXISTS "+ident(place.Name)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
			"GRANT "+rights+" ON "+pattern(place.Name)+".* TO "+account(place))
	})
	if err != nil {
		return models.Database{}, explain("create", server, place.Name, err)
	}
	return place.Database(), nil
}

// ensureUser makes the site's user with the password in the site's folder. One
// that is lost is made anew; it is kept only when the server knows it, so that a
// kill in between makes another one.
func (e *Engine) ensureUser(ctx context.Context, db *sql.DB, place database.Place) error {
	password, err := database.ReadPassword(e.layout, place.SiteID)
	if err != nil {
		return err
	}
	lost := password == ""
	if lost {
		password = database.NewPassword()
	}
	err = exec(ctx, db,
		"CREATE USER IF NOT EXISTS "+account(place)+" IDENTIFIED BY "+literal(password),
		"ALTER USER "+account(place)+" IDENTIFIED BY "+literal(password))
	if err != nil || !lost {
		return err
	}
	return database.KeepPassword(e.layout, place.SiteID, password)
}

// own gives the server as the site's user reaches it.
func (e *Engine) own(ctx context.Context, place database.Place) (models.DatabaseServer, error) {
	server := place.Server
	password, err := database.ReadPassword(e.layout, place.SiteID)
	if err != nil {
		return server, err
	}
	if password == "" {
		err := e.asAdmin(ctx, server, func(ctx context.Context, db *sql.DB) error { return e.ensureUser(ctx, db, place) })
		if err != nil {
			return server, explain("reach", server, place.Name, err)
		}
		if password, err = database.ReadPassword(e.layout, place.SiteID); err != nil {
			return server, err
		}
	}
	server.User, server.Password = place.User, password
	return server, nil
}

// Drop removes a database while sessions use it, and the user with its last one.
func (e *Engine) Drop(ctx context.Context, db models.Database) error {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return err
	}
	err = e.asAdmin(ctx, place.Server, func(ctx context.Context, db *sql.DB) error {
		if err := e.dropDatabase(ctx, db, place); err != nil {
			return err
		}
		_, err := db.ExecContext(ctx, "REVOKE ALL PRIVILEGES ON "+pattern(place.Name)+".* FROM "+account(place))
		if err != nil && !isCode(err, codeNoGrant, codeNoUser, codeNoSuchUser) {
			return err
		}
		rest, err := list(ctx, db, place.Server, place.SiteID)
		if err != nil || len(rest) > 0 {
			return err
		}
		return exec(ctx, db, "DROP USER IF EXISTS "+account(place))
	})
	if err != nil {
		return explain("remove", place.Server, place.Name, err)
	}
	return nil
}

// dropDatabase removes a database while sessions use it. It is marked first, and
// the mark goes last: MariaDB drops one table after the other, and what a crash
// leaves must not pass for whole. On a full disk it is marked as soon as that works.
func (e *Engine) dropDatabase(ctx context.Context, db *sql.DB, place database.Place) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // which gives the lock free
	if err := takeLock(ctx, conn, place); err != nil {
		return err
	}
	if err := statements(ctx, conn, "SET SESSION lock_wait_timeout = 1, foreign_key_checks = 0"); err != nil {
		return err
	}
	unmarked := mark(ctx, conn, place)
	if isCode(unmarked, codeNoDatabase) {
		return nil
	} else if unmarked != nil && !isFull(unmarked) {
		return unmarked
	}
	drops, err := dropsOf(ctx, db, place.Name)
	if err != nil {
		return err
	}
	for _, statement := range append(drops, "DROP DATABASE IF EXISTS "+ident(place.Name)) {
		if err := e.insist(ctx, db, conn, place, statement); err != nil {
			return err
		}
		if unmarked != nil { // there may be room for it now
			unmarked = mark(ctx, conn, place)
		}
	}
	return nil
}

// mark says of a database that it is not whole.
func mark(ctx context.Context, conn *sql.Conn, place database.Place) error {
	_, err := conn.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+ident(place.Name)+"."+incomplete+" (since INT)")
	return err
}

// takeLock waits for a session that works for a process that was killed: the
// server finishes its last statement.
func takeLock(ctx context.Context, conn *sql.Conn, place database.Place) error {
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 60)", place.Name).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return models.Errorf(models.Conflict, "Something else is at work on the database %s on %s. Try again when it has finished.", place.Name, place.Server.Name)
	}
	return nil
}

// dropsOf are the statements that remove all but the mark.
func dropsOf(ctx context.Context, db *sql.DB, name string) ([]string, error) {
	drops, err := column(ctx, db, "SELECT concat(CASE TABLE_TYPE WHEN 'VIEW' THEN 'VIEW' WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END, ' IF EXISTS `', replace(TABLE_SCHEMA, '`', '``'), '`.`', replace(TABLE_NAME, '`', '``'), '`') "+
		"FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME <> ?", name, incomplete)
	for i := range drops {
		drops[i] = "DROP " + drops[i]
	}
	return drops, err
}

// insist ends the sessions that are in the way of a statement, after they had a
// moment to finish.
func (e *Engine) insist(ctx context.Context, db *sql.DB, conn *sql.Conn, place database.Place, statement string) (err error) {
	for range 10 {
		if _, err = conn.ExecContext(ctx, statement); !isCode(err, codeLockWait) {
			return err
		}
		e.endSessions(ctx, db, place)
	}
	return err
}

// endSessions kills what the admin may, and what the site's own user may; a
// server that allows neither makes the DROP itself fail.
func (e *Engine) endSessions(ctx context.Context, db *sql.DB, place database.Place) {
	kill := func(ctx context.Context, db *sql.DB) error {
		ids, err := column(ctx, db, "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = ?", place.Name)
		for _, id := range ids {
			_, _ = db.ExecContext(ctx, "KILL "+id) // it may be gone by now
		}
		return err
	}
	_ = kill(ctx, db)
	if password, err := database.ReadPassword(e.layout, place.SiteID); err == nil && password != "" {
		server := place.Server
		server.User, server.Password = place.User, password
		_ = e.asAdmin(ctx, server, kill)
	}
}

// Check looks as the site's user whether the database is there as a whole and may
// be read and written.
func (e *Engine) Check(ctx context.Context, db models.Database) error {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return err
	}
	server, err := e.own(ctx, place)
	if err != nil {
		return err
	}
	err = within(ctx, server, place.Name, shortTime, func(ctx context.Context, db *sql.DB) error {
		var readOnly bool
		var half, granted int
		row := db.QueryRowContext(ctx, `SELECT @@global.read_only,
			(SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?),
			(SELECT count(DISTINCT PRIVILEGE_TYPE) FROM information_schema.SCHEMA_PRIVILEGES WHERE TABLE_SCHEMA = ?
			 AND PRIVILEGE_TYPE IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'INDEX', 'ALTER'))`,
			incomplete, escape(place.Name))
		if err := row.Scan(&readOnly, &half, &granted); err != nil {
			return err
		}
		switch {
		case half > 0:
			return models.Errorf(models.Unavailable, "The database %s on %s is incomplete: filling it was cut short. Do that again, or restore the site from a backup.", place.Name, server.Name)
		case readOnly:
			return models.Errorf(models.Unavailable, "%s is read-only. Set its read_only to OFF, or name the server that takes writes.", server.Name)
		case granted < 8:
			return models.Errorf(models.Unavailable, "The user %s may not write the database %s on %s. Verify the site to grant it again.", place.User, place.Name, server.Name)
		}
		return nil
	})
	if err != nil {
		return explain("check", place.Server, place.Name, err)
	}
	return nil
}

// PHP is Drupal's array with the site's own user. READ COMMITTED is what Drupal
// recommends for MySQL.
func (e *Engine) PHP(ctx context.Context, db models.Database) (database.Settings, error) {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return nil, err
	}
	server, err := e.own(ctx, place)
	if err != nil {
		return nil, err
	}
	s := database.Settings{
		{Key: "driver", Value: "mysql"},
		{Key: "database", Value: place.Name},
		{Key: "username", Value: server.User},
		{Key: "password", Value: server.Password},
	}
	if strings.HasPrefix(server.Host, "/") {
		s = append(s, database.Setting{Key: "host", Value: "localhost"}, database.Setting{Key: "unix_socket", Value: server.Host})
	} else {
		s = append(s, database.Setting{Key: "host", Value: server.Host}, database.Setting{Key: "port", Value: port(server)})
	}
	s = append(s,
		database.Setting{Key: "prefix", Value: ""},
		database.Setting{Key: "collation", Value: "utf8mb4_general_ci"},
		database.Setting{Key: "init_commands", Value: database.Settings{
			{Key: "isolation_level", Value: "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"},
		}},
		database.Setting{Key: "namespace", Value: `Drupal\mysql\Driver\Database\mysql`},
		database.Setting{Key: "autoload", Value: "core/modules/mysql/src/Driver/Database/mysql/"},
	)
	if server.TLS == models.TLSRequire || server.TLS == models.TLSVerify {
		// PDO::MYSQL_ATTR_SSL_CA and _SSL_VERIFY_SERVER_CERT, as PHP with mysqlnd
		// numbers them; settings.php is read before anybody could name constants
		// of a missing extension.
		s = append(s, database.Setting{Key: "pdo", Value: database.Settings{
			{Key: "1009", Value: authorities},
			{Key: "1014", Value: server.TLS == models.TLSVerify},
		}})
	}
	return s, nil
}

// authorities is the system's file of certificate authorities.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// Databases lists what there is of a site on its server, by name; what is
// incomplete is listed, too, and Check tells so.
func (e *Engine) Databases(ctx context.Context, site models.Site) ([]models.Database, error) {
	server, err := e.servers.Of(ctx, Name, site)
	if err != nil {
		return nil, err
	}
	var dbs []models.Database
	err = e.asAdmin(ctx, server, func(ctx context.Context, db *sql.DB) error {
		dbs, err = list(ctx, db, server, site.ID)
		return err
	})
	if err != nil {
		return nil, explain("list", server, "of site "+site.URI, err)
	}
	return dbs, nil
}

func list(ctx context.Context, db *sql.DB, server models.DatabaseServer, siteID int64) ([]models.Database, error) {
	user := database.UserOf(server, siteID)
	names, err := column(ctx, db, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE ? ORDER BY SCHEMA_NAME", escape(user+"_")+"%")
	if err != nil {
		return nil, err
	}
	var dbs []models.Database
	for _, name := range names {
		found := models.Database{Engine: Name, Name: name, Server: server.ID, User: user}
		if place, err := database.ParsePlace(server, found); err == nil && place.SiteID == siteID {
			dbs = append(dbs, found)
		}
	}
	return dbs, nil
}

// Remove drops all databases of a site, its user, and the file with the password.
func (e *Engine) Remove(ctx context.Context, site models.Site) error {
	server, err := e.servers.Of(ctx, Name, site)
	if err != nil {
		return err
	}
	dbs, err := e.Databases(ctx, site)
	if err != nil {
		return err
	}
	for _, db := range dbs {
		if err := e.Drop(ctx, db); err != nil {
			return err
		}
	}
	err = e.asAdmin(ctx, server, func(ctx context.Context, db *sql.DB) error {
		return exec(ctx, db, "DROP USER IF EXISTS "+account(database.Place{Server: server, User: database.UserOf(server, site.ID)}))
	})
	if err != nil {
		return explain("remove", server, "of site "+site.URI, err)
	}
	return database.ForgetPassword(e.layout, site.ID)
}

// restart empties a database and marks it as incomplete.
func (e *Engine) restart(ctx context.Context, place database.Place) error {
	return e.asAdmin(ctx, place.Server, func(ctx context.Context, db *sql.DB) error {
		var n int
		row := db.QueryRowContext(ctx, "SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?", place.Name)
		if err := row.Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return models.Errorf(models.NotFound, "The database %s is not on %s. Create it first.", place.Name, place.Server.Name)
		}
		if err := e.dropDatabase(ctx, db, place); err != nil {
			return err
		}
		return exec(ctx, db,
			"CREATE DATABASE IF NOT EXISTS "+ident(place.Name)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
			"CREATE TABLE IF NOT EXISTS "+ident(place.Name)+"."+incomplete+" (since INT)",
			"GRANT "+rights+" ON "+pattern(place.Name)+".* TO "+account(place))
	})
}

// finish takes the mark away and says what there is.
func (e *Engine) finish(ctx context.Context, server models.DatabaseServer, place database.Place) (info database.CopyInfo, err error) {
	err = within(ctx, server, place.Name, shortTime, func(ctx context.Context, db *sql.DB) error {
		row := db.QueryRowContext(ctx, `SELECT count(*), CAST(coalesce(sum(DATA_LENGTH + INDEX_LENGTH), 0) AS SIGNED) FROM information_schema.TABLES
			WHERE TABLE_SCHEMA = ? AND TABLE_TYPE <> 'VIEW' AND TABLE_NAME <> ?`, place.Name, incomplete)
		if err := row.Scan(&info.Tables, &info.Bytes); err != nil {
			return err
		}
		return exec(ctx, db, "DROP TABLE IF EXISTS "+ident(place.Name)+"."+incomplete)
	})
	return info, err
}

// whole refuses a database that is missing or incomplete.
func whole(ctx context.Context, db *sql.DB, place database.Place) error {
	var n int
	row := db.QueryRowContext(ctx, "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", place.Name, incomplete)
	if err := row.Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return models.Errorf(models.Unavailable, "The database %s on %s is incomplete: filling it was cut short. Do that again first.", place.Name, place.Server.Name)
	}
	return nil
}

// Test connects, makes a database and a user, and uses them. What an earlier test
// left is removed first; tests of one server wait for each other.
func (e *Engine) Test(ctx context.Context, server models.DatabaseServer) (version string, err error) {
	err = within(ctx, server, "", shortTime, func(ctx context.Context, db *sql.DB) error {
		if err := db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
			return err
		}
		if err := newEnough(server, version); err != nil {
			return err
		}
		return e.try(ctx, db, server)
	})
	if err != nil {
		return version, explain("test", server, "", err)
	}
	return version, nil
}

func (e *Engine) try(ctx context.Context, db *sql.DB, server models.DatabaseServer) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var locked sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 20)", server.Prefix+"_0").Scan(&locked); err != nil {
		return err
	}
	if locked.Int64 != 1 {
		return models.Errorf(models.Conflict, "%s is being tested already. Try again in a minute.", server.Name)
	}
	// No site has the number 0.
	trial := database.Place{Server: server, User: server.Prefix + "_0", Name: server.Prefix + "_0_test"}
	sweep := func(ctx context.Context) error {
		_, dropDB := conn.ExecContext(ctx, "DROP DATABASE IF EXISTS "+ident(trial.Name))
		_, dropUser := conn.ExecContext(ctx, "DROP USER IF EXISTS "+account(trial))
		return errors.Join(dropDB, dropUser)
	}
	if err := sweep(ctx); err != nil {
		return err
	}
	defer func() {
		// Also when ctx ended meanwhile.
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), connectTime)
		defer stop()
		err = errors.Join(err, sweep(ctx))
	}()
	password := database.NewPassword()
	for _, statement := range []string{
		"CREATE DATABASE " + ident(trial.Name),
		"CREATE USER " + account(trial) + " IDENTIFIED BY " + literal(password),
		"GRANT " + rights + " ON " + pattern(trial.Name) + ".* TO " + account(trial),
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	server.User, server.Password = trial.User, password
	err = within(ctx, server, trial.Name, shortTime, func(ctx context.Context, db *sql.DB) error {
		return exec(ctx, db, "CREATE TABLE things (id INT PRIMARY KEY)", "INSERT INTO things VALUES (1)", "DROP TABLE things")
	})
	if err != nil {
		return models.Wrapf(models.Unavailable, err,
			"A user that Hefring made on %s could not use its database from here. Look at “clients” (%s) and at the server's bind address.", server.Name, server.Clients)
	}
	return nil
}

// Dump writes what mysqldump writes of one consistent snapshot, without definers.
func (e *Engine) Dump(ctx context.Context, db models.Database, w io.Writer) (info database.CopyInfo, err error) {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return info, err
	}
	server, err := e.own(ctx, place)
	if err != nil {
		return info, err
	}
	err = within(ctx, server, place.Name, shortTime, func(ctx context.Context, db *sql.DB) error {
		if err := whole(ctx, db, place); err != nil {
			return err
		}
		return db.QueryRowContext(ctx, "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE <> 'VIEW'").Scan(&info.Tables)
	})
	if err == nil {
		info.Bytes, err = e.dump(ctx, server, place.Name, w)
	}
	if err != nil {
		return info, explain("dump", place.Server, place.Name, err)
	}
	return info, nil
}

// Load runs the dump as the site's own user, with a client that obeys nothing in
// it but SQL: a hostile backup gets no further than the site itself.
func (e *Engine) Load(ctx context.Context, db models.Database, r io.Reader) (info database.CopyInfo, err error) {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return info, err
	}
	server, err := e.own(ctx, place)
	if err != nil {
		return info, err
	}
	if err = e.restart(ctx, place); err == nil {
		if err = e.load(ctx, server, place.Name, r); err == nil {
			info, err = e.finish(ctx, server, place)
		}
	}
	if err != nil {
		return info, explain("load", place.Server, place.Name, err)
	}
	return info, nil
}

// Adopt streams a dump of a foreign database into ours. It is read in one
// snapshot with its own user.
func (e *Engine) Adopt(ctx context.Context, from database.Foreign, to models.Database) (info database.CopyInfo, err error) {
	if err := adoptable(from); err != nil {
		return info, err
	}
	foreign := models.DatabaseServer{
		Name: "the foreign server " + from.Host, Engine: Name, Host: from.Host, Port: from.Port, User: from.User, Password: from.Password, TLS: models.TLSOff,
	}
	err = within(ctx, foreign, from.Name, shortTime, func(ctx context.Context, db *sql.DB) error { return db.PingContext(ctx) })
	if err != nil {
		return info, explain("adopt", foreign, from.Name, err)
	}
	err = database.Pipe(ctx, func(ctx context.Context, w io.Writer) error {
		if _, err := e.dump(ctx, foreign, from.Name, w); err != nil {
			return explain("adopt", foreign, from.Name, err)
		}
		return nil
	}, func(ctx context.Context, r io.Reader) error {
		info, err = e.Load(ctx, to, r)
		return err
	})
	return info, err
}

func adoptable(from database.Foreign) error {
	switch {
	case from.Engine != Name || from.Name == "" || from.User == "" || from.Host == "":
		return models.Errorf(models.Invalid, "The settings of the site name no MariaDB or MySQL database.")
	case from.Prefix != "":
		return models.Errorf(models.Invalid,
			"The tables of %s begin with the prefix %q. Hefring cannot adopt a database that is shared by prefixes; move the site to a database of its own first.", from.Name, from.Prefix)
	case strings.HasPrefix(from.Name, "-") || strings.ContainsAny(from.Name+from.User+from.Host, "\x00\r\n"):
		return models.Errorf(models.Invalid, "%q cannot be the name of a database.", from.Name)
	}
	return nil
}

// Copy copies inside the server when nothing stands in the way of that, else with
// a streamed dump.
func (e *Engine) Copy(ctx context.Context, from, to models.Database) (info database.CopyInfo, err error) {
	source, err := e.servers.Find(ctx, Name, from)
	if err != nil {
		return info, err
	}
	target, err := e.servers.Find(ctx, Name, to)
	if err != nil {
		return info, err
	}
	if from == to {
		return info, models.Errorf(models.Invalid, "The database %s cannot be copied onto itself.", from.Name)
	}
	server, err := e.own(ctx, source)
	if err != nil {
		return info, err
	}
	err = within(ctx, server, source.Name, shortTime, func(ctx context.Context, db *sql.DB) error { return whole(ctx, db, source) })
	if err != nil {
		return info, explain("copy", source.Server, source.Name, err)
	}
	if err := e.restart(ctx, target); err != nil {
		return info, explain("copy to", target.Server, target.Name, err)
	}
	done := false
	if source.Server.ID == target.Server.ID {
		if done, err = e.copyInside(ctx, source, target); err != nil {
			return info, explain("copy", source.Server, source.Name, err)
		}
	}
	if !done {
		return e.copyStreamed(ctx, source, target)
	}
	if info, err = e.finish(ctx, target.Server, target); err != nil {
		return info, explain("copy to", target.Server, target.Name, err)
	}
	return info, nil
}

// copyStreamed pipes mysqldump as the one site into mysql as the other.
func (e *Engine) copyStreamed(ctx context.Context, source, target database.Place) (info database.CopyInfo, err error) {
	err = database.Pipe(ctx, func(ctx context.Context, w io.Writer) error {
		_, err := e.Dump(ctx, source.Database(), w)
		return err
	}, func(ctx context.Context, r io.Reader) error {
		info, err = e.Load(ctx, target.Database(), r)
		return err
	})
	return info, err
}

const (
	connectTime = 10 * time.Second
	shortTime   = 2 * time.Minute // for what does not depend on how much content there is
	longTime    = 12 * time.Hour  // for what does; the task's own limit comes first
)

// asAdmin connects as the user who may create databases.
func (e *Engine) asAdmin(ctx context.Context, server models.DatabaseServer, fn func(context.Context, *sql.DB) error) error {
	return within(ctx, server, "", shortTime, fn)
}

func exec(ctx context.Context, db *sql.DB, statements ...string) error {
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func column(ctx context.Context, db *sql.DB, query string, args ...any) (values []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, rows.Err()
}

func ident(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// escape takes the meaning of wildcards from a name.
func escape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `_`, `\_`, `%`, `\%`).Replace(name)
}

// pattern is a database's name in GRANT, where underscores are wildcards.
func pattern(name string) string { return ident(escape(name)) }

func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

func account(place database.Place) string {
	return literal(place.User) + "@" + literal(place.Server.Clients)
}

func port(server models.DatabaseServer) int {
	if server.Port == 0 {
		return 3306
	}
	return server.Port
}

func newEnough(server models.DatabaseServer, version string) error {
	var major, minor, patch int
	_, _ = fmt.Sscanf(strings.TrimPrefix(version, "5.5.5-"), "%d.%d.%d", &major, &minor, &patch)
	number := (major*100+minor)*100 + patch
	least := 50708
	if strings.Contains(strings.ToLower(version), "mariadb") {
		least = 100300
	}
	if number < least {
		return models.Errorf(models.Unavailable, "%s runs version %s, which Drupal does not support. Use MariaDB 10.3, MySQL 5.7.8, or newer.", server.Name, version)
	}
	return nil
}
