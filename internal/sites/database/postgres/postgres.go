// Package postgres keeps each database of a site on a PostgreSQL server: one role
// for each site, which owns that site's databases; nobody else's role may connect
// to them.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/models"
)

// Name is what models.Database calls this engine.
const Name = models.EnginePostgres

// unfinished ends the name of a database that is being filled. It gets its own
// name when it is whole. No label has a dot.
const unfinished = ".new"

// leastVersion is what Drupal supports.
const leastVersion = 120000

// Runner starts the client programs.
type Runner interface {
	Run(ctx context.Context, c run.Cmd) (run.Result, error)
	LookPath(name string) (string, error)
}

// Engine is the database.Engine for PostgreSQL servers.
type Engine struct {
	layout  sites.Layout
	runner  Runner
	servers database.Servers
}

var _ database.Engine = (*Engine)(nil)

// New makes the engine for the sites of a layout. The client programs pg_dump and
// pg_restore must not be older than the servers.
func New(layout sites.Layout, runner Runner, servers database.Servers) *Engine {
	return &Engine{layout: layout, runner: runner, servers: servers}
}

// Create makes a database, and the site's role if there is none yet.
func (e *Engine) Create(ctx context.Context, site models.Site, label string) (models.Database, error) {
	server, err := e.servers.Of(ctx, Name, site)
	if err != nil {
		return models.Database{}, err
	}
	place, err := database.NewPlace(server, site.ID, label)
	if err != nil {
		return models.Database{}, err
	}
	err = alone(ctx, place, func(ctx context.Context, conn *pgx.Conn) error {
		if err := e.ensureRole(ctx, conn, place); err != nil {
			return err
		}
		return e.createEmpty(ctx, conn, place, place.Name)
	})
	if err == nil {
		err = e.extend(ctx, place, place.Name)
	}
	if err != nil {
		return models.Database{}, explain("create", server, place.Name, err)
	}
	return place.Database(), nil
}

// createEmpty makes a database for the site's role alone. Nobody may connect
// before that is so.
func (e *Engine) createEmpty(ctx context.Context, conn *pgx.Conn, place database.Place, name string) error {
	_, invalid, err := stateOf(ctx, conn, name)
	if err == nil && invalid {
		err = dropDatabase(ctx, conn, name)
	}
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8' ALLOW_CONNECTIONS false", ident(name), ident(place.User)))
	if err != nil && codeOf(err) != codeDuplicateDatabase {
		return err
	}
	return openTo(ctx, conn, place, name)
}

// openTo lets the site's role alone connect.
func openTo(ctx context.Context, conn *pgx.Conn, place database.Place, name string) error {
	return exec(ctx, conn,
		"REVOKE ALL ON DATABASE "+ident(name)+" FROM PUBLIC",
		"GRANT ALL ON DATABASE "+ident(name)+" TO "+ident(place.User),
		"ALTER DATABASE "+ident(name)+" WITH ALLOW_CONNECTIONS true")
}

// extend makes the extension that Drupal wants, if the server has it. It is made
// by the site's own role, so that a dump of it can be loaded by that role; where
// only a superuser may, by the admin.
func (e *Engine) extend(ctx context.Context, place database.Place, name string) error {
	own, err := e.own(ctx, place)
	if err != nil {
		return err
	}
	extend := func(ctx context.Context, conn *pgx.Conn) error {
		return exec(ctx, conn, "CREATE EXTENSION IF NOT EXISTS pg_trgm")
	}
	err = within(ctx, own, name, shortTime, extend)
	if codeOf(err) == codeNoRight {
		err = within(ctx, place.Server, name, shortTime, extend)
	}
	if code := codeOf(err); code == codeNoRight || code == codeNoFile || code == codeNotSupported {
		return nil // Drupal's own report says what is missing
	}
	return err
}

// ensureRole makes the site's role with the password in the site's folder. One
// that is lost is made anew; it is kept only when the server knows it, so that a
// kill in between makes another one.
func (e *Engine) ensureRole(ctx context.Context, conn *pgx.Conn, place database.Place) error {
	password, err := database.ReadPassword(e.layout, place.SiteID)
	if err != nil {
		return err
	}
	lost := password == ""
	if lost {
		password = database.NewPassword()
	}
	if err := makeRole(ctx, conn, place.User, password); err != nil || !lost {
		return err
	}
	return database.KeepPassword(e.layout, place.SiteID, password)
}

func makeRole(ctx context.Context, conn *pgx.Conn, role, password string) error {
	_, err := conn.Exec(ctx, "CREATE ROLE "+ident(role)+" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD "+literal(password))
	if err != nil && codeOf(err) != codeDuplicate {
		return err
	}
	if err := exec(ctx, conn, "ALTER ROLE "+ident(role)+" LOGIN PASSWORD "+literal(password)); err != nil {
		return err
	}
	// Who is no superuser must be a member to give databases to the role and to
	// end its sessions.
	var super bool
	if err := conn.QueryRow(ctx, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&super); err != nil || super {
		return err
	}
	return exec(ctx, conn, "GRANT "+ident(role)+" TO CURRENT_USER")
}

// own gives the server as the site's role reaches it.
func (e *Engine) own(ctx context.Context, place database.Place) (models.DatabaseServer, error) {
	server := place.Server
	password, err := database.ReadPassword(e.layout, place.SiteID)
	if err != nil {
		return server, err
	}
	if password == "" {
		err := within(ctx, server, maintenance, shortTime, func(ctx context.Context, conn *pgx.Conn) error { return e.ensureRole(ctx, conn, place) })
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

// Drop ends the sessions of a database and removes it, and the role with the last
// one.
func (e *Engine) Drop(ctx context.Context, db models.Database) error {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return err
	}
	err = alone(ctx, place, func(ctx context.Context, conn *pgx.Conn) error {
		for _, name := range []string{place.Name + unfinished, place.Name} {
			if err := dropDatabase(ctx, conn, name); err != nil {
				return err
			}
		}
		names, err := namesOf(ctx, conn, place.User)
		if err != nil || len(names) > 0 {
			return err
		}
		return exec(ctx, conn, "DROP ROLE IF EXISTS "+ident(place.User))
	})
	if err != nil {
		return explain("remove", place.Server, place.Name, err)
	}
	return nil
}

// dropDatabase lets nobody in any more, ends who is in and removes the database.
func dropDatabase(ctx context.Context, conn *pgx.Conn, name string) error {
	found, invalid, err := stateOf(ctx, conn, name)
	if err != nil || !found {
		return err
	}
	if !invalid {
		_, err := conn.Exec(ctx, "ALTER DATABASE "+ident(name)+" WITH ALLOW_CONNECTIONS false")
		if err != nil && codeOf(err) != codeNoDatabase {
			return err
		}
	}
	return whenFree(ctx, conn, name, "DROP DATABASE IF EXISTS "+ident(name))
}

// stateOf tells whether there is a database, and whether its removal was cut short:
// PostgreSQL calls it invalid then, ends the connection of whoever alters or enters
// it, and lets it only be dropped.
func stateOf(ctx context.Context, conn *pgx.Conn, name string) (found, invalid bool, err error) {
	row := conn.QueryRow(ctx, "SELECT count(*) > 0, coalesce(bool_or(datconnlimit = -2), false) FROM pg_database WHERE datname = $1", name)
	err = row.Scan(&found, &invalid)
	return found, invalid, err
}

// whenFree runs a statement that no session in a database may disturb. PostgreSQL
// itself waits five seconds for them before it gives up.
func whenFree(ctx context.Context, conn *pgx.Conn, name, statement string) (err error) {
	for range 4 {
		// What belongs to a superuser may not be ended; it ends or it does not.
		_, _ = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name)
		if _, err = conn.Exec(ctx, statement); codeOf(err) != codeInUse {
			return err
		}
	}
	return err
}

// Check looks as the site's role whether the database may be read and written.
func (e *Engine) Check(ctx context.Context, db models.Database) error {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return err
	}
	server, err := e.own(ctx, place)
	if err != nil {
		return err
	}
	err = within(ctx, server, place.Name, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
		var readOnly, mayCreate bool
		row := conn.QueryRow(ctx, `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
			coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)`)
		if err := row.Scan(&readOnly, &mayCreate); err != nil {
			return err
		}
		switch {
		case readOnly:
			return models.Errorf(models.Unavailable, "%s is read-only. Name the server that takes writes.", server.Name)
		case !mayCreate:
			return models.Errorf(models.Unavailable, "The role %s may not make tables in the database %s on %s. Give it the right: GRANT CREATE ON SCHEMA public TO %s.", place.User, place.Name, server.Name, place.User)
		}
		return nil
	})
	if err != nil {
		return explain("check", place.Server, place.Name, err)
	}
	return nil
}

// PHP is Drupal's array with the site's own role. Drupal puts host and port into
// the connection string as they are, which is the one place for sslmode.
func (e *Engine) PHP(ctx context.Context, db models.Database) (database.Settings, error) {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return nil, err
	}
	server, err := e.own(ctx, place)
	if err != nil {
		return nil, err
	}
	host := server.Host
	switch server.TLS {
	case models.TLSRequire:
		host += " sslmode=require"
	case models.TLSVerify:
		host += " sslmode=verify-full sslrootcert=" + authorities
	case models.TLSOff:
	}
	return database.Settings{
		{Key: "driver", Value: "pgsql"},
		{Key: "database", Value: place.Name},
		{Key: "username", Value: server.User},
		{Key: "password", Value: server.Password},
		{Key: "host", Value: host},
		{Key: "port", Value: port(server)},
		{Key: "prefix", Value: ""},
		{Key: "namespace", Value: `Drupal\pgsql\Driver\Database\pgsql`},
		{Key: "autoload", Value: "core/modules/pgsql/src/Driver/Database/pgsql/"},
	}, nil
}

// Databases lists what there is of a site on its server, by name; what was cut
// short has another name and is not among them.
func (e *Engine) Databases(ctx context.Context, site models.Site) ([]models.Database, error) {
	server, err := e.servers.Of(ctx, Name, site)
	if err != nil {
		return nil, err
	}
	user := database.UserOf(server, site.ID)
	var dbs []models.Database
	err = within(ctx, server, maintenance, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
		names, err := namesOf(ctx, conn, user)
		for _, name := range names {
			found := models.Database{Engine: Name, Name: name, Server: server.ID, User: user}
			if place, err := database.ParsePlace(server, found); err == nil && place.SiteID == site.ID {
				dbs = append(dbs, found)
			}
		}
		return err
	})
	if err != nil {
		return nil, explain("list", server, "of site "+site.URI, err)
	}
	return dbs, nil
}

// namesOf lists all databases of a role, also unfinished ones.
func namesOf(ctx context.Context, conn *pgx.Conn, role string) ([]string, error) {
	rows, err := conn.Query(ctx, "SELECT datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE r.rolname = $1 ORDER BY datname", role)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Remove drops all databases of a site, its role, and the file with the password.
func (e *Engine) Remove(ctx context.Context, site models.Site) error {
	server, err := e.servers.Of(ctx, Name, site)
	if err != nil {
		return err
	}
	user := database.UserOf(server, site.ID)
	err = within(ctx, server, maintenance, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
		names, err := namesOf(ctx, conn, user)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !strings.HasPrefix(name, user+"_") {
				return models.Errorf(models.Conflict, "The role %s on %s owns %s, which Hefring did not make. Give that database to another role first.", user, server.Name, name)
			}
			if err := dropDatabase(ctx, conn, name); err != nil {
				return err
			}
		}
		return exec(ctx, conn, "DROP ROLE IF EXISTS "+ident(user))
	})
	if err != nil {
		return explain("remove", server, "of site "+site.URI, err)
	}
	return database.ForgetPassword(e.layout, site.ID)
}

// Test connects, makes a role and a database, and uses them. What an earlier test
// left is removed first; tests of one server wait for each other.
func (e *Engine) Test(ctx context.Context, server models.DatabaseServer) (version string, err error) {
	err = within(ctx, server, maintenance, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
		var number int
		if err := conn.QueryRow(ctx, "SELECT current_setting('server_version'), current_setting('server_version_num')::int").Scan(&version, &number); err != nil {
			return err
		}
		if number < leastVersion {
			return models.Errorf(models.Unavailable, "%s runs PostgreSQL %s, which Drupal does not support. Use version 12 or newer.", server.Name, version)
		}
		return try(ctx, conn, server)
	})
	if err != nil {
		return version, explain("test", server, "", err)
	}
	return version, nil
}

func try(ctx context.Context, conn *pgx.Conn, server models.DatabaseServer) (err error) {
	if err := exec(ctx, conn, "SET lock_timeout = '20s'", "SELECT pg_advisory_lock(hashtext('hefring test'), hashtext("+literal(server.Prefix)+"))"); err != nil {
		return err
	}
	// No site has the number 0.
	trial := database.Place{Server: server, User: server.Prefix + "_0", Name: server.Prefix + "_0_test"}
	sweep := func(ctx context.Context) error {
		if err := dropDatabase(ctx, conn, trial.Name); err != nil {
			return err
		}
		return exec(ctx, conn, "DROP ROLE IF EXISTS "+ident(trial.User))
	}
	if err := sweep(ctx); err != nil {
		return err
	}
	defer func() {
		// Also when ctx ended meanwhile; if that closed the connection, the next
		// test sweeps.
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), connectTime)
		defer stop()
		err = errors.Join(err, sweep(ctx))
	}()
	password := database.NewPassword()
	if err := makeRole(ctx, conn, trial.User, password); err != nil {
		return err
	}
	if err := (&Engine{}).createEmpty(ctx, conn, trial, trial.Name); err != nil {
		return err
	}
	server.User, server.Password = trial.User, password
	err = within(ctx, server, trial.Name, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
		return exec(ctx, conn, "CREATE TABLE things (id int PRIMARY KEY)", "INSERT INTO things VALUES (1)", "DROP TABLE things")
	})
	if err != nil {
		return models.Wrapf(models.Unavailable, err,
			"A role that Hefring made on %s could not use its database from here. Let roles with a password in from this machine: see pg_hba.conf there.", server.Name)
	}
	return nil
}

const (
	connectTime = 10 * time.Second
	shortTime   = 2 * time.Minute // for what does not depend on how much content there is
	longTime    = 12 * time.Hour  // for what does; the task's own limit comes first
	// maintenance is the database that every server has.
	maintenance = "postgres"
	// authorities is the system's file of certificate authorities.
	authorities = "/etc/ssl/certs/ca-certificates.crt"
)

// alone works on a database as the admin, and waits for a session that does so for
// a process that was killed: the server finishes its last statement.
func alone(ctx context.Context, place database.Place, fn func(context.Context, *pgx.Conn) error) error {
	return within(ctx, place.Server, maintenance, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
		err := exec(ctx, conn, "SET lock_timeout = '60s'", "SELECT pg_advisory_lock(hashtext('hefring'), hashtext("+literal(place.Name)+"))", "RESET lock_timeout")
		if codeOf(err) == codeLockTimeout {
			return models.Wrapf(models.Conflict, err, "Something else is at work on the database %s on %s. Try again when it has finished.", place.Name, place.Server.Name)
		}
		if err != nil {
			return err
		}
		return fn(ctx, conn)
	})
}

func exec(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func port(server models.DatabaseServer) int {
	if server.Port == 0 {
		return 5432
	}
	return server.Port
}

// Dump writes what pg_dump writes in its own format, not compressed, without
// owners and grants.
func (e *Engine) Dump(ctx context.Context, db models.Database, w io.Writer) (info database.CopyInfo, err error) {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return info, err
	}
	server, err := e.own(ctx, place)
	if err != nil {
		return info, err
	}
	err = within(ctx, server, place.Name, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
		info, err = measure(ctx, conn)
		return err
	})
	if err == nil {
		info.Bytes, err = e.dump(ctx, server, place.Name, w)
	}
	if err != nil {
		return info, explain("dump", place.Server, place.Name, err)
	}
	return info, nil
}

// measure tells how large the database is that conn is in.
func measure(ctx context.Context, conn *pgx.Conn) (info database.CopyInfo, err error) {
	row := conn.QueryRow(ctx, `SELECT pg_database_size(current_database()),
		(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema')`)
	err = row.Scan(&info.Bytes, &info.Tables)
	return info, err
}

// Load restores a dump as the site's own role: a hostile backup gets no further
// than the site itself. The database is replaced when all of it is there.
func (e *Engine) Load(ctx context.Context, db models.Database, r io.Reader) (info database.CopyInfo, err error) {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return info, err
	}
	info, err = e.replace(ctx, place, func(ctx context.Context, server models.DatabaseServer, name string) error {
		return e.restore(ctx, server, name, r)
	})
	if err != nil {
		return info, explain("load", place.Server, place.Name, err)
	}
	return info, nil
}

// replace fills a new database beside, as the site's role, and gives it the name.
func (e *Engine) replace(ctx context.Context, place database.Place, fill func(context.Context, models.DatabaseServer, string) error) (info database.CopyInfo, err error) {
	server, err := e.own(ctx, place)
	if err != nil {
		return info, err
	}
	temp := place.Name + unfinished
	err = alone(ctx, place, func(ctx context.Context, conn *pgx.Conn) error {
		if err := mustExist(ctx, conn, place); err != nil {
			return err
		}
		if err := dropDatabase(ctx, conn, temp); err != nil {
			return err
		}
		return e.createEmpty(ctx, conn, place, temp)
	})
	if err != nil {
		return info, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, discard(ctx, place, temp))
		}
	}()
	if err := e.extend(ctx, place, temp); err != nil {
		return info, err
	}
	if err := fill(ctx, server, temp); err != nil {
		return info, err
	}
	err = within(ctx, server, temp, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
		info, err = measure(ctx, conn)
		return err
	})
	if err != nil {
		return info, err
	}
	return info, alone(ctx, place, func(ctx context.Context, conn *pgx.Conn) error { return swap(ctx, conn, place) })
}

func mustExist(ctx context.Context, conn *pgx.Conn, place database.Place) error {
	var found bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname IN ($1::text, $1::text || $2::text))", place.Name, unfinished).Scan(&found); err != nil {
		return err
	}
	if !found {
		return models.Errorf(models.NotFound, "The database %s is not on %s. Create it first.", place.Name, place.Server.Name)
	}
	return nil
}

// discard removes an unfinished database also when ctx has ended; a server that is
// gone keeps it until the next attempt.
func discard(ctx context.Context, place database.Place, temp string) error {
	err := within(context.WithoutCancel(ctx), place.Server, maintenance, connectTime, func(ctx context.Context, conn *pgx.Conn) error {
		return dropDatabase(ctx, conn, temp)
	})
	if codeOf(err) == "" { // not the server's answer
		return nil
	}
	return err
}

// swap gives a whole database its name.
func swap(ctx context.Context, conn *pgx.Conn, place database.Place) error {
	temp := place.Name + unfinished
	if err := dropDatabase(ctx, conn, place.Name); err != nil {
		return err
	}
	if err := whenFree(ctx, conn, temp, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s", ident(temp), ident(place.Name))); err != nil {
		return err
	}
	return openTo(ctx, conn, place, place.Name)
}

// Adopt streams a dump of a foreign database into ours. It is read in one snapshot
// with its own user.
func (e *Engine) Adopt(ctx context.Context, from database.Foreign, to models.Database) (info database.CopyInfo, err error) {
	if err := adoptable(from); err != nil {
		return info, err
	}
	foreign := models.DatabaseServer{
		Name: "the foreign server " + from.Host, Engine: Name, Host: from.Host, Port: from.Port, User: from.User, Password: from.Password, TLS: prefer,
	}
	err = within(ctx, foreign, from.Name, shortTime, func(ctx context.Context, conn *pgx.Conn) error { return conn.Ping(ctx) })
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
		return models.Errorf(models.Invalid, "The settings of the site name no PostgreSQL database.")
	case from.Prefix != "":
		return models.Errorf(models.Invalid,
			"The tables of %s begin with the prefix %q. Hefring cannot adopt a database that is shared by prefixes; move the site to a database of its own first.", from.Name, from.Prefix)
	case strings.ContainsAny(from.Name+from.User+from.Host, "\x00\r\n"):
		return models.Errorf(models.Invalid, "%q cannot be the name of a database.", from.Name)
	}
	return nil
}
